"""WGAN-GP's residual networks: Improved Training of Wasserstein GANs, Gulrajani et al., 2017, arXiv:1704.00028,
section 5.4 (CIFAR-10), with the details of the authors' code (igul222/improved_wgan_training, gan_cifar_resnet.py)."""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.nets.layers import BatchNorm2d, Size, doublings


def _init(module: nn.Module) -> None:
    """U with He's spread for the convolutions of a block, Glorot's for every other layer, biases 0 (the authors'
    code)."""
    for name, m in module.named_modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(m.weight, math.sqrt(2) if name.endswith(("conv1", "conv2")) else 1.0)
            assert m.bias is not None
            nn.init.zeros_(m.bias)


class UpBlock(nn.Module):
    """norm - ReLU - up - conv - norm - ReLU - conv, plus a 1x1 convolution of the input, enlarged. [N, C, H, W] ->
    [N, C, 2H, 2W]."""

    def __init__(self, width: int, upsampling: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = BatchNorm2d(width), BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(width, width, 1)
        self.upsampling = upsampling

    def _up(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode=self.upsampling)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self._up(F.relu(self.norm1(x))))
        h = self.conv2(F.relu(self.norm2(h)))
        return h + self._up(self.shortcut(x))  # enlarging last gives the same for a quarter of the work


class DownBlock(nn.Module):
    """ReLU - conv - ReLU - conv (- mean of 2x2), plus the input, through a 1x1 convolution where the block shrinks it.
    The `first` block of a critic sees pixels and has no leading ReLU. [N, C, H, W] -> [N, C', H, W] or [N, C', H/2,
    W/2]. `rectified`: the shortcut, too, starts from ReLU(x), as in kwotsin/mimicry, whose ReLU works in place."""

    def __init__(
        self, channels_in: int, channels_out: int, down: bool = True, first: bool = False, rectified: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if down else nn.Identity()
        self.down, self.first, self.rectified = down, first, rectified

    def _down(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.down else x

    def forward(self, x: Tensor) -> Tensor:
        start = x if self.first else F.relu(x)
        h = self._down(self.conv2(F.relu(self.conv1(start))))
        return h + self.shortcut(self._down(start if self.rectified else x))


class Generator(nn.Module):
    """z [N, latent] -> images [N, channels, H, W] in [-1, 1].

    Linear to a grid of 4x4, k residual blocks that double it, batch norm - ReLU - conv - tanh, for a side of 4 * 2^k;
    `width` channels throughout. At 32 px the paper's generator (section 5.4). `upsampling`: the paper's
    nearest, or bilinear as kwotsin/mimicry has it."""

    def __init__(
        self,
        latent: int = 128,
        width: int = 128,
        size: Size = 32,
        channels: int = 3,
        upsampling: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__()
        k, grid = doublings(size)
        self.latent = latent
        self.grid = (width, *grid)
        self.input = nn.Linear(latent, math.prod(self.grid))
        self.blocks = nn.Sequential(*[UpBlock(width, upsampling) for _ in range(k)])
        self.norm = BatchNorm2d(width)
        self.output = nn.Conv2d(width, channels, 3, padding=1)
        _init(self)

    def forward(self, z: Tensor) -> Tensor:
        x = self.blocks(self.input(z).unflatten(1, self.grid))
        return self.output(F.relu(self.norm(x))).tanh()


class Discriminator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> scores [N]; no normalisation, so that a gradient penalty sees single
    images.

    k - 1 residual blocks (at least one) that halve a side of 4 * 2^k, two that keep it, ReLU, the mean over pixels,
    linear; `width` channels throughout. At 32 px the paper's critic (section 5.4). `rectified`: as in
    `DownBlock`."""

    def __init__(self, width: int = 128, size: Size = 32, channels: int = 3, rectified: bool = False) -> None:
        super().__init__()
        k, _ = doublings(size)
        shrinking = [DownBlock(width, width, rectified=rectified) for _ in range(k - 2)]
        keeping = [DownBlock(width, width, down=False, rectified=rectified) for _ in range(2)]
        self.blocks = nn.Sequential(DownBlock(channels, width, first=True), *shrinking, *keeping)
        self.output = nn.Linear(width, 1)
        _init(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(F.relu(self.blocks(x)).mean((2, 3))).squeeze(1)
