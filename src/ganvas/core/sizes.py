"""The size of images, as people give it."""

from __future__ import annotations

from collections.abc import Sequence

from ganvas.core.errors import UserError

Size = int | tuple[int, int]  # pixels: a square's side, or (height, width)
SIDE = 65_536  # pixels, at most, of an image's height and width


def parse_size(size: int | str | Sequence[int] | None) -> Size | None:
    """A size in pixels: a side, or (height, width), from text as well ("64", "48x64").

    Raises `UserError` for anything else.
    """
    if size is None:
        return None
    if isinstance(size, str):
        sides = [int(p[:9]) if p.isdecimal() else 0 for p in size.lower().split("x")]
    else:
        sides = [size] if isinstance(size, int) else list(size)
    if len(sides) not in (1, 2) or not all(0 < side <= SIDE for side in sides):
        raise UserError(
            f"size takes pixels, at most {SIDE:,} per side, as 64 or as height and width (48x64); "
            f"got {size!r}"
        )
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def sides(size: Size) -> tuple[int, int]:
    """(height, width) of a side or a pair. Raises `UserError` for other values."""
    two = (size, size) if isinstance(size, int) else tuple(size)
    if len(two) != 2 or min(two) < 1:
        raise UserError(
            f"got the size {size}; expected a side of at least 1 pixel, or height and width"
        )
    return two


def sides_of(size: Size | None) -> tuple[int, int] | None:
    """As `sides`; None of None."""
    return None if size is None else sides(size)
