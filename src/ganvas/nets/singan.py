"""SinGAN's networks: a small fully convolutional pair for each scale of one image.

SinGAN: Learning a Generative Model from a Single Natural Image, Shaham et al., 2019,
arXiv:1905.01164, section 2 and appendix.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ganvas.nets.norm import BatchNorm2d

LAYERS = 5


class ConvBlock(nn.Module):
    """Convolution without borders (3x3), batch norm and LeakyReLU(.2)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel)
        self.norm = BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, H - kernel + 1, W - kernel + 1]."""
        return nn.functional.leaky_relu(self.norm(self.conv(x)), 0.2)


class _Layers(nn.Module):
    """Five 3x3 convolutions. Weights ~ N(0, .02), gains ~ N(1, .02).

    width: channels of all layers but the last; or those of each, then of any number
    kernel: side of the convolutions, odd
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int | Sequence[int],
        kernel: int = 3,
    ) -> None:
        super().__init__()
        widths = [width] * (LAYERS - 1) if isinstance(width, int) else list(width)
        # Pixels that an image loses on each side.
        self.border = (kernel - 1) * (len(widths) + 1) // 2
        self.head = ConvBlock(channels_in, widths[0], kernel)
        blocks = enumerate(pairwise(widths), 1)
        self.body = nn.ModuleDict({f"block{i}": ConvBlock(a, b, kernel) for i, (a, b) in blocks})
        self.tail = nn.Conv2d(widths[-1], channels_out, kernel)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.normal_(m.weight, 0.0, 0.02)
            elif isinstance(m, BatchNorm2d):
                nn.init.normal_(m.weight, 1.0, 0.02)

    def through(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, H - 2 `border`, W - 2 `border`]."""
        x = self.head(x)
        for block in self.body.values():
            x = block(x)
        return self.tail(x)


class ScaleNet(_Layers):
    """The discriminator of a scale: [N, in, H, W] -> [N, out, H - 10, W - 10]."""

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the patches of images x."""
        return self.through(x)


class ScaleGenerator(_Layers):
    """Noise and the image of the coarser scale -> image, [N, C, H, W] each.

    before + tanh(net(noise + before)), with zeros around the input (equation 4).
    """

    def __init__(self, channels: int, width: int | Sequence[int], kernel: int = 3) -> None:
        super().__init__(channels, channels, width, kernel)

    def forward(self, noise: Tensor, before: Tensor) -> Tensor:
        """Refine `before` by noise of the same shape."""
        padded = nn.functional.pad(noise + before, [self.border] * 4)
        return before + torch.tanh(self.through(padded))


class Generators(nn.ModuleList):
    """A generator for each scale, coarsest first, twice as wide every four scales.

    `amplitudes` [scales]: of the noise; 0 where a scale is not trained yet.
    """

    amplitudes: Tensor

    def __init__(self, scales: int, channels: int = 3, width: int = 32) -> None:
        super().__init__(ScaleGenerator(channels, _width(width, i)) for i in range(scales))
        self.register_buffer("amplitudes", torch.zeros(scales))


class Discriminators(nn.ModuleList):
    """A patch discriminator for each scale, [N, C, H, W] -> [N, 1, H - 10, W - 10]."""

    def __init__(self, scales: int, channels: int = 3, width: int = 32) -> None:
        super().__init__(ScaleNet(channels, 1, _width(width, i)) for i in range(scales))


def _width(width: int, scale: int) -> int:
    return min(width << scale // 4, 128)
