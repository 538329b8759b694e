"""Networks that grow: Progressive Growing of GANs, Karras et al., 2017, arXiv:1710.10196, table 2. All stages' weights
exist from the start; `resolution` and `alpha` say how far the networks have grown. `alpha` is the weight of the newest
resolution: 0 shows the picture of the one before, enlarged, and 1 has faded it out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import UserError
from ganvas.nets.layers import EqualizedConv2d, EqualizedLinear, MinibatchStdDev, PixelNorm, Size, doublings


def _widths(widths: Sequence[int] | None, width: int, levels: int) -> list[int]:
    """Channels at each resolution from 4x4 up: min(8192 / 2^i, 512), i = 1, 2, ..., for a `width` of 512."""
    if widths is None:
        return [max(min(width, 8 * width >> i), 1) for i in range(levels)]
    if len(widths) != levels:
        raise UserError(
            f"`widths` gives {len(widths)} numbers of channels, but there are {levels} resolutions from 4x4 to the "
            f"size. Give {levels}, or leave `widths` out."
        )
    return list(widths)


class _Grows(nn.Module):
    """`resolutions`: the longer side in pixels at each level of growth. `grid`: (height, width) at level 0."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        k, self.grid = doublings(size, least=0)
        self.resolutions = tuple(max(self.grid) << i for i in range(k + 1))

    def _level(self, resolution: int) -> int:
        if resolution not in self.resolutions:
            raise UserError(
                f"this network has no resolution of {resolution} pixels (the longer side). "
                f"Use one of {', '.join(map(str, self.resolutions))}."
            )
        return self.resolutions.index(resolution)


class _Block(nn.Module):
    """Two 3x3 convolutions, each followed by LeakyReLU(.2) and `norm`. [N, C, H, W] -> [N, C', H, W]."""

    def __init__(self, channels_in: int, channels_between: int, channels_out: int, norm: nn.Module) -> None:
        super().__init__()
        self.conv1 = EqualizedConv2d(channels_in, channels_between, 3)
        self.conv2 = EqualizedConv2d(channels_between, channels_out, 3)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(_act(self.conv2(self.norm(_act(self.conv1(x))))))


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def _fade(before: Tensor, newest: Tensor, alpha: float) -> Tensor:
    return (1 - alpha) * before + alpha * newest


class ProgressiveGenerator(_Grows):
    """z [N, latent] -> images [N, channels, H, W], meant to lie in [-1, 1] (the output is linear).

    z on the hypersphere, linear to 4x4, 3x3 convolution; then for each resolution: nearest up, two 3x3 convolutions.
    Every layer has an equalized learning rate, LeakyReLU(.2) and pixel norm; a 1x1 convolution makes each resolution's
    picture. `width` channels at 4x4, halved from 64 px on (at 512 min(8192 / 2^i, 512)), or `widths` from 4x4 up.
    arXiv:1710.10196, section 4 and table 2; gains as in the authors' code: sqrt(2)/4 for the linear layer, 1 to the
    picture. `classes`: how many labels y [N] are joined to z, one-hot. `size` is where growth ends: a side of 4 * 2^k; a
    rectangle starts from a larger grid."""

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
        w = _widths(widths, width, len(self.resolutions))
        self.latent, self.classes = latent, classes
        self.norm = PixelNorm()
        self.input = EqualizedLinear(latent + classes, w[0] * math.prod(self.grid), gain=math.sqrt(2) / 4)
        self.first = EqualizedConv2d(w[0], w[0], 3)
        self.blocks = nn.ModuleList(_Block(a, b, b, self.norm) for a, b in pairwise(w))
        self.to_rgb = nn.ModuleList(EqualizedConv2d(c, channels, 1, gain=1.0) for c in w)

    def forward(self, z: Tensor, y: Tensor | None = None, resolution: int | None = None, alpha: float = 1.0) -> Tensor:
        """`resolution`: the picture's longer side in pixels; None: the last. `alpha`: the newest resolution's
        weight."""
        if self.classes:
            assert y is not None, "this network was built for labels"
            z = torch.cat([z, F.one_hot(y, self.classes).to(z.dtype)], 1)
        level = self._level(self.resolutions[-1] if resolution is None else resolution)
        x = _act(self.input(self.norm(z))).unflatten(1, (-1, *self.grid))
        x = self.norm(_act(self.first(self.norm(x))))
        before = x  # of the last doubling
        for block in self.blocks[:level]:
            before = x
            x = block(F.interpolate(x, scale_factor=2.0))
        image = self.to_rgb[level](x)
        if level and alpha < 1:
            image = _fade(F.interpolate(self.to_rgb[level - 1](before), scale_factor=2.0), image, alpha)
        return image


class ProgressiveDiscriminator(_Grows):
    """Images [N, channels, H, W] of any resolution on the way to `size` -> scores [N].

    The generator's mirror image: 1x1 convolution from the picture, for each resolution two 3x3 convolutions and the
    mean of 2x2, at 4x4 the minibatch standard deviation over groups of `group`, a 3x3 convolution, linear, linear.
    Equalized learning rates, LeakyReLU(.2), no normalisation. arXiv:1710.10196, table 2. `correction`: as in
    `MinibatchStdDev`. `names`: how many classes it also tells apart; it then gives (scores [N], their logits [N, names])."""

    def __init__(
        self,
        width: int = 512,
        size: Size = 1024,
        channels: int = 3,
        group: int = 4,
        widths: Sequence[int] | None = None,
        correction: int = 0,
        names: int = 0,
    ) -> None:
        super().__init__(size)
        w = _widths(widths, width, len(self.resolutions))
        self.from_rgb = nn.ModuleList(EqualizedConv2d(channels, c, 1) for c in w)
        self.blocks = nn.ModuleList(_Block(b, b, a, nn.Identity()) for a, b in pairwise(w))
        self.names = names
        self.spread = MinibatchStdDev(group, correction)
        self.last = EqualizedConv2d(w[0] + 1, w[0], 3)
        self.dense = EqualizedLinear(w[0] * math.prod(self.grid), w[0])
        self.output = EqualizedLinear(w[0], 1 + names, gain=1.0)

    def forward(self, x: Tensor, alpha: float = 1.0) -> Tensor | tuple[Tensor, Tensor]:
        """The resolution is that of the images x; `alpha`: the newest resolution's weight."""
        level = self._level(max(x.shape[-2:]))
        h = _act(self.from_rgb[level](x))
        for i in reversed(range(level)):
            h = F.avg_pool2d(self.blocks[i](h), 2)
            if i == level - 1 and alpha < 1:
                h = _fade(_act(self.from_rgb[i](F.avg_pool2d(x, 2))), h, alpha)
        h = _act(self.last(self.spread(h)))
        out = self.output(_act(self.dense(h.flatten(1))))
        return (out[:, 0], out[:, 1:]) if self.names else out.squeeze(1)
