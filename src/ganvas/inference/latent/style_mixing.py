"""Style mixing: the coarse styles of one image with the fine styles of another.

Karras et al., 2018, arXiv:1812.04948, section 3.1.
"""

from __future__ import annotations

import re

from torch import Tensor

from ganvas.core.errors import UserError

# Figure 3: 4x4 to 8x8, 16x16 to 32x32, the rest.
LAYERS = {"coarse": (0, 4), "middle": (4, 8), "fine": (8, None)}


def layers(text: str, count: int) -> slice:
    """Parse `coarse`, `middle`, `fine`, `3` or `2-5` (both included) of `count` layers.

    Raises `UserError` for layers that do not exist.
    """
    numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if numbers:
        first, stop = int(numbers[1]), int(numbers[2] or numbers[1]) + 1
    elif text in LAYERS:
        first, stop = LAYERS[text]
    else:
        raise UserError(
            f"layers are coarse, middle, fine, one number or a range such as 2-5; got {text!r}"
        )
    stop = count if stop is None else stop
    if not first < min(stop, count) or (numbers and stop > count):
        raise UserError(
            f"this model has layers 0 to {count - 1}, and {text!r} is outside: give a range such "
            "as 0-1"
        )
    return slice(first, stop)


def mix_styles(rows: Tensor, columns: Tensor, which: slice) -> Tensor:
    """Mix w of rows [R, layers, d] and of columns [C, layers, d]: [R * C, layers, d].

    which: layers from the columns; the others are the rows'
    """
    w = rows[:, None].expand(-1, len(columns), -1, -1).clone()
    w[:, :, which] = columns[None, :, which]
    return w.flatten(0, 1)
