"""Progressively growing networks.

Progressive Growing of GANs, Karras et al., 2017, arXiv:1710.10196, table 2. All stages'
weights exist from the start; `resolution` and `alpha` say how far the networks have
grown. `alpha` is the weight of the newest resolution: 0 shows the image of the one
before, enlarged, and 1 has faded it out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core import Clock, Stage
from ganvas.core.errors import UserError
from ganvas.nets.layers import (
    Blur,
    EqualizedConv2d,
    EqualizedDownConv2d,
    EqualizedLinear,
    MinibatchStdDev,
    Size,
    doublings,
    one_hot,
    sides,
)
from ganvas.nets.norm import PixelNorm

SLOPE = 0.2  # of LeakyReLU, in every layer of these networks unless `slope` is set


def widths_by_level(
    widths: Sequence[int] | None, width: int, levels: int, uncut: int | None = None
) -> list[int]:
    """Channels at each resolution from 4x4 up.

    Halved from one to the next, from `uncut` at 4x4 and never more than `width`.
    `uncut` None: 8 times the width, which for 512 is the papers' min(8192 / 2^i, 512),
    i = 1, 2, ...
    """
    if widths is None:
        return [max(min(width, (uncut or 8 * width) >> i), 1) for i in range(levels)]
    if len(widths) != levels:
        raise UserError(
            f"`widths` gives {len(widths)} numbers of channels, but there are {levels} "
            "resolutions from 4x4 to the "
            f"size. Give {levels}, or leave `widths` out."
        )
    return list(widths)


class Grows(nn.Module):
    """`size`: (height, width) of the images.

    resolutions: their longer side in pixels at each level of growth. `grid`: (height,
    width) at level 0.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        k, self.grid = doublings(size, least=0)
        self.size = sides(size)
        self.resolutions = tuple(max(self.grid) << i for i in range(k + 1))

    def _level(self, resolution: int) -> int:
        if resolution not in self.resolutions:
            raise UserError(
                f"this network has no resolution of {resolution} pixels (the longer side). "
                f"Use one of {', '.join(map(str, self.resolutions))}."
            )
        return self.resolutions.index(resolution)


@dataclass(frozen=True)
class Growth:
    """When networks grow: `start` for `hold` images.

    Then for each resolution `fade` images of fading in and `hold` at full weight
    (arXiv:1710.10196, section 2).

    `start` None: the smallest of `resolutions`; the largest: nothing grows. `fade` and
    `hold` of 0: nothing grows, the networks are complete at once. `batches`, `rates`:
    resolution -> batch and times the learning rate, if they are not the run's. The
    optimizers start afresh when a fade begins and when it ends, as in the authors' code
    (`Stage.index`).
    """

    resolutions: Sequence[int]
    fade: int
    hold: int
    start: int | None = None
    batches: Mapping[int, int] | None = None
    rates: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if self.start not in (None, *self.resolutions):
            raise UserError(
                f"start={self.start}: growth can begin at {', '.join(map(str, self.resolutions))} "
                "pixels; give one of them"
            )
        if self.fade < 0 or self.hold < 0:
            raise UserError(
                f"fade={self.fade}, hold={self.hold}: these are numbers of images, 0 or more"
            )

    def __call__(self, clock: Clock) -> Stage:
        """The stage after `clock.images` images."""
        last = len(self.resolutions) - 1
        phase = self.fade + self.hold
        grown, into = divmod(clock.images + self.fade, phase) if phase else (last + 1, 0)
        level = grown if self.start is None else grown + self.resolutions.index(self.start)
        if grown == 0 or level > last:
            level, into = min(level, last), self.fade
        side = self.resolutions[level]
        batches = {
            int(k): v for k, v in (self.batches or {}).items()
        }  # a run's file has names for keys
        rates = {int(k): v for k, v in (self.rates or {}).items()}
        alpha = min(into / self.fade, 1.0) if self.fade else 1.0
        index = 2 * level - (alpha < 1)
        return Stage(index, batches.get(side), side, alpha, rates.get(side, 1.0))


def faded_reals(x: Tensor, alpha: float) -> Tensor:
    """Real images at the resolution of growing networks.

    Details finer than the last resolution come in by `alpha`.
    """
    if alpha == 1.0:
        return x
    return torch.lerp(F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0), x, alpha)


