"""Images computed on demand: stand-ins for tensors that record operations."""

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
    NotTileable,
    Pointwise,
    Span,
    Window,
)
from ganvas.inference.tiling.torch_functions import FUNCTIONS, sampled

if TYPE_CHECKING:
    from ganvas.inference.tiling.executor import Tiles


class LazyImage:
    """An image [1, C, H, W] that is computed on demand; it stands in for a tensor."""

    dtype, ndim, is_floating_point = torch.float32, 4, lambda self: True

    def __init__(self, tiles: Tiles, node: Node) -> None:
        self.tiles, self.node = tiles, node

    @property
    def shape(self) -> torch.Size:
        """[1, C, H, W]."""
        return torch.Size((1, self.node.channels, *self.node.sides))

    @property
    def device(self) -> torch.device:
        """The device on which tiles are computed."""
        return self.tiles.device

    def rows(self, top: int, bottom: int) -> Tensor:
        """Compute rows: [1, C, bottom - top, W], in memory."""
        result = torch.empty(1, self.node.channels, bottom - top, self.node.sides[1])
        for window, part in self.tiles.sweep(
            self.node, Window((top, bottom), (0, self.node.sides[1]))
        ):
            window.of(result, (top, 0)).copy_(part)
        return result

    def bands(self) -> list[Span]:
        """Spans of rows as high as a tile, from top to bottom."""
        height, side = self.node.sides[0], self.tiles.tile_side(self.node)
        return [(top, min(top + side, height)) for top in range(0, height, side)]

    def derived(self, node: Node) -> LazyImage:
        """Another image of the same forward pass."""
        return LazyImage(self.tiles, node)

    def mapped(self, fn: Callable[..., Tensor], channels: int | None = None) -> LazyImage:
        """Apply `fn` to every pixel; `channels`: of the result, if not as many."""
        node = Node(channels or self.node.channels, self.node.sides, Pointwise(fn), [self.node])
        return self.derived(node)

    # -------- the interface of a tensor

    def size(self, dim: int | None = None) -> torch.Size | int:
        """As of tensors."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """4."""
        return 4

    def numel(self) -> int:
        """Numbers in the whole image."""
        return self.shape.numel()

    def is_contiguous(self, **_: object) -> bool:
        """True: the layout is that of each tile."""
        return True

    def __len__(self) -> int:
        return 1

    def split(self, size: int, dim: int = 0) -> tuple[LazyImage, ...]:
        """The image itself, the only one. Raises `NotTileable` for other axes."""
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
            raise NotTileable("it indexes single rows or channels")
        channels = range(self.node.channels)[key[1]]
        image = self
        if len(channels) < self.node.channels:
            image = self.mapped(lambda x: x[:, key[1]], len(channels))
        indices = [np.arange(side)[k] for side, k in zip(self.node.sides, key[2:], strict=True)]
        whole = [len(p) for p in indices] == list(self.node.sides)
        return image if whole else sampled(image, indices)

    def __getattr__(self, name: str) -> Any:
        """The methods of tensors, as functions."""
        if name.startswith("_") or not callable(getattr(Tensor, name, None)):
            raise AttributeError(f"a lazy image has no {name!r}")
        return partial(_apply, name, getattr(Tensor, name), self)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _apply(func.__name__, func, *args, **(kwargs or {}))

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
    "abs add clamp clamp_max clamp_min clip detach div elu exp float gelu hardtanh leaky_relu "
    "lerp log_sigmoid maximum minimum mul neg pow prelu relu relu6 selu sigmoid silu softplus "
    "sqrt square sub tanh true_divide"
)
POINTWISE = set(_NAMES.split())


def _apply(name: str, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Apply a function of torch to lazy images. Raises `NotTileable`."""
    inplace = kwargs.pop("inplace", False) or (name.endswith("_") and not name.endswith("__"))
    name = name.strip("_")
    if name == "cat":
        result = _cat(*args, **kwargs)
    elif name in FUNCTIONS:
        result = FUNCTIONS[name](*args, **kwargs)
    elif name in POINTWISE:
        func = getattr(Tensor, name, None) or getattr(F, name)
        result = _pointwise(partial(func, **kwargs), *args)
    elif getattr(func, "by_pixel", False):
        result = args[0].mapped(func, func(torch.zeros(1, args[0].node.channels, 1, 1)).shape[1])
    else:
        raise NotTileable(f"it calls {name}")
    if inplace:
        args[0].node = result.node
        return args[0]
    return result


def _pointwise(fn: Callable[..., Tensor], *args: Any) -> LazyImage:
    """Apply `fn` to images of one size and to arguments equal for every pixel."""
    tiles, sides = next((a.tiles, a.node.sides) for a in args if isinstance(a, LazyImage))

    def lazy(a: Any) -> Any:
        image = isinstance(a, Tensor) and a.dim() == 4 and tuple(a.shape[2:]) == sides != (1, 1)
        return tiles.image(a) if image else a

    args = tuple(map(lazy, args))
    indices = [i for i, a in enumerate(args) if isinstance(a, LazyImage)]
    nodes = [args[i].node for i in indices]
    others = [None if isinstance(a, LazyImage) else a for a in args]
    if any(n.sides != sides for n in nodes):
        raise NotTileable("it joins images of different sizes")

    def run(*parts: Tensor) -> Tensor:
        values = list(others)
        for place, part in zip(indices, parts, strict=True):
            values[place] = part
        return fn(*values)

    node = Node(max(n.channels for n in nodes), sides, Pointwise(run), nodes)
    if len(nodes) > 1:
        beyond, stored = receptive_field(node)
        if beyond >= REACH / 2 or stored > 2:  # a skip connection: its sum is stored
            tiles.settle(node)
    return LazyImage(tiles, node)


def _cat(tensors: Sequence[Any], dim: int = 0) -> LazyImage:
    if dim == 0 and len(tensors) == 1:
        return tensors[0]
    first: LazyImage = next(x for x in tensors if isinstance(x, LazyImage))
    nodes = [(first.tiles.image(x) if isinstance(x, Tensor) else x).node for x in tensors]
    if dim not in (1, -3) or len({n.sides for n in nodes}) > 1:
        raise NotTileable("it joins images side by side")
    step = Pointwise(lambda *parts: torch.cat(parts, 1))
    return LazyImage(first.tiles, Node(sum(n.channels for n in nodes), nodes[0].sides, step, nodes))
