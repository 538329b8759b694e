"""Label maps that hold numbers: indices of a palette, or integers of 8 or 16 bits.

Everything behind the decoder sees labels as colors. A number has the color that its
bits give when they are dealt to red, green and blue, the lowest bit first and highest
in its color (for 256 numbers this is PASCAL VOC's color map); so no two numbers share
a color.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ganvas.media.samples import Decoded

MOST = 1 << 16  # numbers


def colors_of(ids: np.ndarray) -> np.ndarray:
    """The colors of numbers [H, W] below 65536, uint8 [H, W, 3]."""
    return _table()[ids]


def codes_of(pixels: np.ndarray) -> np.ndarray:
    """Colors uint8 [..., 3] as integers 0xRRGGBB [...]."""
    r, g, b = np.moveaxis(pixels.astype(np.int32), -1, 0)
    return r << 16 | g << 8 | b


def id_of(color: int) -> int:
    """The number of a color 0xRRGGBB."""
    levels = (color >> 16, color >> 8 & 255, color & 255)
    return sum((levels[bit % 3] >> 7 - bit // 3 & 1) << bit for bit in range(16))


@cache
def _table() -> np.ndarray:
    ids = np.arange(MOST, dtype=np.uint32)
    table = np.zeros((MOST, 3), np.uint8)
    for bit in range(16):
        table[:, bit % 3] |= (ids >> bit & 1).astype(np.uint8) << (7 - bit // 3)
    return table


def ids_of(image: Decoded) -> np.ndarray | None:
    """The indices or integers [H, W] of a decoded image; None for one in colors."""
    if image.indices is not None:
        return image.indices
    return image.color[..., 0] if image.color.shape[2] == 1 else None
