"""InfoGAN's networks for small images.

InfoGAN: Interpretable Representation Learning by Information Maximizing Generative
Adversarial Nets, Chen et al., 2016, arXiv:1606.03657, appendix C.1; slopes, kernels and
heads as in openai/InfoGAN.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.init import normal_init
from ganvas.nets.layers import Size, sides
from ganvas.nets.norm import BatchNorm1d, BatchNorm2d


def _quarter(size: Size) -> tuple[int, int]:
    height, width = sides(size)
    if height % 4 or width % 4:
        raise UserError(
            f"InfoGAN's networks halve the sides twice; got {height}x{width}: give "
            "sides that are multiples of 4"
        )
    return height // 4, width // 4


class Generator(nn.Module):
    """Latents [N, latent] -> images [N, C, H, W] in [-1, 1].

    Two linear layers and two transposed convolutions, with batch norm and ReLU.
    """

    def __init__(
        self,
        latent: int = 74,
        width: int = 64,
        size: Size = 28,
        channels: int = 1,
        hidden: int = 1024,
    ) -> None:
        super().__init__()
        height, breadth = _quarter(size)
        self.latent = latent
        features = 2 * width * height * breadth
        self.main = nn.Sequential(
            nn.Linear(latent, hidden),
            BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, features),
            BatchNorm1d(features),
            nn.ReLU(),
            nn.Unflatten(1, (2 * width, height, breadth)),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
            nn.Tanh(),
        )
        normal_init(self)

    def forward(self, z: Tensor) -> Tensor:
        """Generate images from latents z [N, latent]."""
        return self.main(z)


class Codes(NamedTuple):
    """Q(c | x), what the discriminator reads off an image.

    logits: of the category [N, categories]
    mean: of the continuous codes, whose deviation is 1, [N, continuous]
    """

    logits: Tensor
    mean: Tensor


class Discriminator(nn.Module):
    """Images [N, C, H, W] -> scores [N]; Q shares all layers but its head."""

    def __init__(
        self,
        width: int = 64,
        size: Size = 28,
        channels: int = 1,
        hidden: int = 1024,
        categories: int = 10,
        continuous: int = 2,
        code_units: int = 128,
    ) -> None:
        super().__init__()
        height, breadth = _quarter(size)
        self.categories, self.continuous = categories, continuous
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.LeakyReLU(0.01),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            BatchNorm2d(2 * width),
            nn.LeakyReLU(0.01),
            nn.Flatten(),
            nn.Linear(2 * width * height * breadth, hidden),
            BatchNorm1d(hidden),
            nn.LeakyReLU(0.01),
        )
        self.score = nn.Linear(hidden, 1)
        self.encoder = nn.Sequential(
            nn.Linear(hidden, code_units),
            BatchNorm1d(code_units),
            nn.LeakyReLU(0.01),
            nn.Linear(code_units, categories + continuous),
        )
        normal_init(self)

    def forward(self, x: Tensor, codes: bool = False) -> Tensor | tuple[Tensor, Codes]:
        """Score images x [N, C, H, W]: logits [N]; with `codes`, (logits, Q)."""
        features = self.trunk(x)
        if not codes:
            return self.score(features).flatten()
        logits, mean = self.encoder(features).split([self.categories, self.continuous], 1)
        return self.score(features).flatten(), Codes(logits, mean)
