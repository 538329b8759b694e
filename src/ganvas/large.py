"""Pictures that outgrow memory: what a network makes of them, part by part, and equal to what it makes of the whole.

A `Large` stands for an image that is yet to be computed. A method gets it in place of a tensor, and torch's functions, which
find `__torch_function__` there, write down what is to be done instead of doing it. A part of the result is then made of those
parts of the images before it that its operations reach: how far parts overlap is the network's receptive field, and what is
added beyond a border is added at the picture's own border only.

A norm that takes its statistics from the picture needs all of it first: one sweep over its input in parts, whose means and
variances are put together exactly (Chan, Golub and LeVeque, 1983). What is swept is kept on disk where it is not larger than
`KEPT` numbers for every pixel of the picture, and else made again, so that a ResNet is computed once and its first and last
layers, which are wide and cheap, three or four times."""

from __future__ import annotations

import itertools
import operator
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.errors import NotWritten

KEPT = 16  # numbers for every pixel of the picture: a stored image takes up to 64 bytes a pixel
REACH = 8  # pixels: what reaches farther than this beyond its own part is made of stored images
LEAST = 16  # pixels: a part that needs more memory than there is, and is as small as this, is too much
Span = tuple[int, int]  # the first and the one behind the last


class Untileable(Exception):
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


# ---------------------------------------------------------------- steps


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


class Sampled(Step):
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


# ---------------------------------------------------------------- images


class Stored:
    """An image in a file without a name, which goes when it is no longer needed or the process ends. In rows of pixels."""

    def __init__(
        self, channels: int, sides: tuple[int, int], kind: Any = np.float32, folder: Path | None = None
    ) -> None:
        self.channels, self.sides, self.kind = channels, sides, np.dtype(kind)
        self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115 (closed with this object)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def _rows(self, window: Window, pixels: np.ndarray) -> Iterator[np.ndarray]:
        """Lines of pixels that lie together, the file being where each begins."""
        whole = window.sides[1] == self.sides[1]
        for i, line in enumerate([pixels] if whole else pixels):
            place = (window.rows[0] + i) * self.sides[1] + window.columns[0]
            self._file.seek(place * self.channels * self.kind.itemsize)
            yield line

    def write(self, window: Window, pixels: np.ndarray) -> None:
        """[h, w, C]. Raises `NotWritten` where the disk is full."""
        try:
            for line in self._rows(window, np.ascontiguousarray(pixels, self.kind)):
                left = line.data.cast("B")
                while left:
                    left = left[self._file.write(left) :]
        except OSError as e:
            raise NotWritten(
                f"what a large picture is made of could not be stored: {e.strerror or e}. It takes up to "
                f"{KEPT * 16} bytes a pixel for a while: free some space, or set TMPDIR to a folder that has it"
            ) from None

    def read(self, window: Window) -> Tensor:
        """[1, C, h, w], channels last in memory."""
        pixels = np.empty((*window.sides, self.channels), self.kind)
        for line in self._rows(window, pixels):
            left = line.data.cast("B")
            while left:
                got = self._file.readinto(left)
                assert got, "a part is read that was never written"
                left = left[got:]
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def stored(pixels: np.ndarray, folder: Path | None = None) -> Stored:
    """An image, uint8 or uint16 [H, W, C], put into a file."""
    height, width, channels = pixels.shape
    to = Stored(channels, (height, width), pixels.dtype, folder)
    for top in range(0, height, 256):
        part = pixels[top : top + 256]
        to.write(Window((top, top + len(part)), (0, width)), part)
    return to


