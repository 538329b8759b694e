"""From colored label maps to planes of labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ganvas.core.errors import DataError

FAR = 48.0  # levels of 255 from the nearest color of the palette, from which a pixel is foreign
MOST_FOREIGN = 0.2  # share of pixels


def label_planes(x: Tensor, palette: Sequence[int]) -> Tensor:
    """Label maps in colors [N, 3, H, W] in [-1, 1] -> one-hot [N, labels, H, W].

    Each pixel has the label of the nearest color, of `palette` (0xRRGGBB).
    """
    return _planes(_nearest(x, palette)[1], len(palette), x)


def checked_label_planes(x: Tensor, palette: Sequence[int]) -> Tensor:
    """`label_planes` of label maps from outside.

    Raises `DataError` if too many pixels have no color of the palette: the image is no
    label map, or its labels are others than the model's.
    """
    far, index = _nearest(x, palette)
    foreign = (far > FAR).float().mean().item()
    if foreign > MOST_FOREIGN:
        known = ", ".join(f"#{color:06x}" for color in palette)
        raise DataError(
            f"{foreign:.0%} of the pixels of this label map have none of the model's colors, which "
            f"are {known}: give a label map in these colors"
        )
    return _planes(index, len(palette), x)


def _nearest(x: Tensor, palette: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(distance to the nearest color in levels, its index), [N, H, W] each."""
    rgb = [[c >> 16, c >> 8 & 255, c & 255] for c in palette]
    colors = torch.tensor(rgb, dtype=torch.float32, device=x.device)
    pixels = (x.float() + 1) * 127.5
    far = torch.full_like(pixels[:, 0], torch.inf)
    index = torch.zeros_like(far, dtype=torch.int64)
    for i, color in enumerate(colors):  # one after the other, for the sake of memory
        distance = torch.linalg.vector_norm(pixels - color.view(1, 3, 1, 1), dim=1)
        nearer = distance < far
        far, index = torch.where(nearer, distance, far), index.masked_fill(nearer, i)
    return far, index


def _planes(index: Tensor, labels: int, like: Tensor) -> Tensor:
    return one_hot(index, labels).movedim(-1, 1).to(like.dtype)
