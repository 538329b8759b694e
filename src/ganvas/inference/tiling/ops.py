"""Operations of tiled inference: which window of its input each one reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STORED_CHANNELS = 16  # per pixel of the larger of input and output: up to 64 bytes
REACH = 8  # pixels: a step with a larger receptive field reads a stored image
MIN_TILE = 16  # pixels: the smallest side of a tile
Span = tuple[int, int]  # first, end (exclusive)
Pair = int | Sequence[int]  # for rows and columns


class NotTileable(Exception):
    """A network uses an operation that cannot be computed tile by tile."""


class Window(NamedTuple):
    """A rectangle of an image."""

    rows: Span
    columns: Span

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def of(self, x: Tensor, origin: Sequence[int] = (0, 0)) -> Tensor:
        """Crop x to this window; the first pixel of x is the image's at `origin`."""
        (top, bottom), (left, right) = self
        return x[
            ...,
            top - origin[0] : bottom - origin[0],
            left - origin[1] : right - origin[1],
        ]

    def around(self, other: Window) -> Window:
        """The smallest window around both."""
        ends = zip(self, other, strict=True)
        return Window(*((min(a[0], b[0]), max(a[1], b[1])) for a, b in ends))

    def cut(self, side: int) -> list[Window]:
        """Windows of at most `side` pixels that cover this one, row by row."""
        rows, columns = (
            [(a, min(a + side, end)) for a in range(start, end, side)] for start, end in self
        )
        return [Window(r, c) for r in rows for c in columns]


