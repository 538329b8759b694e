"""Style mixing: one picture's coarse styles with another's fine ones. Karras et al., 2018, arXiv:1812.04948, section 3.1."""

from __future__ import annotations

import re

from torch import Tensor

from ganvas.core.errors import UserError

LAYERS = {"coarse": (0, 4), "middle": (4, 8), "fine": (8, None)}  # figure 3: 4x4 to 8x8, 16x16 to 32x32, the rest


def layers(text: str, count: int) -> slice:
    """`coarse`, `middle`, `fine`, `3` or `2-5` (both included) of `count` layers. Raises `UserError` where there are none."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if found:
        first, stop = int(found[1]), int(found[2] or found[1]) + 1
    elif text in LAYERS:
        first, stop = LAYERS[text]
    else:
        raise UserError(f"layers are coarse, middle, fine, one number or a range as 2-5; got {text!r}")
    stop = count if stop is None else stop
    if not first < min(stop, count) or (found and stop > count):
        raise UserError(
            f"this model has layers 0 to {count - 1}, and {text!r} names none of them or more: say which, as 0-1"
        )
    return slice(first, stop)


def mix_styles(rows: Tensor, columns: Tensor, which: slice) -> Tensor:
    """w of sources [R, layers, d] and [C, layers, d] -> [R * C, layers, d], row by row: `which` layers are the columns', the
    others the rows'."""
    w = rows[:, None].expand(-1, len(columns), -1, -1).clone()
    w[:, :, which] = columns[None, :, which]
    return w.flatten(0, 1)