class Held:
    """An image [1, C, H, W] in memory."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def read(self, window: Window) -> Tensor:
        return window.of(self.x)


_order = itertools.count()


class Node:
    """An image of the network: what it is made of and how, or where it is."""

    def __init__(
        self,
        channels: int,
        sides: tuple[int, int],
        step: Step | None = None,
        inputs: Sequence[Node] = (),
        source: Stored | Held | None = None,
    ) -> None:
        self.channels, self.sides, self.step, self.inputs, self.source = channels, sides, step, inputs, source
        self.order = next(_order)

    def reach(self, window: Window) -> Window:
        assert self.step is not None
        return Window(*(self.step.reach(span, axis) for axis, span in enumerate(window)))


def plan(node: Node, window: Window) -> dict[Node, Window]:
    """Of which image which part is needed for this one; every image stands before those that it is made of."""
    needed, waiting = {node: window}, {node}
    found: dict[Node, Window] = {}
    while waiting:
        latest = max(waiting, key=lambda n: n.order)  # all that needs it is planned already
        waiting.remove(latest)
        found[latest] = needed[latest]
        if latest.source is None:
            part = latest.reach(needed[latest])
            for before in latest.inputs:
                needed[before] = needed[before].around(part) if before in needed else part
                waiting.add(before)
    return found


def receptive_field(node: Node) -> tuple[float, int]:
    """(how far beyond itself a pixel in the middle reaches, in pixels of its own size; how many stored images it is made
    of)."""
    middle = Window(*((side // 2, side // 2 + 1) for side in node.sides))
    stored = {n: window for n, window in plan(node, middle).items() if n.source is not None}
    scales = [[a / b for a, b in zip(node.sides, n.sides, strict=True)] for n in stored]
    beyond = [(w * s - 1) / 2 for n, scale in zip(stored.values(), scales, strict=True) for w, s in zip(n.sides, scale)]
    return max(beyond, default=0.0), len(stored)


# ---------------------------------------------------------------- the work


class Tiles:
    """Computes images in parts. `pixels`: of the picture or of what is made of it, the larger. `side`: the longest that a part
    may have; None: what takes about `budget` bytes. `folder`: for files; None: the system's for such."""

    def __init__(
        self, pixels: int, device: torch.device, budget: int, side: int | None = None, folder: Path | None = None
    ) -> None:
        self.pixels, self.device, self.budget, self.side, self.folder = pixels, device, budget, side or 1 << 14, folder

    def picture(self, source: Tensor | Stored) -> Large:
        """An image [1, C, H, W] to begin with."""
        if isinstance(source, Tensor):
            return Large(self, Node(source.shape[1], (source.shape[2], source.shape[3]), source=Held(source)))
        return Large(self, Node(source.channels, source.sides, source=source))

    def compute(self, node: Node, window: Window) -> Tensor:
        """[1, C, h, w], on the device."""
        needed = plan(node, window)
        uses: dict[Node, int] = dict.fromkeys(needed, 0)
        for n in needed:
            for before in n.inputs if n.source is None else ():
                uses[before] += 1
        made: dict[Node, Tensor] = {}
        for n in reversed(needed):
            if n.source is not None:
                made[n] = n.source.read(needed[n]).to(self.device)
                continue
            assert n.step is not None
            part = n.reach(needed[n])
            parts = [part.of(made[before], (needed[before].rows[0], needed[before].columns[0])) for before in n.inputs]
            made[n] = n.step.run(needed[n], *parts)
            del parts
            for before in n.inputs:
                uses[before] -= 1
                if not uses[before]:
                    del made[before]
        return made[node]

    def sweep(self, node: Node, area: Window | None = None) -> Iterator[tuple[Window, Tensor]]:
        """All of an image, or of an area of it, in parts. Where one does not fit memory, it is quartered, and so are those
        that follow."""
        area = area or Window((0, node.sides[0]), (0, node.sides[1]))
        waiting = deque(area.cut(self.fitting(node)))
        while waiting:
            try:
                part = self.compute(node, waiting[0])
            except (RuntimeError, MemoryError) as e:
                longest = max(waiting[0].sides)
                if not out_of_memory(e) or longest <= LEAST:
                    raise
                self.side = -(-longest // 2)
                waiting = deque(small for window in waiting for small in window.cut(self.side))
                part = None
            if part is None:  # outside of the handler, which keeps alive what was made in vain
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            yield waiting.popleft(), part

    def fitting(self, node: Node) -> int:
        """The side of parts of this image: a power of two, so that what they are made of fits the budget."""
        side = min(self.side, 1 << (max(node.sides) - 1).bit_length())
        while side > 4 * LEAST:
            corner = Window(*((0, min(side, s)) for s in node.sides))
            needed = plan(node, corner).items()
            if 4 * sum(n.channels * w.sides[0] * w.sides[1] for n, w in needed) <= self.budget:
                break
            side //= 2
        return side

    def store(self, node: Node) -> Iterator[Tensor]:
        """A sweep over an image, which is a stored one from then on where it is not too large."""
        room = None
        if node.source is None and node.channels * node.sides[0] * node.sides[1] <= KEPT * self.pixels:
            room = Stored(node.channels, node.sides, folder=self.folder)
        for window, part in self.sweep(node):
            if room is not None:
                room.write(window, part[0].permute(1, 2, 0).float().cpu().numpy())
            yield part
        if room is not None:
            node.source, node.step, node.inputs = room, None, ()

    def settle(self, node: Node) -> None:
        """Have what this image is made of stored, but for operations on single pixels."""
        if node.source is not None:
            return
        if isinstance(node.step, Pointwise) and not _is_sum(node):
            for before in node.inputs:
                self.settle(before)
        elif node.channels * node.sides[0] * node.sides[1] <= KEPT * self.pixels:
            for _ in self.store(node):
                pass

    def statistics(self, node: Node) -> tuple[Tensor, Tensor]:
        """(mean, variance) of every channel over all pixels, [C] each."""
        count, mean, spread = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for part in self.store(node):
            n = part.shape[2] * part.shape[3]
            m, var = (t.cpu().double() for t in _mean_and_variance(part.float()))
            away, total = m - mean, count + n
            mean = mean + away * (n / total)
            spread = spread + var * n + away.square() * (count * n / total)
            count = total
        return mean.float().to(self.device), (spread / count).float().to(self.device)


def _mean_and_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of every channel. `var_mean` takes 30 times as long on a processor where channels come last."""
    if x.device.type == "cpu":
        return torch.batch_norm_update_stats(x, None, None, 0.0)
    var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    return mean, var


def _is_sum(node: Node) -> bool:
    return len(node.inputs) > 1 and node.channels == max(n.channels for n in node.inputs)


class Large:
    """An image [1, C, H, W] that is yet to be computed: what a method's `translate` takes in place of a tensor."""

    dtype, ndim, is_floating_point = torch.float32, 4, lambda self: True

    def __init__(self, tiles: Tiles, node: Node) -> None:
        self.tiles, self.node = tiles, node

    @property
    def shape(self) -> torch.Size:
        return torch.Size((1, self.node.channels, *self.node.sides))

    @property
    def device(self) -> torch.device:
        return self.tiles.device

    def rows(self, top: int, bottom: int) -> Tensor:
        """[1, C, bottom - top, W], in memory."""
        made = torch.empty(1, self.node.channels, bottom - top, self.node.sides[1])
        for window, part in self.tiles.sweep(self.node, Window((top, bottom), (0, self.node.sides[1]))):
            window.of(made, (top, 0)).copy_(part)
        return made

    def bands(self) -> list[Span]:
        """Rows to ask for one after the other: as high as a part is."""
        height, side = self.node.sides[0], self.tiles.fitting(self.node)
        return [(top, min(top + side, height)) for top in range(0, height, side)]

    # -------- what a tensor has

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return 4

    def numel(self) -> int:
        return self.shape.numel()

    def is_contiguous(self, **_: Any) -> bool:
        return True

    def __len__(self) -> int:
        return 1

    def split(self, size: int, dim: int = 0) -> tuple[Large, ...]:
        if dim:
            raise Untileable("it splits an image")
        return (self,)

    def __getitem__(self, key: Any) -> Large:
        key = key if isinstance(key, tuple) else (key,)
        if Ellipsis in key:
            at = key.index(Ellipsis)
            key = (*key[:at], *[slice(None)] * (5 - len(key)), *key[at + 1 :])
        key = (*key, *[slice(None)] * (4 - len(key)))
        if not all(isinstance(k, slice) for k in key):
            raise Untileable("it takes single rows or channels out of an image")
        channels = range(self.node.channels)[key[1]]
        made = self
        if len(channels) < self.node.channels:
            made = _point(self, lambda x: x[:, key[1]], len(channels))
        places = [np.arange(side)[k] for side, k in zip(self.node.sides, key[2:], strict=True)]
        return _sampled(made, places) if [len(p) for p in places] != list(self.node.sides) else made

    def __getattr__(self, name: str) -> Any:
        """Tensors' methods, as functions."""
        if name.startswith("_") or not callable(getattr(Tensor, name, None)):
            raise AttributeError(f"an image that is yet to be computed has no {name!r}")
        return partial(_called, name, getattr(Tensor, name), self)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _called(func.__name__, func, *args, **(kwargs or {}))

    def __add__(self, other: Any) -> Large:
        return _pointwise(operator.add, self, other)

    def __sub__(self, other: Any) -> Large:
        return _pointwise(operator.sub, self, other)

    def __mul__(self, other: Any) -> Large:
        return _pointwise(operator.mul, self, other)

    def __truediv__(self, other: Any) -> Large:
        return _pointwise(operator.truediv, self, other)

    def __neg__(self) -> Large:
        return _pointwise(torch.neg, self)

    def __rsub__(self, other: Any) -> Large:
        return _pointwise(lambda x, y: y - x, self, other)

    __radd__, __rmul__ = __add__, __mul__


# ---------------------------------------------------------------- torch's functions

_NAMES = (
    "abs add clamp clamp_max clamp_min clip detach div elu exp float gelu hardtanh leaky_relu lerp log_sigmoid maximum "
    "minimum mul neg pow prelu relu relu6 selu sigmoid silu softplus sqrt square sub tanh true_divide"
)
POINTWISE = set(_NAMES.split())


def _called(name: str, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function of torch does with images that are yet to be computed. Raises `Untileable`."""
    within = kwargs.pop("inplace", False) or (name.endswith("_") and not name.endswith("__"))
    name = name.strip("_")
    if name in FUNCTIONS:
        made = FUNCTIONS[name](*args, **kwargs)
    elif name in POINTWISE:
        func = getattr(Tensor, name, None) or getattr(F, name)
        made = _pointwise(partial(func, **kwargs), *args)
    elif getattr(func, "by_pixel", False):
        made = _point(args[0], func, func(torch.zeros(1, args[0].node.channels, 1, 1)).shape[1])
    else:
        raise Untileable(f"it calls {name}")
    if within:
        args[0].node = made.node
        return args[0]
    return made


def _point(x: Large, fn: Callable[..., Tensor], channels: int | None = None) -> Large:
    return Large(x.tiles, Node(channels or x.node.channels, x.node.sides, Pointwise(fn), [x.node]))


def _pointwise(fn: Callable[..., Tensor], *args: Any) -> Large:
    """`fn` of images of one size and of what is the same for every pixel."""
    tiles, sides = next((a.tiles, a.node.sides) for a in args if isinstance(a, Large))
    args = tuple(
        tiles.picture(a) if isinstance(a, Tensor) and a.dim() == 4 and tuple(a.shape[2:]) == sides != (1, 1) else a
        for a in args
    )
    places = [i for i, a in enumerate(args) if isinstance(a, Large)]
    nodes = [args[i].node for i in places]
    others = [None if isinstance(a, Large) else a for a in args]
    if any(n.sides != sides for n in nodes):
        raise Untileable("it joins images of different sizes")

    def run(*parts: Tensor) -> Tensor:
        given = list(others)
        for place, part in zip(places, parts, strict=True):
            given[place] = part
        return fn(*given)

    node = Node(max(n.channels for n in nodes), sides, Pointwise(run), nodes)
    if len(nodes) > 1:
        beyond, stored = receptive_field(node)
        if (
            beyond >= REACH / 2 or stored > 2
        ):  # sums are where networks come together: what goes on from here begins anew
            tiles.settle(node)
    return Large(tiles, node)


def _cat(tensors: Sequence[Any], dim: int = 0) -> Large:
    if dim == 0 and len(tensors) == 1:
        return tensors[0]
    first: Large = next(x for x in tensors if isinstance(x, Large))
    nodes = [(first.tiles.picture(x) if isinstance(x, Tensor) else x).node for x in tensors]
    if dim not in (1, -3) or len({n.sides for n in nodes}) > 1:
        raise Untileable("it joins images side by side")
    step = Pointwise(lambda *parts: torch.cat(parts, 1))
    return Large(first.tiles, Node(sum(n.channels for n in nodes), nodes[0].sides, step, nodes))


def _conv2d(
    x: Large,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Large:
    if isinstance(padding, str):
        raise Untileable(f"it pads by the rule {padding!r}")
    down, across = _two(padding)
    x = _pad(x, [across, across, down, down])
    step = Conv(weight, bias, stride, dilation, groups)
    sides = [(n - wide) // s + 1 for n, wide, s in zip(x.node.sides, step.wide, step.stride, strict=True)]

    def node() -> Node:
        return Node(weight.shape[0], (sides[0], sides[1]), step, [x.node])

    return _reaching(x, node)


def _reaching(x: Large, make: Callable[[], Node]) -> Large:
    """An image made of `x`, which is stored first where the way from what is stored would grow long."""
    node = make()
    if receptive_field(node)[0] > REACH:
        before = x.node
        while isinstance(before.step, Padded | Sampled):
            before = before.inputs[0]
        x.tiles.settle(before)
    return Large(x.tiles, node)


def _conv_transpose2d(
    x: Large,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Large:
    s, p, more, kernel = _two(stride), _two(padding), _two(output_padding), weight.shape[2:]
    if _two(dilation) != (1, 1) or any(m > q or k < t for m, q, k, t in zip(more, p, kernel, s, strict=True)):
        raise Untileable("it has a transposed convolution with gaps")
    sides = tuple((n - 1) * t - 2 * q + k + m for n, t, q, k, m in zip(x.node.sides, s, p, kernel, more, strict=True))
    step = ConvTranspose(weight, bias, stride, padding, groups, x.node.sides)
    return _reaching(x, lambda: Node(weight.shape[1] * groups, (sides[0], sides[1]), step, [x.node]))


def _pad(x: Large, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Large:
    left, right, top, bottom = (*pad, 0, 0)[:4]
    if not any(pad):
        return x
    height, width = x.node.sides
    if mode == "constant" and min(pad) >= 0:
        step = Padded(x.node.sides, (top, left), value or 0.0)
        sides = (height + top + bottom, width + left + right)
        return Large(x.tiles, Node(x.node.channels, sides, step, [x.node]))
    places = [np.arange(-a, side + b) for side, a, b in ((height, top, bottom), (width, left, right))]
    if mode == "reflect":  # the last pixel is the mirror
        return _sampled(x, [(n - 1) - np.abs(n - 1 - np.abs(p)) for n, p in zip((height, width), places, strict=True)])
    if mode == "replicate":
        return _sampled(x, [p.clip(0, n - 1) for n, p in zip((height, width), places, strict=True)])
    raise Untileable(f"it pads by {mode}")


def _sampled(x: Large, low: Sequence[np.ndarray], high: Any = None, share: Any = (None, None)) -> Large:
    step = Sampled(low, high or low, share)
    return Large(x.tiles, Node(x.node.channels, (len(low[0]), len(low[1])), step, [x.node]))


def _interpolate(
    x: Large,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Large:
    times = _two(int(scale_factor)) if isinstance(scale_factor, int | float) and scale_factor % 1 == 0 else None
    if times is None or size is not None or align_corners or antialias or mode not in ("nearest", "bilinear"):
        raise Untileable(f"it resizes ({mode})")
    places = [np.arange(t * n) for t, n in zip(times, x.node.sides, strict=True)]
    if mode == "nearest":
        return _sampled(x, [p // t for p, t in zip(places, times, strict=True)])
    between = [((p + 0.5) / t - 0.5).clip(0) for p, t in zip(places, times, strict=True)]
    low = [p.astype(np.int64) for p in between]
    high = [(p + 1).clip(max=n - 1) for p, n in zip(low, x.node.sides, strict=True)]
    return _sampled(x, low, high, [(p - q).astype(np.float32) for p, q in zip(between, low, strict=True)])


def _pixel_shuffle(x: Large, upscale_factor: int) -> Large:
    r, (height, width) = upscale_factor, x.node.sides
    return Large(x.tiles, Node(x.node.channels // r**2, (height * r, width * r), Shuffled(r), [x.node]))


def _pixel_unshuffle(x: Large, downscale_factor: int) -> Large:
    r, (height, width) = downscale_factor, x.node.sides
    return Large(x.tiles, Node(x.node.channels * r**2, (height // r, width // r), Unshuffled(r), [x.node]))


def _batch_norm(
    x: Large,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Large:
    mean, var = x.tiles.statistics(x.node) if training else (running_mean, running_var)
    return _point(x, lambda part: F.batch_norm(part, mean, var, weight, bias, False, 0.0, eps))


def _group_norm(
    x: Large, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Large:
    if num_groups != x.node.channels:
        raise Untileable("it has a group norm of several channels")
    return _batch_norm(x, None, None, weight, bias, True, eps=eps)


def _instance_norm(
    x: Large,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Large:
    return _batch_norm(x, running_mean, running_var, weight, bias, use_input_stats, eps=eps)


def _var_mean(x: Large, dim: Sequence[int], *, correction: int = 1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    if not keepdim or tuple(dim) not in ((2, 3), (1, 2, 3)):
        raise Untileable("it takes means along other axes than an image has")
    mean, var = (t.double().view(1, -1, 1, 1) for t in x.tiles.statistics(x.node))
    count = x.node.sides[0] * x.node.sides[1]
    if len(dim) == 3:
        middle = mean.mean(1, keepdim=True)
        var, mean, count = (var + (mean - middle).square()).mean(1, keepdim=True), middle, count * x.node.channels
    return (var * (count / (count - correction))).float(), mean.float()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "batch_norm": _batch_norm,
    "cat": _cat,
    "contiguous": lambda x, **_: x,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "interpolate": _interpolate,
    "pad": _pad,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "var_mean": _var_mean,
}
