"""Crops of decoded images, before they become tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Crops:
    """Crops of a stream that are not tensors yet.

    index: image of each crop, int64 [n]
    images: the crops, uint8 [n, h, w, C]; None if the device that holds the pixels cuts
        them out at `places`
    places: (top, left) of each crop in pixels, int64 [n] each
    mirrored: which crops are mirrored, bool [n]
    seeds: of random degradations, uint64 [n]
    reductions: of the crops, uint8 [n, h / scale, w / scale, C]; None: there are none
    """

    index: np.ndarray
    images: np.ndarray | None
    seeds: np.ndarray
    places: tuple[np.ndarray, np.ndarray] | None = None
    mirrored: np.ndarray | None = None
    reductions: np.ndarray | None = None


def gathered(
    pixels: Tensor,
    index: np.ndarray,
    top: np.ndarray,
    left: np.ndarray,
    mirrored: np.ndarray,
    size: tuple[int, int],
) -> Tensor:
    """Cut crops out on the device of `pixels`. Returns [n, h, w, C].

    pixels: [N, H, W, C]
    index, top, left: image and place of each crop, int64 [n]
    mirrored: which crops are mirrored, bool [n]
    size: (h, w)
    """
    h, w = size
    rows = top[:, None] + np.arange(h)
    columns = left[:, None] + np.where(mirrored[:, None], np.arange(w)[::-1], np.arange(w))
    at = [
        torch.from_numpy(i).to(pixels.device)
        for i in (index[:, None, None], rows[:, :, None], columns[:, None, :])
    ]
    return pixels[at[0], at[1], at[2]]
