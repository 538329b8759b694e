"""SNGAN's standard networks.

Spectral Normalization for Generative Adversarial Networks, Miyato et al., 2018,
arXiv:1802.05957, appendix B.4, table 3: DCGAN's shape with kernels that even strides
divide.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.nets.layers import Size, doublings
from ganvas.nets.norm import BatchNorm2d
from ganvas.nets.spectral import spectral_


class Generator(nn.Module):
    """z [N, latent] -> images [N, channels, H, W] in [-1, 1].

    Linear to a grid of 4x4, a 4x4 transposed convolution for each doubling, the
    channels halved each time, batch norm - ReLU after each, 3x3 and tanh. `width`:
    channels before the last.
    """

    def __init__(
        self, latent: int = 128, width: int = 64, size: Size = 32, channels: int = 3
    ) -> None:
        super().__init__()
        k, grid = doublings(size)
        self.latent, self.grid = latent, (width << k, *grid)
        self.input = nn.Linear(latent, math.prod(self.grid))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(width << i + 1, width << i, 4, 2, 1) for i in reversed(range(k))
        )
        self.norms = nn.ModuleList(BatchNorm2d(width << i) for i in reversed(range(k + 1)))
        self.output = nn.Conv2d(width, channels, 3, padding=1)
        _init(self)

    def forward(self, z: Tensor) -> Tensor:
        """Map z [N, latent] to images [N, channels, H, W] in [-1, 1]."""
        first, *norms = self.norms
        x = F.relu(first(self.input(z).unflatten(1, self.grid)))
        for up, norm in zip(self.ups, norms, strict=True):
            x = F.relu(norm(up(x)))
        return self.output(x).tanh()


class Discriminator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> scores [N].

    3x3 convolutions that double the channels and 4x4 ones that halve the side, in turn,
    down to a grid of 4x4, LeakyReLU .1, linear. `normalised`: spectral normalization of
    every layer.
    """

    def __init__(
        self, width: int = 64, size: Size = 32, channels: int = 3, normalised: bool = True
    ) -> None:
        super().__init__()
        k, grid = doublings(size)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.1)]
        for i in range(k):
            a, b = width << i, width << i + 1
            layers += [
                nn.Conv2d(a, a, 4, 2, 1),
                nn.LeakyReLU(0.1),
                nn.Conv2d(a, b, 3, padding=1),
                nn.LeakyReLU(0.1),
            ]
        self.main = nn.Sequential(*layers)
        self.output = nn.Linear((width << k) * math.prod(grid), 1)
        _init(self)
        if normalised:
            spectral_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Score images x [N, channels, H, W]: [N]."""
        return self.output(self.main(x).flatten(1)).squeeze(1)


def _init(net: nn.Module) -> None:
    """He's variance before a ReLU, Glorot's for the last layer.

    The ReLU may be leaky. torch's norms and spectral normalization make up for any
    other scale.
    """
    for name, m in net.named_modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if name == "output":
                nn.init.xavier_uniform_(m.weight)
            else:
                nn.init.kaiming_normal_(m.weight, 0.1)
            assert m.bias is not None
            nn.init.zeros_(m.bias)