def out_of_memory(e: BaseException) -> bool:
    """Whether an exception means that memory ran out."""
    # On CPUs torch raises a bare RuntimeError.
    if isinstance(e, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(e, RuntimeError) and (
        "can't allocate memory" in str(e) or "not enough memory" in str(e)
    )


class Step:
    """An operation on images [1, C, H, W]; `reach` is that of single pixels."""

    def reach(self, span: Span, axis: int) -> Span:
        """The span of the inputs that a span of the output is computed from.

        axis: 0: rows; 1: columns
        """
        return span

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        """Compute a window of the output, [1, C, h, w].

        parts: of the inputs, exactly those that `reach` names
        """
        raise NotImplementedError


class Pointwise(Step):
    """An operation on single pixels."""

    def __init__(self, fn: Callable[..., Tensor]) -> None:
        self.fn = fn

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        """Apply the function to the same window of every input."""
        return self.fn(*parts)


class Padded(Step):
    """Constant padding: `before` rows and columns in front, any number behind."""

    def __init__(self, sides: tuple[int, int], before: tuple[int, int], value: float) -> None:
        self.sides, self.before, self.value = sides, before, value

    def reach(self, span: Span, axis: int) -> Span:
        """The part of the span that is inside the image, at least one pixel."""
        return _within((span[0] - self.before[axis], span[1] - self.before[axis]), self.sides[axis])

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        """Pad the part of the window that is inside the image."""
        amounts = []
        for axis in (1, 0):
            first, end = (i - self.before[axis] for i in window[axis])
            if end <= 0 or first >= self.sides[axis]:  # outside the image
                return parts[0].new_full((*parts[0].shape[:2], *window.sides), self.value)
            amounts += [max(-first, 0), max(end - self.sides[axis], 0)]
        return F.pad(parts[0], amounts, value=self.value) if any(amounts) else parts[0]


class Conv(Step):
    """A convolution without padding."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, stride: Pair, dilation: Pair, groups: int
    ) -> None:
        self.weight, self.bias, self.groups = weight, bias, groups
        self.stride, self.dilation = two(stride), two(dilation)
        self.extent = [
            d * (k - 1) + 1 for d, k in zip(self.dilation, weight.shape[2:], strict=True)
        ]

    def reach(self, span: Span, axis: int) -> Span:
        """Every pixel under the kernel."""
        s = self.stride[axis]
        return span[0] * s, (span[1] - 1) * s + self.extent[axis]

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        """Convolve; `parts` include the border under the kernel."""
        return F.conv2d(
            parts[0], self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


class ConvTranspose(Step):
    """A transposed convolution.

    sides: (height, width) of its input
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        stride: Pair,
        padding: Pair,
        groups: int,
        sides: tuple[int, int],
    ) -> None:
        self.weight, self.bias, self.groups, self.sides = weight, bias, groups, sides
        self.stride, self.padding = two(stride), two(padding)

    def reach(self, span: Span, axis: int) -> Span:
        """Every input pixel whose kernel touches the span."""
        s, p, k = self.stride[axis], self.padding[axis], self.weight.shape[2 + axis]
        return _within(
            (-(-(span[0] + p - k + 1) // s), (span[1] - 1 + p) // s + 1), self.sides[axis]
        )

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        """Compute all that `parts` contribute, and crop it to the window."""
        whole = F.conv_transpose2d(
            parts[0], self.weight, self.bias, self.stride, groups=self.groups
        )
        first = tuple(
            self.reach(window[axis], axis)[0] * self.stride[axis] - self.padding[axis]
            for axis in (0, 1)
        )
        return window.of(whole, first)


class Resample(Step):
    """Pick rows and columns of the input, or interpolate between two of them.

    For reflected and repeated borders, crops and upscaling.

    low, high: input rows (axis 0) and columns (axis 1) of each output row and column
    weight: of `high`, for each axis; None: `low` only
    """

    def __init__(
        self,
        low: Sequence[np.ndarray],
        high: Sequence[np.ndarray],
        weight: Sequence[np.ndarray | None],
    ) -> None:
        self.low, self.high, self.weight = low, high, weight

    def reach(self, span: Span, axis: int) -> Span:
        """From the first to the last row or column that the span picks."""
        part = slice(*span)
        return int(self.low[axis][part].min()), int(self.high[axis][part].max()) + 1

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        """Interpolate rows, then columns."""
        x = parts[0]
        for axis in (0, 1):
            part, weight = slice(*window[axis]), self.weight[axis]
            first = self.reach(window[axis], axis)[0]
            low = _select(x, 2 + axis, self.low[axis][part] - first)
            if weight is None:
                x = low
                continue
            factor = torch.from_numpy(weight[part]).to(x).view([-1, 1] if axis == 0 else [1, -1])
            x = torch.lerp(low, _select(x, 2 + axis, self.high[axis][part] - first), factor)
        return x


class Shuffled(Step):
    """A pixel shuffle: [1, C factor^2, H, W] -> [1, C, H factor, W factor]."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def reach(self, span: Span, axis: int) -> Span:
        """The span over `factor`, rounded outwards."""
        return span[0] // self.factor, -(-span[1] // self.factor)

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        """Shuffle whole blocks, and crop them to the window."""
        first = tuple(self.reach(window[axis], axis)[0] * self.factor for axis in (0, 1))
        return window.of(F.pixel_shuffle(parts[0], self.factor), first)


class Unshuffled(Step):
    """The inverse of a pixel shuffle."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def reach(self, span: Span, axis: int) -> Span:
        """The span times `factor`."""
        return span[0] * self.factor, span[1] * self.factor

    def run(self, window: Window, *parts: Tensor) -> Tensor:
        """Unshuffle exactly the window's blocks."""
        return F.pixel_unshuffle(parts[0], self.factor)


def _within(span: Span, side: int) -> Span:
    """Clip a span to the image; never empty."""
    first = min(max(span[0], 0), side - 1)
    return first, max(min(span[1], side), first + 1)


def two(value: Pair) -> tuple[int, int]:
    """One number for both axes, or one each."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _select(x: Tensor, dim: int, indices: np.ndarray) -> Tensor:
    """Rows or columns of an image [1, C, H, W], channels last in memory."""
    # Most are adjacent: narrow and cat are faster than index_select.
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    if len(runs) > 16:
        pixels = x[0].permute(1, 2, 0)
        return pixels.index_select(dim - 2, torch.from_numpy(indices).to(x.device)).permute(
            2, 0, 1
        )[None]
    parts = [x.narrow(dim, int(run[0]), len(run)) for run in runs]
    return torch.cat(parts, dim) if len(parts) > 1 else parts[0]
