"""Residual networks for 32 pixels.

Improved Training of Wasserstein GANs, Gulrajani et al., 2017, arXiv:1704.00028, section
5.4 (CIFAR-10), with the details of the authors' code (igul222/improved_wgan_training,
gan_cifar_resnet.py); and the same with spectral normalization (SNGAN, arXiv:1802.05957)
and with labels (arXiv:1802.05637).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.attention import SelfAttention
from ganvas.nets.conditional import ConditionalBatchNorm2d, Projection
from ganvas.nets.layers import Size, doublings
from ganvas.nets.norm import BatchNorm2d
from ganvas.nets.spectral import spectral_


def _init(module: nn.Module) -> None:
    """Uniform weights of He's variance in blocks and Glorot's elsewhere; biases 0.

    He's is for the convolutions of a block. As in the authors' code.
    """
    for name, m in module.named_modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(
                m.weight, math.sqrt(2) if name.endswith(("conv1", "conv2")) else 1.0
            )
            if m.bias is not None:  # attention has none
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Embedding) and name.endswith("embed"):
            nn.init.xavier_uniform_(m.weight)


class UpBlock(nn.Module):
    """Residual block that doubles the sides.

    norm - ReLU - up - conv - norm - ReLU - conv, plus a 1x1 convolution of the input,
    enlarged. [N, C, H, W] -> [N, C', 2H, 2W]. `norm`: channels -> a layer, which gets
    the features and whatever condition the block is given.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        upsampling: str,
        norm: Callable[[int], nn.Module] = BatchNorm2d,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(channels_in), norm(channels_out)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1)
        self.upsampling = upsampling

    def _up(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode=self.upsampling)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        """Map x [N, C, H, W] to [N, C', 2 H, 2 W].

        condition: further arguments of the norms
        """
        h = self.conv1(self._up(F.relu(self.norm1(x, *condition))))
        h = self.conv2(F.relu(self.norm2(h, *condition)))
        return h + self._up(
            self.shortcut(x)
        )  # enlarging last gives the same for a quarter of the work


class DownBlock(nn.Module):
    """Residual block that may halve the sides.

    ReLU - conv - ReLU - conv (- mean of 2x2), plus the input, through a 1x1 convolution
    if the block shrinks or widens it. The `first` block of a critic sees pixels and has
    no leading ReLU. [N, C, H, W] -> [N, C', H, W] or [N, C', H/2, W/2]. `rectified`:
    the shortcut, too, starts from ReLU(x), as in kwotsin/mimicry, whose ReLU works in
    place. `between`: channels between the convolutions; None: as after them.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        down: bool = True,
        first: bool = False,
        rectified: bool = False,
        between: int | None = None,
    ) -> None:
        super().__init__()
        between = between or channels_out
        self.conv1 = nn.Conv2d(channels_in, between, 3, padding=1)
        self.conv2 = nn.Conv2d(between, channels_out, 3, padding=1)
        same = not down and channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)
        self.down, self.first, self.rectified = down, first, rectified

    def _down(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.down else x

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to [N, C', H, W], or [N, C', H / 2, W / 2] if `down`."""
        start = x if self.first else F.relu(x)
        h = self._down(self.conv2(F.relu(self.conv1(start))))
        return h + self.shortcut(self._down(start if self.rectified else x))


