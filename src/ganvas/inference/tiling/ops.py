"""How each layer reads its input: the windows of exact tiled inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

KEPT = 16  # numbers for every pixel of the picture: a stored image takes up to 64 bytes a pixel
REACH = 8  # pixels: what reaches farther than this beyond its own part is made of stored images
MIN_TILE = 16  # pixels: a part that needs more memory than there is, and is as small as this, is too much
Span = tuple[int, int]  # the first and the one behind the last


class NotTileable(Exception):
    """A network does something here that no part of a picture can be computed by."""


class Window(NamedTuple):
    """A part of an image."""

    rows: Span
    columns: Span

    @property
    def sides(self) -> tuple[int, int]:
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def of(self, x: Tensor, beginning: Sequence[int] = (0, 0)) -> Tensor:
        """This part of `x`, whose first pixel is the image's at `beginning`."""
        (top, bottom), (left, right) = self
        return x[..., top - beginning[0] : bottom - beginning[0], left - beginning[1] : right - beginning[1]]

    def around(self, other: Window) -> Window:
        """The smallest window around both."""
        ends = zip(self, other, strict=True)
        return Window(*((min(a[0], b[0]), max(a[1], b[1])) for a, b in ends))

    def cut(self, side: int) -> list[Window]:
        """Parts of at most `side` that cover it, row by row."""
        rows, columns = ([(a, min(a + side, end)) for a in range(start, end, side)] for start, end in self)
        return [Window(r, c) for r in rows for c in columns]


def out_of_memory(e: BaseException) -> bool:
    """Whether that is what went wrong. On processors torch says so by an error of no kind of its own."""
    if isinstance(e, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(e, RuntimeError) and ("can't allocate memory" in str(e) or "not enough memory" in str(e))


class Step:
    """An operation. `reach`: the rows (axis 0) or columns (1) of its inputs that a span of the result is made of. `run`: a
    window of the result, from just these."""

    def reach(self, span: Span, axis: int) -> Span:
        return span

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        raise NotImplementedError


class Pointwise(Step):
    """Every pixel by itself."""

    def __init__(self, fn: Callable[..., Tensor]) -> None:
        self.fn = fn

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        return self.fn(*parts)


class Padded(Step):
    """`before` of a value added on either axis, and something behind."""

    def __init__(self, sides: tuple[int, int], before: tuple[int, int], value: float) -> None:
        self.sides, self.before, self.value = sides, before, value

    def reach(self, span: Span, axis: int) -> Span:
        return _within((span[0] - self.before[axis], span[1] - self.before[axis]), self.sides[axis])

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        amounts = []
        for axis in (1, 0):
            first, end = (place - self.before[axis] for place in window[axis])
            if end <= 0 or first >= self.sides[axis]:  # beyond the border
                return parts[0].new_full((*parts[0].shape[:2], *window.sides), self.value)
            amounts += [max(-first, 0), max(end - self.sides[axis], 0)]
        return F.pad(parts[0], amounts, value=self.value) if any(amounts) else parts[0]


class Conv(Step):
    """A convolution without padding."""

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: Any, dilation: Any, groups: int) -> None:
        self.weight, self.bias, self.groups = weight, bias, groups
        self.stride, self.dilation = _two(stride), _two(dilation)
        self.wide = [d * (k - 1) + 1 for d, k in zip(self.dilation, weight.shape[2:], strict=True)]

    def reach(self, span: Span, axis: int) -> Span:
        s = self.stride[axis]
        return span[0] * s, (span[1] - 1) * s + self.wide[axis]

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        return F.conv2d(parts[0], self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class ConvTranspose(Step):
    def __init__(
        self, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, groups: int, sides: tuple[int, int]
    ) -> None:
        self.weight, self.bias, self.groups, self.sides = weight, bias, groups, sides
        self.stride, self.padding = _two(stride), _two(padding)

    def reach(self, span: Span, axis: int) -> Span:
        s, p, k = self.stride[axis], self.padding[axis], self.weight.shape[2 + axis]
        return _within((-(-(span[0] + p - k + 1) // s), (span[1] - 1 + p) // s + 1), self.sides[axis])

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        made = F.conv_transpose2d(parts[0], self.weight, self.bias, self.stride, groups=self.groups)
        first = tuple(self.reach(window[axis], axis)[0] * self.stride[axis] - self.padding[axis] for axis in (0, 1))
        return window.of(made, first)


class Resample(Step):
    """Every row, and every column, is one of the input's, or between two: borders that are mirrored or repeated, cuts,
    enlargements. `low`, `high`: which, for each axis; `share`: of `high` (None: all of it is `low`)."""

    def __init__(
        self, low: Sequence[np.ndarray], high: Sequence[np.ndarray], share: Sequence[np.ndarray | None]
    ) -> None:
        self.low, self.high, self.share = low, high, share

    def reach(self, span: Span, axis: int) -> Span:
        part = slice(*span)
        return int(self.low[axis][part].min()), int(self.high[axis][part].max()) + 1

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        x = parts[0]
        for axis in (0, 1):
            part, first, share = slice(*window[axis]), self.reach(window[axis], axis)[0], self.share[axis]
            low = _taken(x, 2 + axis, self.low[axis][part] - first)
            if share is None:
                x = low
                continue
            weight = torch.from_numpy(share[part]).to(x).view([-1, 1] if axis == 0 else [1, -1])
            x = torch.lerp(low, _taken(x, 2 + axis, self.high[axis][part] - first), weight)
        return x


class Shuffled(Step):
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def reach(self, span: Span, axis: int) -> Span:
        return span[0] // self.factor, -(-span[1] // self.factor)

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        first = tuple(self.reach(window[axis], axis)[0] * self.factor for axis in (0, 1))
        return window.of(F.pixel_shuffle(parts[0], self.factor), first)


class Unshuffled(Step):
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def reach(self, span: Span, axis: int) -> Span:
        return span[0] * self.factor, span[1] * self.factor

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        return F.pixel_unshuffle(parts[0], self.factor)


def _within(span: Span, side: int) -> Span:
    """Cut to the image; never empty."""
    first = min(max(span[0], 0), side - 1)
    return first, max(min(span[1], side), first + 1)


def _two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (tuple(value) * 2)[:2]


def _taken(x: Tensor, dim: int, places: np.ndarray) -> Tensor:
    """Rows or columns of an image, channels last in memory. Most lie together."""
    runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
    if len(runs) > 16:
        pixels = x[0].permute(1, 2, 0)
        return pixels.index_select(dim - 2, torch.from_numpy(places).to(x.device)).permute(2, 0, 1)[None]
    parts = [x.narrow(dim, int(run[0]), len(run)) for run in runs]
    return torch.cat(parts, dim) if len(parts) > 1 else parts[0]
