"""Networks of constant size for large images: one pair for each doubling.

Multi-scale GANs for Memory-efficient Generation of High Resolution Medical Images,
Uzunova et al., 2019, arXiv:1907.01376; widths and layers of the authors' package, in
two dimensions. Weights ~ N(0, .02).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.init import normal_init
from ganvas.nets.layers import Dropout, divisible
from ganvas.nets.norm import Norm, norm2d


class Block(nn.Module):
    """x + norm(conv(dropout(ReLU(norm(conv(x)))))), 3x3, padded with zeros."""

    def __init__(self, width: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1),
            norm2d(norm, width),
            nn.ReLU(),
            Dropout(dropout),
            nn.Conv2d(width, width, 3, 1, 1),
            norm2d(norm, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to the same shape."""
        return x + self.layers(x)


class PatchGenerator(nn.Module):
    """Images [N, channels_in, H, W] -> [N, channels_out, H, W] in [-1, 1].

    `width` channels, twice halved, residual blocks, twice doubled. H and W multiples of
    4.

    halved: halve once more at the start, so that the result has half the size
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int = 64,
        blocks: int = 6,
        norm: Norm = "affine",
        dropout: float = 0.5,
        halved: bool = False,
    ) -> None:
        super().__init__()
        self.multiple = 8 if halved else 4

        def then(conv: nn.Module, channels: int) -> list[nn.Module]:
            return [conv, norm2d(norm, channels), nn.ReLU()]

        layers = then(nn.Conv2d(channels_in, width, 3, 1, 1), width)
        if halved:
            layers += then(nn.Conv2d(width, width, 4, 2, 1), width)
        for c in (width, 2 * width):
            layers += then(nn.Conv2d(c, 2 * c, 4, 2, 1), 2 * c)
        layers += [Block(4 * width, norm, dropout) for _ in range(blocks)]
        for c in (2 * width, width):
            layers += then(nn.ConvTranspose2d(2 * c, c, 4, 2, 1), c)
        self.model = nn.Sequential(*layers, nn.Conv2d(width, channels_out, 7, 1, 3), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, channels_in, H, W]. Raises `UserError` for other sides."""
        divisible(x, self.multiple, self.multiple)
        return self.model(x)


class Generators(nn.Module):
    """One generator of the whole small image, and one for each doubling.

    Level 0: edges [N, 1, 2H, 2W] -> images [N, channels, H, W]. Other levels: edges and
    enlarged images [N, 1 + channels, H, W] -> images [N, channels, H, W].
    """

    def __init__(
        self,
        channels: int = 1,
        levels: int = 3,
        width: int = 64,
        blocks: int = 6,
        norm: Norm = "affine",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.coarse = PatchGenerator(1, channels, width, blocks, norm, dropout, halved=True)
        self.fine = nn.ModuleList(
            PatchGenerator(1 + channels, channels, width, blocks, norm, dropout)
            for _ in range(levels)
        )
        normal_init(self)

    def forward(self, edges: Tensor, low: Tensor | None, level: int) -> Tensor:
        """The images of a level.

        low: images of the level before at the size of `edges`, None at level 0
        """
        if low is None:
            return self.coarse(edges)
        return self.fine[level - 1](torch.cat([edges, low], 1))


class PatchScores(nn.Module):
    """Images [N, channels, side, side] -> one score each; larger ones -> maps of them.

    4x4 convolutions without padding, of stride 1 and then 2. `side`: 8, 16, 32, ...
    """

    def __init__(self, channels: int, side: int = 32, width: int = 64) -> None:
        super().__init__()
        halvings = side.bit_length() - 3
        if side != 4 << halvings or halvings < 1:
            raise UserError(f"a patch has a side of 8, 16, 32 or 64 pixels; got {side}")
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4), nn.LeakyReLU(0.2)]
        for i in range(halvings - 1):
            c = width << i
            layers += [nn.Conv2d(c, 2 * c, 4, 2), norm2d("batch", 2 * c), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width << halvings - 1, 1, 4, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Score images x: [N, 1, h, w]."""
        return self.layers(x)


class Discriminators(nn.Module):
    """One discriminator for each level: edges, image and enlarged image -> scores."""

    def __init__(self, channels: int = 1, levels: int = 3, side: int = 32, width: int = 64) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            PatchScores(1 + channels * (1 if level == 0 else 2), side, width)
            for level in range(levels + 1)
        )
        normal_init(self)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Scores [N, 1, h, w] of a level's edges and images, concatenated."""
        return self.levels[level](x)
