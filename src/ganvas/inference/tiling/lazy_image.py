"""Images that are computed on demand: a tensor subclass that records the operations on it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.inference.tiling.graph import Node, receptive_field
from ganvas.inference.tiling.ops import (
    REACH,
    Conv,
    ConvTranspose,
    NotTileable,
    Padded,
    Pointwise,
    Resample,
    Shuffled,
    Span,
    Unshuffled,
    Window,
    _two,
)

if TYPE_CHECKING:
    from ganvas.inference.tiling.executor import Tiles


class LazyImage:
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

    def split(self, size: int, dim: int = 0) -> tuple[LazyImage, ...]:
        if dim:
            raise NotTileable("it splits an image")
        return (self,)

    def __getitem__(self, key: Any) -> LazyImage:
        key = key if isinstance(key, tuple) else (key,)
        if Ellipsis in key:
            at = key.index(Ellipsis)
            key = (*key[:at], *[slice(None)] * (5 - len(key)), *key[at + 1 :])
        key = (*key, *[slice(None)] * (4 - len(key)))
        if not all(isinstance(k, slice) for k in key):
            raise NotTileable("it takes single rows or channels out of an image")
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

    def __add__(self, other: Any) -> LazyImage:
        return _pointwise(operator.add, self, other)

    def __sub__(self, other: Any) -> LazyImage:
        return _pointwise(operator.sub, self, other)

    def __mul__(self, other: Any) -> LazyImage:
        return _pointwise(operator.mul, self, other)

    def __truediv__(self, other: Any) -> LazyImage:
        return _pointwise(operator.truediv, self, other)

    def __neg__(self) -> LazyImage:
        return _pointwise(torch.neg, self)

    def __rsub__(self, other: Any) -> LazyImage:
        return _pointwise(lambda x, y: y - x, self, other)

    __radd__, __rmul__ = __add__, __mul__


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
        raise NotTileable(f"it calls {name}")
    if within:
        args[0].node = made.node
        return args[0]
    return made


def _point(x: LazyImage, fn: Callable[..., Tensor], channels: int | None = None) -> LazyImage:
    return LazyImage(x.tiles, Node(channels or x.node.channels, x.node.sides, Pointwise(fn), [x.node]))


def _pointwise(fn: Callable[..., Tensor], *args: Any) -> LazyImage:
    """`fn` of images of one size and of what is the same for every pixel."""
    tiles, sides = next((a.tiles, a.node.sides) for a in args if isinstance(a, LazyImage))
    args = tuple(
        tiles.picture(a) if isinstance(a, Tensor) and a.dim() == 4 and tuple(a.shape[2:]) == sides != (1, 1) else a
        for a in args
    )
    places = [i for i, a in enumerate(args) if isinstance(a, LazyImage)]
    nodes = [args[i].node for i in places]
    others = [None if isinstance(a, LazyImage) else a for a in args]
    if any(n.sides != sides for n in nodes):
        raise NotTileable("it joins images of different sizes")

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
    return LazyImage(tiles, node)


def _cat(tensors: Sequence[Any], dim: int = 0) -> LazyImage:
    if dim == 0 and len(tensors) == 1:
        return tensors[0]
    first: LazyImage = next(x for x in tensors if isinstance(x, LazyImage))
    nodes = [(first.tiles.picture(x) if isinstance(x, Tensor) else x).node for x in tensors]
    if dim not in (1, -3) or len({n.sides for n in nodes}) > 1:
        raise NotTileable("it joins images side by side")
    step = Pointwise(lambda *parts: torch.cat(parts, 1))
    return LazyImage(first.tiles, Node(sum(n.channels for n in nodes), nodes[0].sides, step, nodes))


def _conv2d(
    x: LazyImage,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> LazyImage:
    if isinstance(padding, str):
        raise NotTileable(f"it pads by the rule {padding!r}")
    down, across = _two(padding)
    x = _pad(x, [across, across, down, down])
    step = Conv(weight, bias, stride, dilation, groups)
    sides = [(n - wide) // s + 1 for n, wide, s in zip(x.node.sides, step.wide, step.stride, strict=True)]

    def node() -> Node:
        return Node(weight.shape[0], (sides[0], sides[1]), step, [x.node])

    return _reaching(x, node)


def _reaching(x: LazyImage, make: Callable[[], Node]) -> LazyImage:
    """An image made of `x`, which is stored first where the way from what is stored would grow long."""
    node = make()
    if receptive_field(node)[0] > REACH:
        before = x.node
        while isinstance(before.step, Padded | Resample):
            before = before.inputs[0]
        x.tiles.settle(before)
    return LazyImage(x.tiles, node)


def _conv_transpose2d(
    x: LazyImage,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> LazyImage:
    s, p, more, kernel = _two(stride), _two(padding), _two(output_padding), weight.shape[2:]
    if _two(dilation) != (1, 1) or any(m > q or k < t for m, q, k, t in zip(more, p, kernel, s, strict=True)):
        raise NotTileable("it has a transposed convolution with gaps")
    sides = tuple((n - 1) * t - 2 * q + k + m for n, t, q, k, m in zip(x.node.sides, s, p, kernel, more, strict=True))
    step = ConvTranspose(weight, bias, stride, padding, groups, x.node.sides)
    return _reaching(x, lambda: Node(weight.shape[1] * groups, (sides[0], sides[1]), step, [x.node]))


def _pad(x: LazyImage, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> LazyImage:
    left, right, top, bottom = (*pad, 0, 0)[:4]
    if not any(pad):
        return x
    height, width = x.node.sides
    if mode == "constant" and min(pad) >= 0:
        step = Padded(x.node.sides, (top, left), value or 0.0)
        sides = (height + top + bottom, width + left + right)
        return LazyImage(x.tiles, Node(x.node.channels, sides, step, [x.node]))
    places = [np.arange(-a, side + b) for side, a, b in ((height, top, bottom), (width, left, right))]
    if mode == "reflect":  # the last pixel is the mirror
        return _sampled(x, [(n - 1) - np.abs(n - 1 - np.abs(p)) for n, p in zip((height, width), places, strict=True)])
    if mode == "replicate":
        return _sampled(x, [p.clip(0, n - 1) for n, p in zip((height, width), places, strict=True)])
    raise NotTileable(f"it pads by {mode}")


def _sampled(x: LazyImage, low: Sequence[np.ndarray], high: Any = None, share: Any = (None, None)) -> LazyImage:
    step = Resample(low, high or low, share)
    return LazyImage(x.tiles, Node(x.node.channels, (len(low[0]), len(low[1])), step, [x.node]))


def _interpolate(
    x: LazyImage,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> LazyImage:
    times = _two(int(scale_factor)) if isinstance(scale_factor, int | float) and scale_factor % 1 == 0 else None
    if times is None or size is not None or align_corners or antialias or mode not in ("nearest", "bilinear"):
        raise NotTileable(f"it resizes ({mode})")
    places = [np.arange(t * n) for t, n in zip(times, x.node.sides, strict=True)]
    if mode == "nearest":
        return _sampled(x, [p // t for p, t in zip(places, times, strict=True)])
    between = [((p + 0.5) / t - 0.5).clip(0) for p, t in zip(places, times, strict=True)]
    low = [p.astype(np.int64) for p in between]
    high = [(p + 1).clip(max=n - 1) for p, n in zip(low, x.node.sides, strict=True)]
    return _sampled(x, low, high, [(p - q).astype(np.float32) for p, q in zip(between, low, strict=True)])


def _pixel_shuffle(x: LazyImage, upscale_factor: int) -> LazyImage:
    r, (height, width) = upscale_factor, x.node.sides
    return LazyImage(x.tiles, Node(x.node.channels // r**2, (height * r, width * r), Shuffled(r), [x.node]))


def _pixel_unshuffle(x: LazyImage, downscale_factor: int) -> LazyImage:
    r, (height, width) = downscale_factor, x.node.sides
    return LazyImage(x.tiles, Node(x.node.channels * r**2, (height // r, width // r), Unshuffled(r), [x.node]))


def _batch_norm(
    x: LazyImage,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> LazyImage:
    mean, var = x.tiles.statistics(x.node) if training else (running_mean, running_var)
    return _point(x, lambda part: F.batch_norm(part, mean, var, weight, bias, False, 0.0, eps))


def _group_norm(
    x: LazyImage, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> LazyImage:
    if num_groups != x.node.channels:
        raise NotTileable("it has a group norm of several channels")
    return _batch_norm(x, None, None, weight, bias, True, eps=eps)


def _instance_norm(
    x: LazyImage,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> LazyImage:
    return _batch_norm(x, running_mean, running_var, weight, bias, use_input_stats, eps=eps)


def _var_mean(x: LazyImage, dim: Sequence[int], *, correction: int = 1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    if not keepdim or tuple(dim) not in ((2, 3), (1, 2, 3)):
        raise NotTileable("it takes means along other axes than an image has")
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