class Generator(nn.Module):
    """z [N, latent] -> images [N, channels, H, W] in [-1, 1].

    Linear to a grid of 4x4, k residual blocks that double it, batch norm - ReLU - conv
    - tanh, for a side of 4 * 2^k; `width` channels throughout. At 32 px the paper's
    generator (section 5.4). `upsampling`: the paper's nearest, or bilinear as
    kwotsin/mimicry has it. `classes`: how many labels y [N] it takes; each has gains
    and biases of its own in the blocks' batch norms (arXiv:1802.05637). `widths`:
    channels before the first and after each block; `bottom`: shorter side of the first
    grid; `attention`: number of the block that self-attention follows.
    """

    def __init__(
        self,
        latent: int = 128,
        width: int = 128,
        size: Size = 32,
        channels: int = 3,
        upsampling: Literal["nearest", "bilinear"] = "nearest",
        classes: int = 0,
        widths: Sequence[int] | None = None,
        bottom: int = 4,
        attention: int | None = None,
    ) -> None:
        super().__init__()
        k, grid = doublings(size, bottom=bottom)
        widths = _checked(widths or [width] * (k + 1), k + 1)
        self.latent, self.classes = latent, classes
        self.grid = (widths[0], *grid)
        norm = partial(ConditionalBatchNorm2d, classes=classes) if classes else BatchNorm2d
        self.input = nn.Linear(latent, math.prod(self.grid))
        self.blocks = nn.ModuleList(UpBlock(a, b, upsampling, norm) for a, b in pairwise(widths))
        self.norm = BatchNorm2d(widths[-1])
        self.output = nn.Conv2d(widths[-1], channels, 3, padding=1)
        self.bounded: Callable[[Tensor], Tensor] = torch.tanh
        self.attended = attention
        self.attention = None if attention is None else SelfAttention(widths[attention + 1])
        _init(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate images [N, channels, H, W] in [-1, 1] from z [N, latent].

        y: labels [N]; not None if there are `classes`
        """
        assert y is not None or not self.classes, "this generator was built for labels"
        x = self.input(z).unflatten(1, self.grid)
        for i, block in enumerate(self.blocks):
            x = block(x, y) if self.classes else block(x)
            if self.attention is not None and i == self.attended:
                x = self.attention(x)
        return self.bounded(self.output(F.relu(self.norm(x))))


class Discriminator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> scores [N].

    No batch norm, so that a gradient penalty sees single images.

    k - 1 residual blocks (at least one) that halve a side of 4 * 2^k, two that keep it,
    ReLU, the mean over pixels, linear; `width` channels throughout. At 32 px the critic
    of arXiv:1704.00028 (section 5.4). `rectified`: as in `DownBlock`. `normalised`:
    spectral normalization of every layer; `pool`: the mean or the sum over pixels.
    SNGAN has the normalization and the sum (arXiv:1802.05957, appendix B.4 and the
    authors' code). `classes`: how many labels y [N] it takes, by projection
    (arXiv:1802.05637). `widths`: channels after each block, of which `shrinking` halve
    the side; None: `width` each. `narrow`: blocks widen with their second convolution.
    attention: as of `Generator`.
    """

    def __init__(
        self,
        width: int = 128,
        size: Size = 32,
        channels: int = 3,
        rectified: bool = False,
        normalised: bool = False,
        pool: Literal["mean", "sum"] = "mean",
        classes: int = 0,
        widths: Sequence[int] | None = None,
        shrinking: int = 0,
        narrow: bool = False,
        attention: int | None = None,
    ) -> None:
        super().__init__()
        if widths is None:
            k, _ = doublings(size)
            shrinking = max(k - 1, 1)
            widths = [width] * (shrinking + 2)
        self.blocks = nn.Sequential(DownBlock(channels, widths[0], first=True))
        for i, (a, b) in enumerate(pairwise(widths), start=1):
            between = a if narrow else b
            self.blocks.append(DownBlock(a, b, i < shrinking, False, rectified, between))
        self.output = Projection(widths[-1], classes)
        self.attended = attention
        self.attention = None if attention is None else SelfAttention(widths[attention])
        self.pool = torch.sum if pool == "sum" else torch.mean
        _init(self)
        if normalised:
            spectral_(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score images x [N, channels, H, W]: [N].

        y: labels [N]; not None if there are `classes`
        """
        return self.output(self.features(x), y)

    def features(self, x: Tensor) -> Tensor:
        """What is scored linearly of images x [N, channels, H, W]: [N, width]."""
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.attention is not None and i == self.attended:
                x = self.attention(x)
        return self.pool(F.relu(x), (2, 3))


def _checked(widths: Sequence[int], levels: int) -> Sequence[int]:
    """`widths`, if they are as many as `levels`. Raises `UserError` otherwise."""
    if len(widths) != levels:
        raise UserError(f"`widths` gives {len(widths)} numbers; this size needs {levels}")
    return widths
