"""Mosaics: a part of a picture in blocks of one colour each. Where blocks go, what they hide, and how they are found again. The
grid of blocks begins at the picture's upper left corner, as image editors' does.

Pictures are uint8 [H, W, C], masks bool [H, W]."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.media.resize import bicubic

LARGEST = 128  # pixels: the largest block that `find` looks for
UNLIKE = 3  # of 255: by less than that, blocks of a JPEG's even sky differ


def regions(heat: Tensor, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Where a map [h, w], enlarged to `size` (height, width), is at least `threshold` times its maximum, bool."""
    large = torch.nn.functional.interpolate(
        heat[None, None].float(), size, mode="bilinear", align_corners=False
    )[0, 0]
    return (large >= threshold * large.max()).numpy()


def strongest(heat: Tensor, size: tuple[int, int], threshold: float) -> np.ndarray:
    """The one of `regions` that holds the maximum: that of Zhou et al., 2016, arXiv:1512.04150, section 3.2, without their
    box."""
    parts, _ = ndimage.label(regions(heat, size, threshold))  # pyright: ignore[reportGeneralTypeIssues]
    return parts == parts.flat[int(regions(heat, size, 1.0).argmax())]


def whole_blocks(mask: np.ndarray, block: int) -> np.ndarray:
    """Every block of which a pixel is marked, whole: what hides should rather hide too much."""
    return _spread(_reduced(np.maximum, mask, block), block, mask.shape)


def pixelate(picture: np.ndarray, mask: np.ndarray, block: int) -> np.ndarray:
    """`picture` with the marked pixels replaced by the mean of their block (of all of the block's pixels)."""
    return np.where(
        mask[..., None], _spread(block_means(picture, block), block, mask.shape), picture
    )


def block_means(picture: np.ndarray, block: int) -> np.ndarray:
    """uint8 [H, W, C] -> uint8 [ceil(H / block), ceil(W / block), C]; blocks at the right and the bottom may be smaller."""
    sums = _reduced(np.add, picture.astype(np.float64), block)
    counts = _reduced(np.add, np.ones((*picture.shape[:2], 1)), block)
    return np.rint(sums / counts).astype(np.uint8)


def smooth(mosaic: np.ndarray, mask: np.ndarray, block: int) -> np.ndarray:
    """What enlarging makes of a mosaic without knowing anything: its block means enlarged bicubically, where it is marked."""
    means = torch.from_numpy(block_means(mosaic, block)).permute(2, 0, 1)[None]
    large = bicubic(means, block, border="replicate")[0].permute(1, 2, 0).numpy()
    return np.where(mask[..., None], large[: mask.shape[0], : mask.shape[1]], mosaic)


def find(mosaic: np.ndarray, step: float = 0.0) -> tuple[np.ndarray, int]:
    """(mask, block) of a mosaic, from its pixels alone: blocks that are each of one colour and differ from a neighbour that is
    so, too. `step`: gray levels by which compression rounds the mean of a block (`masks`): hard-compressed JPEGs have flat
    blocks of their own, which differ by a step or two. Raises `UserError` where there are none: there was no mosaic, its grid
    does not begin at the picture's corner, or lossy compression has blurred it."""
    least = max(UNLIKE, 3 * step)
    found: tuple[int, np.ndarray, int] | None = None
    for block in range(4, min(LARGEST, min(mosaic.shape[:2]) // 2) + 1):
        low, high = (_reduced(f, mosaic, block) for f in (np.minimum, np.maximum))
        flat = (low == high).all(-1)
        marked = np.zeros_like(flat)
        for flat_, low_, marked_ in (
            (flat, low, marked),
            (flat.T, low.swapaxes(0, 1), marked.T),
        ):  # down, then across
            unlike = np.abs(np.diff(low_.astype(np.int16), axis=0)).max(-1) >= least
            unlike &= flat_[1:] & flat_[:-1]
            marked_[1:] |= unlike
            marked_[:-1] |= unlike
        marked = ndimage.binary_fill_holes(marked) & flat  # pyright: ignore[reportOptionalOperand]
        mask = _spread(marked, block, mosaic.shape[:2])
        area = int(mask.sum())
        if marked.sum() >= 4 and (
            found is None or area >= 0.9 * found[0]
        ):  # its halves and thirds are flat as well
            found = area, mask, block
    if found is None:
        raise UserError(
            "no blocks of one colour were found in it: say where the mosaic is with a mask. (They are found where the grid "
            "begins at the picture's corner and the picture was not saved as JPEG since.)"
        )
    return found[1], found[2]


def _reduced(operation: np.ufunc, picture: np.ndarray, block: int) -> np.ndarray:
    rows = operation.reduceat(picture, np.arange(0, picture.shape[0], block), 0)
    return operation.reduceat(rows, np.arange(0, picture.shape[1], block), 1)


def _spread(blocks: np.ndarray, block: int, size: tuple[int, ...]) -> np.ndarray:
    return blocks.repeat(block, 0).repeat(block, 1)[: size[0], : size[1]]
