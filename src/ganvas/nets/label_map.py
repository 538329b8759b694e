"""From colored label maps to planes of labels, and to the edges of instances.

The shades of a label's color are its instances: colors that are different and nearest
to the same color of the palette.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad


def label_planes(x: Tensor, palette: Sequence[int]) -> Tensor:
    """Label maps in colors [N, 3, H, W] in [-1, 1] -> one-hot [N, labels, H, W].

    Each pixel has the label of the nearest color, of `palette` (0xRRGGBB).
    """
    rgb = [[c >> 16, c >> 8 & 255, c & 255] for c in palette]
    colors = torch.tensor(rgb, dtype=torch.float32, device=x.device)
    pixels = (x.float() + 1) * 127.5
    least = torch.full_like(pixels[:, 0], torch.inf)
    index = torch.zeros_like(least, dtype=torch.int64)
    for i, color in enumerate(colors):  # one after the other, for the sake of memory
        far = torch.linalg.vector_norm(pixels - color.view(1, 3, 1, 1), dim=1)
        index = index.masked_fill(far < least, i)
        least = torch.minimum(far, least)
    return one_hot(index, len(palette)).movedim(-1, 1).to(x.dtype)


def instance_edges(x: Tensor) -> Tensor:
    """Where one of a pixel's four neighbors has another color: 1, else 0, [N, 1, H, W].

    pix2pixHD (arXiv:1711.11585, section 3.3). x: label maps [N, C, H, W].
    """
    down = (x[:, :, 1:] != x[:, :, :-1]).any(1, keepdim=True).to(x.dtype)
    across = (x[..., 1:] != x[..., :-1]).any(1, keepdim=True).to(x.dtype)
    vertical = torch.maximum(pad(down, (0, 0, 1, 0)), pad(down, (0, 0, 0, 1)))
    return torch.maximum(vertical, torch.maximum(pad(across, (1, 0)), pad(across, (0, 1))))


def input_planes(x: Tensor, palette: Sequence[int], edges: bool) -> Tensor:
    """What a network sees of label maps in colors: planes of labels, and of edges.

    x: [N, 3, H, W] in [-1, 1]
    edges: whether the edges of instances are the last plane

    Returns [N, labels, H, W], or one plane more.
    """
    planes = label_planes(x, palette)
    return torch.cat([planes, instance_edges(x)], 1) if edges else planes