class Block(nn.Module):
    """A 3x3 convolution and `conv2`, each followed by LeakyReLU(slope) and `norm`.

    [N, C, H, W] -> [N, C', H', W'].
    """

    slope = SLOPE

    def __init__(
        self, channels_in: int, channels_between: int, conv2: nn.Module, norm: nn.Module
    ) -> None:
        super().__init__()
        self.conv1 = EqualizedConv2d(channels_in, channels_between, 3)
        self.conv2 = conv2
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to [N, C', H', W']."""
        x = self.norm(F.leaky_relu(self.conv1(x), self.slope))
        return self.norm(F.leaky_relu(self.conv2(x), self.slope))


def faded(before: Tensor, newest: Tensor, alpha: float) -> Tensor:
    """Mix images of one shape: (1 - alpha) before + alpha newest."""
    return (1 - alpha) * before + alpha * newest


class ProgressiveGenerator(Grows):
    """z [N, latent] -> images [N, channels, H, W].

    They are meant to lie in [-1, 1] (the output is linear).

    z on the hypersphere, linear to 4x4, 3x3 convolution; then for each resolution:
    nearest up, two 3x3 convolutions. Every layer has an equalized learning rate,
    LeakyReLU(.2) and pixel norm; a 1x1 convolution makes each resolution's image.
    `width` channels at 4x4, halved from 64 px on (at 512 min(8192 / 2^i, 512)), or
    `widths` from 4x4 up. arXiv:1710.10196, section 4 and table 2; gains as in the
    authors' code: sqrt(2)/4 for the linear layer, 1 to the image. `classes`: how many
    labels y [N] are joined to z, one-hot. `size` is where growth ends: a side of 4 *
    2^k; a rectangle starts from a larger grid.
    """

    slope = SLOPE

    def __init__(
        self,
        latent: int = 512,
        width: int = 512,
        size: Size = 1024,
        channels: int = 3,
        widths: Sequence[int] | None = None,
        classes: int = 0,
    ) -> None:
        super().__init__(size)
        w = widths_by_level(widths, width, len(self.resolutions))
        self.latent, self.classes = latent, classes
        self.norm = PixelNorm()
        self.input = EqualizedLinear(
            latent + classes, w[0] * math.prod(self.grid), gain=math.sqrt(2) / 4
        )
        self.first = EqualizedConv2d(w[0], w[0], 3)
        self.blocks = nn.ModuleList(
            Block(a, b, EqualizedConv2d(b, b, 3), self.norm) for a, b in pairwise(w)
        )
        self.to_rgb = nn.ModuleList(EqualizedConv2d(c, channels, 1, gain=1.0) for c in w)

    def forward(
        self, z: Tensor, y: Tensor | None = None, resolution: int | None = None, alpha: float = 1.0
    ) -> Tensor:
        """`resolution`: the image's longer side in pixels; None: the last.

        alpha: the newest resolution's weight.
        """
        if self.classes:
            z = torch.cat([z, one_hot(y, self.classes, z)], 1)
        level = self._level(self.resolutions[-1] if resolution is None else resolution)
        x = F.leaky_relu(self.input(self.norm(z)), self.slope).unflatten(1, (-1, *self.grid))
        x = self.norm(F.leaky_relu(self.first(self.norm(x)), self.slope))
        before = x  # of the last doubling
        for block in self.blocks[:level]:
            before = x
            x = block(F.interpolate(x, scale_factor=2.0))
        image = self.to_rgb[level](x)
        if level and alpha < 1:
            image = faded(
                F.interpolate(self.to_rgb[level - 1](before), scale_factor=2.0), image, alpha
            )
        return image


class ProgressiveDiscriminator(Grows):
    """Images [N, channels, H, W] of any resolution on the way to `size` -> scores [N].

    The generator's mirror image: 1x1 convolution from the image, for each resolution
    two 3x3 convolutions and the mean of 2x2, at 4x4 the minibatch standard deviation
    over groups of `group`, a 3x3 convolution, linear, linear. Equalized learning rates,
    LeakyReLU(.2), no normalization. arXiv:1710.10196, table 2. `correction`: as in
    `MinibatchStdDev`. `blur`: StyleGAN's (arXiv:1812.04948, appendix C and code), which
    filters images by [1, 2, 1] before the convolution whose result is shrunk, and
    shrinks before LeakyReLU. `classes`: one score for each label, of which the image's
    own is taken (StyleGAN's code); 0: one score. `names`: how many classes it also
    tells apart (ProGAN's code); it then gives (scores [N], their logits [N, names]).
    `spread` False: without the minibatch standard deviation.
    """

    slope = SLOPE

    def __init__(
        self,
        width: int = 512,
        size: Size = 1024,
        channels: int = 3,
        group: int = 4,
        widths: Sequence[int] | None = None,
        correction: int = 0,
        blur: bool = False,
        classes: int = 0,
        names: int = 0,
        spread: bool = True,
    ) -> None:
        super().__init__(size)
        w = widths_by_level(widths, width, len(self.resolutions))
        self.from_rgb = nn.ModuleList(EqualizedConv2d(channels, c, 1) for c in w)

        def second(b: int, a: int) -> nn.Module:
            return (
                nn.Sequential(Blur(), EqualizedDownConv2d(b, a, 3))
                if blur
                else EqualizedConv2d(b, a, 3)
            )

        self.blocks = nn.ModuleList(
            Block(b, b, second(b, a), nn.Identity()) for a, b in pairwise(w)
        )
        self.shrink = nn.Identity() if blur else nn.AvgPool2d(2)
        self.names = names
        self.spread = MinibatchStdDev(group, correction) if spread else nn.Identity()
        self.last = EqualizedConv2d(w[0] + spread, w[0], 3)
        self.dense = EqualizedLinear(w[0] * math.prod(self.grid), w[0])
        self.output = EqualizedLinear(w[0], max(classes, 1) + names, gain=1.0)

    @property
    def layers_from_input(self) -> list[str]:
        """Names of the layers from the largest images on."""
        levels = reversed(range(len(self.from_rgb)))
        growing = [name for i in levels for name in (f"from_rgb.{i}", f"blocks.{i - 1}")]
        return [*growing[:-1], "last", "dense", "output"]

    def forward(
        self, x: Tensor, y: Tensor | None = None, alpha: float = 1.0
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The resolution is that of the images x.

        y: their labels [N]; `alpha`: the newest resolution's weight.
        """
        level = self._level(max(x.shape[-2:]))
        h = F.leaky_relu(self.from_rgb[level](x), self.slope)
        for i in reversed(range(level)):
            h = self.shrink(self.blocks[i](h))
            if i == level - 1 and alpha < 1:
                before = F.leaky_relu(self.from_rgb[i](F.avg_pool2d(x, 2)), self.slope)
                h = faded(before, h, alpha)
        h = F.leaky_relu(self.last(self.spread(h)), self.slope)
        out = self.output(F.leaky_relu(self.dense(h.flatten(1)), self.slope))
        if self.names:
            return out[:, 0], out[:, 1:]
        return out.squeeze(1) if y is None else out.gather(1, y[:, None]).squeeze(1)
