"""Functions of torch on lazy images: steps that are not pointwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ganvas.inference.tiling.graph import Node, receptive_field
from ganvas.inference.tiling.ops import (
    REACH,
    Conv,
    ConvTranspose,
    NotTileable,
    Padded,
    Resample,
    Shuffled,
    Unshuffled,
    two,
)

if TYPE_CHECKING:
    from ganvas.inference.tiling.lazy_image import LazyImage


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
    down, across = two(padding)
    x = _pad(x, [across, across, down, down])
    step = Conv(weight, bias, stride, dilation, groups)
    sides = [
        (n - extent) // s + 1
        for n, extent, s in zip(x.node.sides, step.extent, step.stride, strict=True)
    ]

    def node() -> Node:
        return Node(weight.shape[0], (sides[0], sides[1]), step, [x.node])

    return _reaching(x, node)


def _reaching(x: LazyImage, make: Callable[[], Node]) -> LazyImage:
    """The image of a node; x is stored first if the receptive field grows large."""
    node = make()
    if receptive_field(node)[0] > REACH:
        before = x.node
        while isinstance(before.step, Padded | Resample):
            before = before.inputs[0]
        x.tiles.settle(before)
    return x.derived(node)


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
    s, p, more, kernel = two(stride), two(padding), two(output_padding), weight.shape[2:]
    if two(dilation) != (1, 1) or any(
        m > q or k < t for m, q, k, t in zip(more, p, kernel, s, strict=True)
    ):
        raise NotTileable("it has a transposed convolution with gaps")
    sides = tuple(
        (n - 1) * t - 2 * q + k + m
        for n, t, q, k, m in zip(x.node.sides, s, p, kernel, more, strict=True)
    )
    step = ConvTranspose(weight, bias, stride, padding, groups, x.node.sides)
    return _reaching(
        x, lambda: Node(weight.shape[1] * groups, (sides[0], sides[1]), step, [x.node])
    )


def _pad(
    x: LazyImage, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> LazyImage:
    left, right, top, bottom = (*pad, 0, 0)[:4]
    if not any(pad):
        return x
    height, width = x.node.sides
    if mode == "constant" and min(pad) >= 0:
        step = Padded(x.node.sides, (top, left), value or 0.0)
        sides = (height + top + bottom, width + left + right)
        return x.derived(Node(x.node.channels, sides, step, [x.node]))
    indices = [
        np.arange(-a, side + b) for side, a, b in ((height, top, bottom), (width, left, right))
    ]
    if mode == "reflect":  # the last pixel is the mirror
        return sampled(
            x,
            [
                (n - 1) - np.abs(n - 1 - np.abs(p))
                for n, p in zip((height, width), indices, strict=True)
            ],
        )
    if mode == "replicate":
        return sampled(x, [p.clip(0, n - 1) for n, p in zip((height, width), indices, strict=True)])
    raise NotTileable(f"it pads by {mode}")


def sampled(
    x: LazyImage,
    low: Sequence[np.ndarray],
    high: Sequence[np.ndarray] | None = None,
    weight: Sequence[np.ndarray | None] = (None, None),
) -> LazyImage:
    """An image of weighted sums of two rows and columns of `x` each, see `Resample`."""
    step = Resample(low, high or low, weight)
    return x.derived(Node(x.node.channels, (len(low[0]), len(low[1])), step, [x.node]))


def _interpolate(
    x: LazyImage,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> LazyImage:
    times = (
        two(int(scale_factor))
        if isinstance(scale_factor, int | float) and scale_factor % 1 == 0
        else None
    )
    if (
        times is None
        or size is not None
        or align_corners
        or antialias
        or mode not in ("nearest", "bilinear")
    ):
        raise NotTileable(f"it resizes ({mode})")
    indices = [np.arange(t * n) for t, n in zip(times, x.node.sides, strict=True)]
    if mode == "nearest":
        return sampled(x, [p // t for p, t in zip(indices, times, strict=True)])
    between = [((p + 0.5) / t - 0.5).clip(0) for p, t in zip(indices, times, strict=True)]
    low = [p.astype(np.int64) for p in between]
    high = [(p + 1).clip(max=n - 1) for p, n in zip(low, x.node.sides, strict=True)]
    return sampled(
        x, low, high, [(p - q).astype(np.float32) for p, q in zip(between, low, strict=True)]
    )


def _pixel_shuffle(x: LazyImage, upscale_factor: int) -> LazyImage:
    r, (height, width) = upscale_factor, x.node.sides
    return x.derived(Node(x.node.channels // r**2, (height * r, width * r), Shuffled(r), [x.node]))


def _pixel_unshuffle(x: LazyImage, downscale_factor: int) -> LazyImage:
    r, (height, width) = downscale_factor, x.node.sides
    return x.derived(
        Node(x.node.channels * r**2, (height // r, width // r), Unshuffled(r), [x.node])
    )


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
    return x.mapped(lambda part: F.batch_norm(part, mean, var, weight, bias, False, 0.0, eps))


def _group_norm(
    x: LazyImage,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
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


def _var_mean(
    x: LazyImage, dim: Sequence[int], *, correction: int = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    if not keepdim or tuple(dim) not in ((2, 3), (1, 2, 3)):
        raise NotTileable("it takes means along other axes than an image has")
    mean, var = (t.double().view(1, -1, 1, 1) for t in x.tiles.statistics(x.node))
    count = x.node.sides[0] * x.node.sides[1]
    if len(dim) == 3:
        middle = mean.mean(1, keepdim=True)
        var, mean, count = (
            (var + (mean - middle).square()).mean(1, keepdim=True),
            middle,
            count * x.node.channels,
        )
    return (var * (count / (count - correction))).float(), mean.float()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "batch_norm": _batch_norm,
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
