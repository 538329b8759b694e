"""Mosaics: pixelate a part of an image, and find such parts.

The grid of blocks begins at the image's upper left corner, as in image editors. Images
are uint8 [H, W, C], masks bool [H, W].
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.media.resize import bicubic

LARGEST = 128  # pixels: side of the largest block that `find` detects
UNLIKE = 3  # of 255: blocks of a JPEG's uniform sky differ by less


def regions(heat: Tensor, size: tuple[int, int], threshold: float) -> np.ndarray:
    """The mask of a map [h, w] at or above `threshold` times its maximum.

    size: (height, width), to which the map is enlarged first
    """
    large = torch.nn.functional.interpolate(
        heat[None, None].float(), size, mode="bilinear", align_corners=False
    )[0, 0]
    return (large >= threshold * large.max()).numpy()


def strongest(heat: Tensor, size: tuple[int, int], threshold: float) -> np.ndarray:
    """The connected part of `regions` that holds the maximum.

    As in Zhou et al., 2016, arXiv:1512.04150, section 3.2, without their bounding box.
    """
    parts, _ = ndimage.label(regions(heat, size, threshold))  # pyright: ignore[reportGeneralTypeIssues]
    return parts == parts.flat[int(regions(heat, size, 1.0).argmax())]


def whole_blocks(mask: np.ndarray, block: int) -> np.ndarray:
    """The mask grown to whole blocks: every block with a marked pixel."""
    return _spread(_reduced(np.maximum, mask, block), block, mask.shape)


def pixelate(image: np.ndarray, mask: np.ndarray, block: int) -> np.ndarray:
    """Replace the marked pixels by the mean of all pixels of their block."""
    return np.where(mask[..., None], _spread(block_means(image, block), block, mask.shape), image)


def block_means(image: np.ndarray, block: int) -> np.ndarray:
    """Average uint8 [H, W, C] to uint8 [ceil(H / block), ceil(W / block), C].

    Blocks at the right and the bottom may be smaller.
    """
    sums = _reduced(np.add, image.astype(np.float64), block)
    counts = _reduced(np.add, np.ones((*image.shape[:2], 1)), block)
    return np.rint(sums / counts).astype(np.uint8)


def smooth(mosaic: np.ndarray, mask: np.ndarray, block: int) -> np.ndarray:
    """Replace the marked pixels by the mosaic's block means, enlarged bicubically.

    A baseline without a network.
    """
    means = torch.from_numpy(block_means(mosaic, block)).permute(2, 0, 1)[None]
    large = bicubic(means, block, border="replicate")[0].permute(1, 2, 0).numpy()
    return np.where(mask[..., None], large[: mask.shape[0], : mask.shape[1]], mosaic)


def find(mosaic: np.ndarray, step: float = 0.0) -> tuple[np.ndarray, int]:
    """Find a mosaic by its pixels: blocks of one color next to others of one color.

    step: gray levels by which compression rounds the mean of a block (`masks`);
        strongly compressed JPEGs have uniform blocks of their own, which differ by a
        step or two

    Returns (mask, side of a block). Raises `UserError` if there are none: the image has
    no mosaic, its grid does not begin at the image's corner, or lossy compression has
    blurred it.
    """
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
            "no blocks of one color were found in it: say where the mosaic is with a mask. (They "
            "are found where the grid begins at the image's corner and the image was not saved as "
            "JPEG since.)"
        )
    return found[1], found[2]


def _reduced(operation: np.ufunc, image: np.ndarray, block: int) -> np.ndarray:
    rows = operation.reduceat(image, np.arange(0, image.shape[0], block), 0)
    return operation.reduceat(rows, np.arange(0, image.shape[1], block), 1)


def _spread(blocks: np.ndarray, block: int, size: tuple[int, ...]) -> np.ndarray:
    return blocks.repeat(block, 0).repeat(block, 1)[: size[0], : size[1]]
