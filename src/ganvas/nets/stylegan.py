"""Generators whose layers take styles.

A Style-Based Generator Architecture for GANs (StyleGAN), Karras et al., 2018,
arXiv:1812.04948. A mapping network carries z to an intermediate latent w, and w says at
every layer of the synthesis network what it makes. What StyleGAN2 (`stylegan2.py`)
keeps of it is here, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core import distributed, rng
from ganvas.nets.activations import ACTIVATIONS, Activation
from ganvas.nets.layers import (
    Blur,
    EqualizedConv2d,
    EqualizedLinear,
    EqualizedUpConv2d,
    Size,
    one_hot,
)
from ganvas.nets.norm import InstanceNorm2d, PixelNorm
from ganvas.nets.progan import SLOPE, Grows, faded, widths_by_level


class Mapping(nn.Module):
    """z [n, latent], and labels y if there are `classes`, -> w [n, width].

    z and the label's embedding are brought to length sqrt(d) each; then `layers` linear
    layers, each followed by LeakyReLU(.2), which learn at `lr` times the rate of the
    others. arXiv:1812.04948, appendix C; labels as in StyleGAN2-ADA's code,
    arXiv:2006.06676. `latent` 0: of labels alone. `gain` is that of the layers'
    weights; what is missing to sqrt(2) comes after LeakyReLU (StyleGAN: nothing,
    StyleGAN2: all, so that there it multiplies the bias, too). `embedding`: length of
    the label's; `hidden`: of the layers' before the last; None: `width`. `activation`:
    in place of LeakyReLU, with its own gain in place of sqrt(2).
    """

    def __init__(
        self,
        latent: int = 512,
        width: int = 512,
        layers: int = 8,
        classes: int = 0,
        lr: float = 0.01,
        gain: float = math.sqrt(2),
        embedding: int | None = None,
        hidden: int | None = None,
        activation: Activation = "lrelu",
    ) -> None:
        super().__init__()
        embedding = (width if embedding is None else embedding) if classes else 0
        self.latent, self.width, self.classes = latent, width, classes
        self.norm = PixelNorm()
        self.embed = EqualizedLinear(classes, embedding, gain=1.0) if classes else None
        inner = [width if hidden is None else hidden] * (layers - 1)
        sides = [latent + embedding, *inner, *([width] if layers else [])]
        self.layers = nn.ModuleList(EqualizedLinear(a, b, gain, lr) for a, b in pairwise(sides))
        self.gain = gain
        self.activation: Activation = activation

    def forward(self, z: Tensor | None, y: Tensor | None = None) -> Tensor:
        """`y`: labels [n] (int64), or weights of the classes [n, classes]."""
        inputs = [self.norm(z)] if z is not None else []
        if self.embed is not None:
            inputs.append(self.norm(self.embed(one_hot(y, self.classes, self.embed.weight))))
        x = torch.cat(inputs, 1)
        function, gain = ACTIVATIONS[self.activation]
        for layer in self.layers:
            x = function(layer(x)) * (gain / self.gain)
        return x


class Noise(nn.Module):
    """x + weight * noise, one channel of N(0, 1) for all, the weights starting from 0.

    [N, C, H, W] -> the same.

    In training it is drawn, for every image its own; in evaluation it is one `fixed`
    image, so that a style names an image. `channels`: one weight for each; None: one
    for all.
    """

    fixed: Tensor

    def __init__(self, size: tuple[int, int], channels: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(() if channels is None else channels))
        self.register_buffer("fixed", torch.randn(size))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Add noise to x [N, C, H, W].

        noise: [1 or N, 1, H, W]; None: drawn in training, `fixed` in evaluation
        """
        if noise is None:
            noise = (
                rng.normal(len(x), 1, *x.shape[2:], device=x.device)
                if self.training
                else self.fixed
            )
        return x + (self.weight.view(-1, 1, 1) * noise).to(x.dtype)


