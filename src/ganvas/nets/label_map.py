"""From colored label maps to planes of labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot


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
