"""Layers and checks that several families of networks share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.core.sizes import Size, sides

Taps = Sequence[float] | Sequence[Sequence[float]]  # a filter: one row, or rows of a square


def doublings(size: Size, least: int = 1, bottom: int = 4) -> tuple[int, tuple[int, int]]:
    """(k, grid) of a network that doubles a small grid k times to reach `size`.

    grid * 2^k = size, with `bottom` cells on the grid's shorter side; k is at least
    `least`. Any other size is a `UserError` that names the nearest.
    """
    height, width = sides(size)
    short, long = min(height, width), max(height, width)
    below = max(least, int(math.log2(max(short // bottom, 1))))
    if short == bottom << below and long % (1 << below) == 0:
        return below, (height >> below, width >> below)
    if short == long:  # a square stays one
        possible = {(bottom << k, bottom << k) for k in (below, below + 1)}
    else:
        possible = {
            (bottom << k, max(bottom, m) << k)
            for k in (below, below + 1)
            for m in (long >> k, -(-long >> k))
        }
    nearest = sorted(possible, key=lambda s: (abs(s[0] - short) + abs(s[1] - long), s))[:2]
    names = " or ".join(f"{a}x{b}" if height <= width else f"{b}x{a}" for a, b in nearest)
    raise UserError(
        f"this network cannot make {height}x{width} (height x width): the shorter side must be "
        f"{bottom << least}, {bottom << least + 1}, {bottom << least + 2}, ... ({bottom} doubled "
        f"k times) and the longer one a multiple of 2^k. Nearest: {names}."
    )


def divisible(x: Tensor, factor: int, least: int) -> None:
    """Raise `UserError` unless both sides are multiples of `factor`, at least `least`.

    x: images [N, C, H, W].
    """
    height, width = x.shape[-2:]
    if not (height % factor or width % factor or min(height, width) < least):
        return
    smaller, larger = (
        "x".join(str(max(least, way(side / factor) * factor)) for side in (height, width))
        for way in (math.floor, math.ceil)
    )
    nearest = smaller if smaller == larger else f"{smaller} or {larger}"
    raise UserError(
        f"this network cannot take {height}x{width} (height x width): both sides must be "
        f"multiples of {factor}"
        f"{f' and at least {least}' if least > factor else ''}. Nearest: {nearest}. Resize, crop "
        "or pad the images."
    )


def with_labels(x: Tensor, y: Tensor | None, classes: int) -> Tensor:
    """Append labels to images as one-hot planes.

    x [N, C, H, W] and labels y [N] -> [N, C + classes, H, W]. Conditional Generative
    Adversarial Nets, Mirza and Osindero, 2014, arXiv:1411.1784, in its convolutional
    form. Without classes: x.
    """
    if not classes:
        return x
    planes = one_hot(y, classes, x)[:, :, None, None]
    return torch.cat([x, planes.expand(-1, -1, *x.shape[-2:])], dim=1)


def one_hot(y: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """Labels [N] -> [N, classes] of the kind of `like`.

    Weights of the classes [N, classes] stay as they are.
    """
    assert y is not None, "this network was built for labels"
    return (F.one_hot(y, classes) if y.dim() == 1 else y).to(like.dtype)


class Dropout(nn.Module):
    """x * m / (1 - p), m ~ Bernoulli(1 - p), in training; x in evaluation.

    A mask belongs to its row, so ranks and micro-batches agree. Any shape [N, ...].
    Srivastava et al., 2014.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, ...] to the same shape."""
        if not self.training or self.p == 0:
            return x
        kept = rng.uniform(len(x), *x.shape[1:], device=x.device) >= self.p
        return x * kept / (1 - self.p)

    def extra_repr(self) -> str:
        """The probability of a zero."""
        return f"p={self.p}"


class EqualizedLinear(nn.Module):
    """Linear layer with an equalized learning rate.

    x W^T gain lr / sqrt(fan_in) + lr b, with W ~ N(0, 1) / lr: every weight learns at
    the same speed, `lr` times that of other layers (arXiv:1812.04948, appendix C, for
    the latter). [N, in] -> [N, out]. `bias`: what lr b starts from. arXiv:1710.10196,
    section 4.1.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        gain: float = math.sqrt(2),
        lr: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in) / lr)
        self.bias = nn.Parameter(torch.full((channels_out,), bias / lr))
        self.scale = gain * lr / math.sqrt(channels_in)
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in] to [N, out]."""
        return F.linear(
            x, self.weight * self.scale, self.bias if self.lr == 1 else self.bias * self.lr
        )


class EqualizedConv2d(nn.Module):
    """Convolution with an equalized learning rate.

    Weights W gain / sqrt(fan_in), W ~ N(0, 1). It keeps the size unless `stride` and
    `padding` say otherwise. [N, in, H, W] -> [N, out, H, W]. arXiv:1710.10196, section
    4.1.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        gain: float = math.sqrt(2),
        bias: bool = True,
        stride: int = 1,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None
        self.scale = gain / math.sqrt(channels_in * kernel**2)
        self.stride = stride
        self.padding = kernel // 2 if padding is None else padding

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, H', W']."""
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)


class EqualizedUpConv2d(EqualizedConv2d):
    """Nearest-neighbor doubling and a 3x3 convolution as one 4x4 transposed one.

    As StyleGAN's code has it, which takes less than half the products. [N, in, H, W] ->
    [N, out, 2 H, 2 W].
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, 2 H, 2 W]."""
        kernel = _two_by_two(self.weight * self.scale).flip(2, 3).transpose(0, 1)
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class EqualizedDownConv2d(EqualizedConv2d):
    """A 3x3 convolution and the mean of 2x2 as one convolution of 4x4.

    [N, in, 2 H, 2 W] -> [N, out, H, W].
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, 2 H, 2 W] to [N, out, H, W]."""
        return F.conv2d(
            x, _two_by_two(self.weight * (self.scale / 4)), self.bias, stride=2, padding=1
        )


class Strided1x1(nn.Conv2d):
    """A 1x1 convolution of every `stride`-th pixel, [N, C, H, W] -> [N, D, h, w].

    The pixels are picked first. oneDNN's own gradient for the weights reads and writes
    outside its buffers if images lie channels last and have fewer than 8 channels (16
    with AVX-512): wrong numbers or an abort (uxlfoundation/oneDNN, issue 6035).
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pick and convolve."""
        down, across = self.stride
        return F.conv2d(input[:, :, ::down, ::across], self.weight, self.bias)


def _two_by_two(kernel: Tensor) -> Tensor:
    """Sum of a kernel [.., 3, 3] and its shifts to the right and below: [.., 4, 4]."""
    k = F.pad(kernel, [1] * 4)
    return k[..., 1:, 1:] + k[..., :-1, 1:] + k[..., 1:, :-1] + k[..., :-1, :-1]


class Blur(nn.Module):
    """Filter every channel by the outer product of `taps`, scaled to a sum of `gain`.

    Rows of taps are the filter itself. Beyond the border all is 0. [N, C, H, W] ->
    [N, C, H', W']. `pad`: zeros around the image, or a pair of numbers before and after
    it, of which negative ones cut. `turned`: the filter is turned by half a turn.
    `stride` 2 keeps every second result. `up` puts zeros between the pixels first, so
    that the image is doubled, and `pad` is then what is cut from the result's border.
    The filter is a correlation, with `up` a convolution.
    """

    taps: Tensor

    def __init__(
        self,
        taps: Taps = (1, 2, 1),
        pad: int | tuple[int, int] = 1,
        stride: int = 1,
        gain: float = 1.0,
        up: bool = False,
        turned: bool = False,
    ) -> None:
        super().__init__()
        # Constants, not weights: absent from the state dict, and on a real device even
        # if the weights are on the meta device.
        row = torch.tensor(taps, dtype=torch.float32, device="cpu")
        whole = row.dim() == 2
        kernel = row * (gain / row.sum()) if whole else row.outer(row) * (gain / row.sum() ** 2)
        kernel = kernel.flip(0, 1) if turned else kernel
        self.register_buffer("taps", kernel[None, None], persistent=False)
        self.pad, self.stride, self.up = pad, stride, up

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to [N, C, H', W'], in float32 on a CPU under autocast."""
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return self._filtered(x)
        # oneDNN has no bf16 kernel for the backward pass of a strided depthwise
        # convolution: its reference implementation takes 10 to 20 times as long as
        # float32 does.
        with torch.autocast("cpu", enabled=False):
            y = self._filtered(x.float())
        return y if y.dtype == x.dtype else y.to(x.dtype)

    def _filtered(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.taps.to(x.dtype).expand(channels, -1, -1, -1)
        if isinstance(self.pad, int):
            before = after = 0
            pad = self.pad
        else:
            (before, after), pad = self.pad, 0
        if self.up:
            x = F.conv_transpose2d(x, kernel, stride=2, padding=pad, groups=channels)
            return F.pad(x, (-before, -after, -before, -after)) if before or after else x
        if before or after:
            x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, kernel, stride=self.stride, padding=pad, groups=channels)


