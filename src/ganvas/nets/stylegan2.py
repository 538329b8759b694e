"""StyleGAN2's networks.

Analyzing and Improving the Image Quality of StyleGAN, Karras et al., 2019,
arXiv:1912.04958, configuration F; labels and the residual-free discriminator as in
StyleGAN2-ADA's code, arXiv:2006.06676. In plain torch operations, differentiable twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError, did_you_mean
from ganvas.nets.activations import Activation, activated, clamped
from ganvas.nets.layers import (
    Blur,
    EqualizedConv2d,
    EqualizedLinear,
    MinibatchStdDev,
    Size,
    Taps,
    downsampling,
    upsampling,
)
from ganvas.nets.progan import Grows, widths_by_level
from ganvas.nets.stylegan import Mapping, Noise, StyleBased, fixed_noise

TAPS = (1, 3, 3, 1)  # of every filter that goes with a doubling or a halving (the authors' code)


Architecture = Literal["orig", "skip", "resnet"]  # arXiv:1912.04958, figure 7


def _known(architecture: str) -> None:
    """Raise `UserError` for an architecture that does not exist."""
    if architecture not in get_args(Architecture):
        raise UserError(
            f"there is no architecture {architecture!r} of this network. "
            f"{did_you_mean(architecture, get_args(Architecture))}"
        )


class ModulatedConv2d(nn.Module):
    """Convolution with weights modulated by a style, then demodulated.

    The weights' input channels are scaled by the style s, an affine function of w; the
    output channels are then brought to the variance that they have for inputs of
    variance 1:

    w'_oik = s_i w_oik,  w''_oik = w'_oik / sqrt(sum_ik w'_oik^2 + 1e-8)

    arXiv:1912.04958, equations 1 and 3. x [N, in, H, W], w [N, style] -> [N, out, H,
    W]. Images are scaled in place of weights, which is the same and leaves one ordinary
    convolution. `demodulate` False: w' times 1 / sqrt(fan_in). `up`: the image is
    doubled by a transposed convolution and filtered.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        style: int,
        demodulate: bool = True,
        up: bool = False,
        taps: Taps = TAPS,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.style = EqualizedLinear(style, channels_in, gain=1.0, bias=1.0)
        self.scale = None if demodulate else 1 / math.sqrt(channels_in * kernel**2)
        self.blur = after_doubling(taps, kernel) if up else None

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map x [N, in, H, W] and styles w [N, style] to [N, out, H', W']."""
        s = self.style(w)
        x = x * (s if self.scale is None else s * self.scale)[:, :, None, None].to(x.dtype)
        if self.blur is None:
            x = F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)
        else:
            x = self.blur(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2))
        if self.scale is None:
            size = (s.square() @ self.weight.square().sum((2, 3)).T + 1e-8).rsqrt()
            x = x * size[:, :, None, None].to(x.dtype)
        return x + self.bias.view(-1, 1, 1).to(x.dtype)


def after_doubling(taps: Taps, kernel: int) -> Blur:
    """The filter after a transposed convolution of `kernel`, of an image doubled."""
    n, border = len(taps), kernel // 2
    before = border + (n + 1) // 2 - (kernel - 1)
    after = border + (n - 2) // 2 - (kernel - 2)
    pad = before if before == after >= 0 else (before, after)
    return Blur(taps, pad=pad, gain=4.0, turned=True)


class ModulatedLayer(nn.Module):
    """A `ModulatedConv2d`, noise (unless `noisy` is False) and an activation.

    kernel: odd
    clamp: limit of the activation; None: without
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        style: int,
        size: tuple[int, int],
        up: bool = False,
        noisy: bool = True,
        taps: Taps = TAPS,
        kernel: int = 3,
        activation: Activation = "lrelu",
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(channels_in, channels_out, kernel, style, up=up, taps=taps)
        self.activation: Activation = activation
        self.clamp = clamp
        self.noise = Noise(size) if noisy else None

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """Map x [N, in, H, W] and styles w [N, style] to [N, out, H', W'].

        noise: as of `stylegan.Noise`
        """
        x = self.conv(x, w)
        x = x if self.noise is None else self.noise(x, noise)
        return activated(x, self.activation, self.clamp)


class Synthesis(Grows):
    """Styles w [n, layers, style] -> images [n, channels, H, W].

    They are meant to lie in [-1, 1] (the output is linear).

    From a learned constant at 4x4; each resolution doubles and convolves, convolves
    again, and adds its image to the one before, doubled. `width` channels at most,
    `base` / side at each resolution, or `widths` from 4x4 up. Layer i takes style i; a
    image takes that of the next resolution's first layer. arXiv:1912.04958, figure
    7b; `architecture`: "skip" as said; "orig" and "resnet" make an image at the last
    resolution only (figures 7a and 7c), "resnet" with a residual connection around
    each doubling. `noisy`: whether layers add noise; `taps`: the resampling filter;
    `kernel`: of the convolutions, odd; `conv_clamp`: limit of all activations and of
    every addition to the image, None: without (StyleGAN2-ADA's code trains with 256,
    so that float16 does not overflow; below it nothing changes).
    """

    def __init__(
        self,
        style: int = 512,
        width: int = 512,
        base: int = 32_768,
        size: Size = 1024,
        channels: int = 3,
        widths: Sequence[int] | None = None,
        architecture: Architecture = "skip",
        noisy: bool = True,
        taps: Taps = TAPS,
        kernel: int = 3,
        activation: Activation = "lrelu",
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__(size)
        _known(architecture)
        self.conv_clamp = conv_clamp
        how = {"kernel": kernel, "activation": activation, "clamp": conv_clamp}
        w = widths_by_level(widths, width, len(self.resolutions), base // 4)
        self.layers = 2 * len(w)
        self.const = nn.Parameter(torch.randn(w[0], *self.grid))
        sides = [(self.grid[0] << i, self.grid[1] << i) for i in range(len(w))]
        self.up = nn.ModuleList(
            ModulatedLayer(a, b, style, s, up=True, noisy=noisy, taps=taps, **how)
            for (a, b), s in zip(pairwise(w), sides[1:])
        )
        self.flat = nn.ModuleList(
            ModulatedLayer(c, c, style, s, noisy=noisy, **how)
            for c, s in zip(w, sides, strict=True)
        )
        self.to_rgb = nn.ModuleList(
            ModulatedConv2d(c, channels, 1, style, demodulate=False)
            for c in (w if architecture == "skip" else w[-1:])
        )
        self.skips = nn.ModuleList(
            EqualizedConv2d(a, b, 1, gain=1.0, bias=False)
            for a, b in (pairwise(w) if architecture == "resnet" else ())
        )
        self.enlarge = upsampling(taps)

    def forward(self, w: Tensor, noise: Sequence[Tensor | None] | None = None) -> Tensor:
        """`noise`: as of StyleGAN's synthesis.

        A map for every 3x3 convolution, of which there is one less than layers.
        """
        noise = noise or [None] * (self.layers - 1)
        x, image = self.const.expand(w.shape[0], -1, -1, -1), None
        for i, flat in enumerate(self.flat):
            before = x
            if i:
                x = self.up[i - 1](x, w[:, 2 * i - 1], noise[2 * i - 1])
            x = flat(x, w[:, 2 * i], noise[2 * i])
            if i and self.skips:
                x = (x + self.enlarge(self.skips[i - 1](before))) * math.sqrt(0.5)
            level = i + len(self.to_rgb) - len(self.flat)  # of images
            if level >= 0:
                picture = clamped(self.to_rgb[level](x, w[:, 2 * i + 1]), self.conv_clamp)
                image = picture if image is None else self.enlarge(image) + picture
        assert image is not None
        return image

    def fixed_noise(self) -> list[Tensor | None]:
        """What `forward` takes as `noise` for the same image every time."""
        flat, up = fixed_noise(self.flat), fixed_noise(self.up)
        if not flat:
            return [None] * (self.layers - 1)
        return [flat[0], *(n for pair in zip(up, flat[1:], strict=True) for n in pair)]


class Generator(StyleBased):
    """StyleGAN2's generator.

    style: the length of w; `mapping`: layers of the mapping network; the rest as of
    `Mapping` and `Synthesis`.
    """

    def __init__(
        self,
        latent: int = 512,
        style: int = 512,
        mapping: int = 8,
        width: int = 512,
        base: int = 32_768,
        size: Size = 1024,
        channels: int = 3,
        classes: int = 0,
        widths: Sequence[int] | None = None,
        architecture: Architecture = "skip",
        noisy: bool = True,
        taps: Taps = TAPS,
        embedding: int | None = None,
        hidden: int | None = None,
        kernel: int = 3,
        conv_clamp: float | None = None,
    ) -> None:
        synthesis = Synthesis(
            style,
            width,
            base,
            size,
            channels,
            widths,
            architecture,
            noisy,
            taps,
            kernel=kernel,
            conv_clamp=conv_clamp,
        )
        mapped = Mapping(
            latent, style, mapping, classes, gain=1.0, embedding=embedding, hidden=hidden
        )
        super().__init__(mapped, synthesis)


class Block(nn.Module):
    """Two 3x3 convolutions, the second of which halves the image.

    Beside them, if it is residual, a 1x1 convolution. [N, in, H, W] -> [N, out, H /
    2, W / 2].
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        residual: bool,
        taps: Taps,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.activation: Activation = "lrelu"
        self.clamp = clamp
        self.conv1 = EqualizedConv2d(channels_in, channels_in, 3, gain=1.0)
        self.blur = downsampling(taps, border=1, stride=1)
        self.conv2 = EqualizedConv2d(channels_in, channels_out, 3, gain=1.0, stride=2, padding=0)
        self.shrink = downsampling(taps)
        self.skip = (
            EqualizedConv2d(channels_in, channels_out, 1, gain=1.0, bias=False)
            if residual
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, H / 2, W / 2]."""
        h = activated(self.conv1(x), self.activation, self.clamp)
        h = activated(self.conv2(self.blur(h)), self.activation, self.clamp)
        return h if self.skip is None else (h + self.skip(self.shrink(x))) * math.sqrt(0.5)


class Discriminator(Grows):
    """Images [N, channels, H, W] -> scores [N].

    1x1 convolution from the image, halved to 4x4 by two convolutions each, the
    minibatch standard deviation over groups of `group`, a 3x3 convolution, linear,
    linear. `architecture`: "resnet" has a residual connection around each halving
    (arXiv:1912.04958, figure 7c), "orig" has none (StyleGAN2-ADA's on CIFAR-10), "skip"
    adds the image, halved, to the features at each resolution (figure 7b).
    classes: the score is the product with the label's embedding through `mapping`
    layers, / sqrt(length) (arXiv:1802.05637). `spread`: channels of the minibatch
    standard deviation, 0 for none; `joined`: length of the product, None: the width at
    4x4; `conv_clamp`: limit of the convolutions' activations. The rest as of
    `Synthesis` and `Mapping`.
    """

    def __init__(
        self,
        width: int = 512,
        base: int = 32_768,
        size: Size = 1024,
        channels: int = 3,
        classes: int = 0,
        group: int = 4,
        architecture: Architecture = "resnet",
        mapping: int = 8,
        widths: Sequence[int] | None = None,
        taps: Taps = TAPS,
        spread: int = 1,
        joined: int | None = None,
        embedding: int | None = None,
        hidden: int | None = None,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__(size)
        _known(architecture)
        self.activation: Activation = "lrelu"
        self.last_activation: Activation | None = None  # of the layers at 4x4; None: the same
        self.conv_clamp = conv_clamp
        w = widths_by_level(widths, width, len(self.resolutions), base // 4)
        joined = (w[0] if joined is None else joined) if classes else 1
        self.from_rgb = EqualizedConv2d(channels, w[-1], 1, gain=1.0)
        self.more_rgb = nn.ModuleList(  # at the smaller resolutions
            EqualizedConv2d(channels, c, 1, gain=1.0)
            for c in (w[-2::-1] if architecture == "skip" else ())
        )
        self.shrink = downsampling(taps)
        self.blocks = nn.Sequential(
            *(
                Block(b, a, architecture == "resnet", taps, conv_clamp)
                for a, b in reversed(list(pairwise(w)))
            )
        )
        self.spread = MinibatchStdDev(group, channels=spread) if spread else nn.Identity()
        self.last = EqualizedConv2d(w[0] + spread, w[0], 3, gain=1.0)
        self.dense = EqualizedLinear(w[0] * math.prod(self.grid), w[0], gain=1.0)
        self.output = EqualizedLinear(w[0], joined, gain=1.0)
        self.mapping = (
            Mapping(0, joined, mapping, classes, gain=1.0, embedding=embedding, hidden=hidden)
            if classes
            else None
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """`y`: labels [N] (int64), or weights of the classes [N, classes]."""
        if x.shape[-2:] != self.size:
            raise UserError(
                f"this network takes images of {'x'.join(map(str, self.size))} (height x width); "
                "got "
                f"{x.shape[-2]}x{x.shape[-1]}"
            )
        end = self.last_activation or self.activation
        h = activated(self.from_rgb(x), self.activation, self.conv_clamp)
        if self.more_rgb:
            for i, (block, from_rgb) in enumerate(zip(self.blocks, self.more_rgb, strict=True), 1):
                x = self.shrink(x)
                # The authors' code has no limit at 4x4, which never is in float16.
                last = i == len(self.blocks)
                kind, clamp = (end, None) if last else (self.activation, self.conv_clamp)
                h = block(h) + activated(from_rgb(x), kind, clamp)
        else:
            h = self.blocks(h)
        h = activated(self.last(self.spread(h)), end, self.conv_clamp)
        scores = self.output(activated(self.dense(h.flatten(1)), end))
        if self.mapping is None:
            return scores.squeeze(1)
        return (scores * self.mapping(None, y)).sum(1) / math.sqrt(scores.shape[1])
