"""Turn the frames of a clip as its display matrix says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ONE = 1 << 16  # of the matrix's numbers


def quarter_turns(matrix: Sequence[int] | None) -> tuple[int, int, int, int] | None:
    """(a, b, c, d), of which (x, y) becomes (a x + c y, b x + d y), each -1, 0 or 1.

    matrix: nine numbers, row by row; None: upright

    Returns None for other angles, and for a matrix that scales.
    """
    if matrix is None:
        return 1, 0, 0, 1
    a, b, c, d = (matrix[i] / ONE for i in (0, 1, 3, 4))
    straight = abs(a) == abs(d) == 1 and b == c == 0
    swapped = abs(b) == abs(c) == 1 and a == d == 0
    return (int(a), int(b), int(c), int(d)) if straight or swapped else None


def turned(pixels: np.ndarray, turns: tuple[int, int, int, int]) -> np.ndarray:
    """A frame [H, W, C] as it is to be seen; its sides may change places."""
    a, b, c, d = turns
    if b:
        pixels = pixels.swapaxes(0, 1)
    if a + c < 0:  # to the left
        pixels = pixels[:, ::-1]
    return pixels[::-1] if b + d < 0 else pixels
