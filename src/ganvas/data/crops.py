"""Crops of decoded images, and the tensors that are made of them."""

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
    turns: quarter turns of each crop that the device still has to make, int64 [n];
        None: none
    """

    index: np.ndarray
    images: np.ndarray | None
    seeds: np.ndarray
    places: tuple[np.ndarray, np.ndarray] | None = None
    mirrored: np.ndarray | None = None
    reductions: np.ndarray | None = None
    turns: np.ndarray | None = None


def cut(
    pixels: np.ndarray,
    index: np.ndarray,
    top: np.ndarray,
    left: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """Crops [n, h, w, C] of images [N, H, W, C], at places in pixels."""
    h, w = size
    out = np.empty((len(index), h, w, pixels.shape[3]), pixels.dtype)
    for k, (i, t, u) in enumerate(zip(index.tolist(), top.tolist(), left.tolist())):
        out[k] = pixels[i, t : t + h, u : u + w]
    return out


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


def turn(images: np.ndarray | Tensor, turns: np.ndarray) -> None:
    """Turn square images [n, h, w, C] in place by quarter turns, int64 [n]."""
    for quarters in (1, 2, 3):
        which = np.flatnonzero(turns == quarters)
        if isinstance(images, Tensor):
            at = torch.from_numpy(which).to(images.device)
            images[at] = torch.rot90(images[at], quarters, (1, 2))
        else:
            images[which] = np.rot90(images[which], quarters, (1, 2))


def in_unit(stored: Tensor) -> Tensor:
    """Stored pixels, uint8, uint16 or float32, as float32 in [-1, 1]."""
    if stored.dtype == torch.float32:
        return stored
    half = 127.5 if stored.dtype == torch.uint8 else 32767.5
    return stored.to(torch.float32).div_(half).sub_(1.0)


def as_tensor(images: np.ndarray | Tensor, device: torch.device | str | None) -> Tensor:
    """Stored images [n, h, w, C] as float32 [n, C, h, w] in [-1, 1]."""
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images)
        if device is not None and torch.device(device).type == "cuda":
            images = images.pin_memory()
    return in_unit(images.to(device, non_blocking=True).permute(0, 3, 1, 2))
