"""Multilayer perceptrons for points in the plane.

Those of the mode-collapse experiments of PacGAN: The power of two samples in generative
adversarial networks, Lin et al., 2018, arXiv:1712.04086, section 4.1, with the numbers
of the authors' code (fjxmlzn/PacGAN, synthetic_data_experiments). A point is an image
of one pixel and two channels (`ganvas.data.toy`).
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from ganvas.nets.layers import Maxout, Size, sides
from ganvas.nets.norm import BatchNorm1d


def _init(module: nn.Module, std: float | None) -> None:
    """Linear layers' weights ~ N(0, std), biases 0; batch norm's gains stay 1.

    `std` None: He's, sqrt(2 / fan_in) (arXiv:1502.01852).
    """
    for m in module.modules():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0.0, math.sqrt(2 / m.in_features) if std is None else std)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


class Generator(nn.Module):
    """z [N, latent] -> points [N, channels, H, W], not bounded.

    `layers` of (linear without bias - batch norm - ReLU) with `width` units, then
    linear. Weights ~ N(0, `std`), None: He's; running statistics take .05 of each new
    batch. `norm=False`: biases in place of batch norm.
    """

    def __init__(
        self,
        latent: int = 2,
        width: int = 400,
        layers: int = 4,
        size: Size = 1,
        channels: int = 2,
        norm: bool = True,
        std: float | None = 0.02,
    ) -> None:
        super().__init__()
        height, width_px = sides(size)
        blocks: list[nn.Module] = []
        for a, b in pairwise([latent] + [width] * layers):
            blocks += [
                nn.Linear(a, b, bias=not norm),
                BatchNorm1d(b, momentum=0.05) if norm else nn.Identity(),
                nn.ReLU(),
            ]
        self.net = nn.Sequential(
            *blocks, nn.Linear(width if layers else latent, channels * height * width_px)
        )
        self.latent = latent
        self.shape = (channels, height, width_px)
        _init(self, std)

    def forward(self, z: Tensor) -> Tensor:
        """Map z [N, latent] to points [N, channels, H, W]."""
        return self.net(z).unflatten(1, self.shape)


class Discriminator(nn.Module):
    """Points [N, channels, H, W] -> logits [N].

    `layers` maxout layers of `units` with `pieces` each, then linear; no normalization
    and no dropout, so it also serves as a critic with a gradient penalty. Weights as
    the generator's.
    """

    def __init__(
        self,
        units: int = 200,
        pieces: int = 5,
        layers: int = 3,
        size: Size = 1,
        channels: int = 2,
        std: float | None = 0.02,
    ) -> None:
        super().__init__()
        height, width = sides(size)
        widths = [channels * height * width] + [units] * layers
        blocks = [Maxout(a, b, pieces) for a, b in pairwise(widths)]
        self.net = nn.Sequential(nn.Flatten(), *blocks, nn.Linear(widths[-1], 1))
        _init(self, std)

    def forward(self, x: Tensor) -> Tensor:
        """Map points x [N, channels, H, W] to logits [N]."""
        return self.net(x).squeeze(1)
