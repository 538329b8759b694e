"""DiscoGAN's networks.

Learning to Discover Cross-Domain Relations with Generative Adversarial Networks, Kim et
al., 2017, arXiv:1703.05192, in the layout (and the generator with the key names) of
SKTBrain/DiscoGAN. Its images are in [0, 1]; here they are in [-1, 1] outside, and
brought to [0, 1] within, so the borders' zeros are black. Weights as torch draws
them.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from ganvas.nets.layers import Size, divisible, doublings
from ganvas.nets.norm import BatchNorm2d


def _down(a: int, b: int) -> list[nn.Module]:
    return [nn.Conv2d(a, b, 4, 2, 1, bias=False), BatchNorm2d(b), nn.LeakyReLU(0.2, inplace=True)]


def _up(a: int, b: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), BatchNorm2d(b), nn.ReLU(inplace=True)]


class Generator(nn.Module):
    """Images [N, channels_in, H, W] -> images [N, channels_out, H, W], both in [-1, 1].

    H and W multiples of 2^depth.

    `depth` convolutions of stride 2 with `width` to `width` 2^(depth-1) channels, each
    followed by batch norm (the first by none) and LeakyReLU(.2), and their mirror image
    with batch norm and ReLU, then sigmoid. `bottleneck`: the channels of one 4x4
    convolution more, and back, between the two (100 in the authors' `extra_layers`,
    which leaves one pixel of 64x64); sides are then at least 4 2^depth.
    """

    def __init__(
        self,
        channels_in: int = 3,
        channels_out: int = 3,
        width: int = 64,
        depth: int = 4,
        bottleneck: int = 0,
    ) -> None:
        super().__init__()
        widths = [width << i for i in range(depth)]
        layers: list[nn.Module] = [
            nn.Conv2d(channels_in, width, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for a, b in pairwise(widths):
            layers += _down(a, b)
        if bottleneck:
            layers += [
                nn.Conv2d(widths[-1], bottleneck, 4, bias=False),
                BatchNorm2d(bottleneck),
                nn.LeakyReLU(0.2, inplace=True),
                nn.ConvTranspose2d(bottleneck, widths[-1], 4, bias=False),
                BatchNorm2d(widths[-1]),
                nn.ReLU(inplace=True),
            ]
        for a, b in pairwise(reversed(widths)):
            layers += _up(a, b)
        self.main = nn.Sequential(
            *layers, nn.ConvTranspose2d(width, channels_out, 4, 2, 1, bias=False), nn.Sigmoid()
        )
        self.multiple = 1 << depth
        self.least = self.multiple * (4 if bottleneck else 1)

    def forward(self, x: Tensor) -> Tensor:
        """Translate images [N, channels_in, H, W] in [-1, 1].

        Raises `UserError` for sides that are no multiples of 2^depth.
        """
        divisible(x, self.multiple, self.least)
        return 2 * self.main((x + 1) / 2) - 1


class Discriminator(nn.Module):
    """Images in [-1, 1] -> (logits, features).

    [N, channels, H, W] -> [N], and one [N, C, h, w] a convolution between the first and
    the last, three at 64 px.

    k convolutions of stride 2 with `width` to `width` 2^(k-1) channels, each followed
    by batch norm (the first by none) and LeakyReLU(.2), then one over the remaining
    grid, for a side of 4 * 2^k, 16 at least.
    """

    def __init__(self, width: int = 64, size: Size = 64, channels: int = 3) -> None:
        super().__init__()
        k, grid = doublings(size, least=2)  # with one convolution there would be no features
        widths = [width << i for i in range(k)]
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for a, b in pairwise(widths):
            layers += _down(a, b)
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, grid, bias=False))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map images x [N, channels, H, W] to (logits [N], features to match)."""
        x, features = (x + 1) / 2, []
        for layer in self.main:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                features.append(x)
        return x.flatten(), features[1:]