class AdaptiveLayer(nn.Module):
    """Convolution, noise, bias, LeakyReLU(.2) and adaptive instance normalization.

    AdaIN: every channel of every image is brought to mean 0 and variance 1, times (1 +
    scale) plus shift, both affine functions of w. arXiv:1812.04948, figure 1b and
    equation 1; the order and the 1 are the authors' code's.
    """

    slope = SLOPE

    def __init__(self, conv: nn.Module, channels: int, style: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv = conv
        self.noise = Noise(size, channels)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.norm = InstanceNorm2d(channels, eps=1e-8)
        self.style = EqualizedLinear(style, 2 * channels, gain=1.0)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """Map x [N, C, H, W] and styles w [N, style] to [N, channels, H', W'].

        noise: as of `Noise`
        """
        x = self.noise(self.conv(x), noise)
        x = F.leaky_relu(x + self.bias.view(-1, 1, 1).to(x.dtype), self.slope)
        scale, shift = self.style(w)[:, :, None, None].chunk(2, 1)
        return self.norm(x) * (1 + scale) + shift


class Synthesis(Grows):
    """Styles w [n, layers, style] -> images [n, channels, H, W].

    They are meant to lie in [-1, 1] (the output is linear).

    From a learned constant of ones at 4x4; at each resolution two `AdaptiveLayer`s, the
    first of which doubles the image (nearest, convolution, blur by [1, 2, 1]; at 4x4 it
    has no convolution), and a 1x1 convolution to the image. Widths, growth and sizes
    as `ProgressiveGenerator`'s. arXiv:1812.04948, figure 1b, table 1 and appendix C.
    """

    def __init__(
        self,
        style: int = 512,
        width: int = 512,
        size: Size = 1024,
        channels: int = 3,
        widths: Sequence[int] | None = None,
        blur: bool = True,
    ) -> None:
        super().__init__(size)
        w = widths_by_level(widths, width, len(self.resolutions))
        self.layers = 2 * len(w)
        self.const = nn.Parameter(torch.ones(w[0], *self.grid))
        self.blocks = nn.ModuleList()
        for i, c in enumerate(w):
            conv: nn.Module = nn.Identity()
            if i:
                conv = nn.Sequential(
                    EqualizedUpConv2d(w[i - 1], c, 3, bias=False), *[Blur()] * blur
                )
            side = (self.grid[0] << i, self.grid[1] << i)
            first = AdaptiveLayer(conv, c, style, side)
            second = AdaptiveLayer(EqualizedConv2d(c, c, 3, bias=False), c, style, side)
            self.blocks.append(nn.ModuleList([first, second]))
        self.to_rgb = nn.ModuleList(EqualizedConv2d(c, channels, 1, gain=1.0) for c in w)

    def forward(
        self,
        w: Tensor,
        resolution: int | None = None,
        alpha: float = 1.0,
        noise: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """`resolution`, `alpha`: as of `ProgressiveGenerator`.

        Of `w` are needed the layers up to there. `noise`: a map for every layer, [n or
        1, 1, h, w] or a number; None: as `Noise` has it.
        """
        level = self._level(self.resolutions[-1] if resolution is None else resolution)
        noise = noise or [None] * self.layers
        x = before = self.const.expand(w.shape[0], -1, -1, -1)
        for i, layers in enumerate(self.blocks[: level + 1]):
            before = x
            for j, layer in enumerate(layers, 2 * i):  # pyright: ignore[reportArgumentType] (a ModuleList is iterable)
                x = layer(x, w[:, j], noise[j])
        image = self.to_rgb[level](x)
        if level and alpha < 1:
            image = faded(
                F.interpolate(self.to_rgb[level - 1](before), scale_factor=2.0), image, alpha
            )
        return image

    def fixed_noise(self) -> list[Tensor | None]:
        """What `forward` takes as `noise` for the same image every time."""
        return fixed_noise(self)


class StyleBased(nn.Module):
    """A mapping and a synthesis network as one: z [n, latent] -> images.

    `w_avg`, the mean of w, is followed in training and part of the state; `layers`: how
    many styles an image takes.
    """

    w_avg: Tensor

    def __init__(self, mapping: Mapping, synthesis: nn.Module) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis
        self.latent = mapping.latent
        self.register_buffer("w_avg", torch.zeros(mapping.width))

    @property
    def layers(self) -> int:
        """Number of styles that an image takes."""
        return self.synthesis.layers  # pyright: ignore[reportReturnType] (modules' attributes are untyped)

    def styles(self, z: Tensor, y: Tensor | None = None, layers: int | None = None) -> Tensor:
        """Map z [n, latent] and labels y [n] to w [n, layers, width].

        layers: number of equal styles; None: all of the network's
        """
        return self.mapping(z, y)[:, None].expand(-1, layers or self.layers, -1)

    def truncated(self, w: Tensor, truncation: float, layers: int | None = None) -> Tensor:
        """Truncate styles towards their mean: mean + truncation (w - mean).

        w [n, layers, width], in the first `layers` layers (None: in all).
        arXiv:1812.04948, appendix B.
        """
        if truncation == 1.0:
            return w
        near = torch.lerp(self.w_avg.expand_as(w).to(w.dtype), w, truncation)
        return near if layers is None else torch.cat([near[:, :layers], w[:, layers:]], 1)

    @torch.no_grad()
    def follow(self, w: Tensor, decay: float = 0.995) -> None:
        """Update the mean style by those of a step, w [n, width].

        w_avg moves by 1 - decay towards their mean. Once a step, over all ranks.
        """
        self.w_avg.lerp_(distributed.mean(w.to(self.w_avg.dtype).mean(0)), 1 - decay)

    def forward(
        self,
        z: Tensor,
        y: Tensor | None = None,
        truncation: float = 1.0,
        layers: int | None = None,
        **how: object,
    ) -> Tensor:
        """Generate images [n, channels, H, W] from z [n, latent].

        y: labels [n]; not None if there are classes
        truncation, layers: as of `truncated`
        how: further arguments of the synthesis network
        """
        return self.synthesis(self.truncated(self.styles(z, y), truncation, layers), **how)


class Generator(StyleBased):
    """StyleGAN's generator.

    style: the length of w; `mapping`: layers of the mapping network; the rest as of
    `Mapping` and `Synthesis`.
    """

    def __init__(
        self,
        latent: int = 512,
        style: int = 512,
        mapping: int = 8,
        width: int = 512,
        size: Size = 1024,
        channels: int = 3,
        classes: int = 0,
        widths: Sequence[int] | None = None,
        blur: bool = True,
    ) -> None:
        synthesis = Synthesis(style, width, size, channels, widths, blur)
        super().__init__(Mapping(latent, style, mapping, classes), synthesis)
        self.resolutions = synthesis.resolutions


def mixed(w: Tensor, other: Tensor, share: float) -> Tensor:
    """Style mixing between two sets of styles.

    w [n, layers, d], whose layers from a random one on are `other`'s in `share` of the
    images. arXiv:1812.04948, section 3.1. The place is drawn for every image.
    """
    n, layers = w.shape[:2]
    place = 1 + rng.integers(n, layers - 1, device=w.device)
    place = torch.where(rng.uniform(n, device=w.device) < share, place, layers)
    own = torch.arange(layers, device=w.device) < place[:, None]
    return torch.where(own[:, :, None], w, other)


def fixed_noise(net: nn.Module) -> list[Tensor | None]:
    """The fixed noise of all layers of `net`, in order."""
    return [m.fixed for m in net.modules() if isinstance(m, Noise)]