def upsampling(taps: Taps) -> Blur:
    """Double an image: zeros between its pixels, convolved with `taps`, any number.

    [N, C, H, W] -> [N, C, 2 H, 2 W]. Where an odd number of taps lies is as in
    StyleGAN2-ADA's code, which R3GAN's uses, too.
    """
    n = len(taps)
    return Blur(taps, pad=_pad(n - 1 - (n + 1) // 2, n - 2 - (n - 2) // 2), gain=4.0, up=True)


def downsampling(taps: Taps, border: int = 0, stride: int = 2) -> Blur:
    """Convolve an image with `taps`, any number, and keep every `stride`-th result.

    [N, C, H, W] -> [N, C, H / 2, W / 2]; with stride 1, for a convolution that follows
    and halves, [N, C, H - 1 + 2 border, W - 1 + 2 border]. Otherwise as `upsampling`.
    """
    n = len(taps)
    pad = _pad(border + (n - 1) // 2, border + (n - 2) // 2)
    return Blur(taps, pad=pad, stride=stride, turned=True)


def _pad(before: int, after: int) -> int | tuple[int, int]:
    """One number for both ends if possible: the convolution itself then pads."""
    return before if before == after >= 0 else (before, after)


class MinibatchStdDev(nn.Module):
    """Append a channel with the standard deviation over a group of images.

    It is averaged over channels and pixels, so that a critic sees how alike the images
    of a batch are. [N, C, H, W] -> [N, C + `channels`, H, W]. arXiv:1710.10196,
    section 3.

    Groups are `group` neighbors in the batch (so a rank's rows keep theirs), or the
    whole batch if it is smaller or no multiple of `group`. `correction`: 0 divides
    the variance by the group's size as the paper's code does, 1 by one less.
    channels: how many are appended, each the mean over as large a part of the
    channels; the number is a divisor of C. `interleaved`: groups are not neighbors but
    as far apart as there are groups.
    """

    def __init__(
        self,
        group: int = 4,
        correction: int = 0,
        channels: int = 1,
        interleaved: bool = False,
    ) -> None:
        super().__init__()
        self.group, self.channels, self.interleaved = group, channels, interleaved
        self.correction = correction

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to [N, C + channels, H, W]; statistics are in float32."""
        n = len(x)
        group = n if n % self.group else self.group
        if self.interleaved and group < n:
            order = torch.arange(n, device=x.device).view(group, -1).T.flatten()
            return self._appended(x[order], group)[order.argsort()]
        return self._appended(x, group)

    def _appended(self, x: Tensor, group: int) -> Tensor:
        n = len(x)
        if group == 1 and self.correction:  # a lone image has no spread
            return torch.cat([x, torch.zeros_like(x[:, : self.channels])], 1)
        groups = x.float().view(n // group, group, self.channels, -1, *x.shape[2:])
        std = (groups.var(1, correction=self.correction) + 1e-8).sqrt().mean((2, 3, 4))
        std = std.repeat_interleave(group, 0)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return torch.cat([x, std.to(x.dtype)], 1)


class Maxout(nn.Module):
    """max over `pieces` linear maps.

    [N, in] -> [N, out]. Goodfellow et al., 2013, arXiv:1302.4389.
    """

    def __init__(self, channels_in: int, channels_out: int, pieces: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels_in, channels_out * pieces)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in] to [N, out]."""
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)
