"""The critic of DualGAN's authors' code (duxingren14/DualGAN).

Yi et al., 2017, arXiv:1704.02510. The generators are U-Nets (nets/image_to_image.py).
"""

from __future__ import annotations

from torch import Tensor, nn

from ganvas.nets.init import normal_init
from ganvas.nets.layers import Size, sides
from ganvas.nets.norm import norm2d


class Critic(nn.Module):
    """Images [N, channels, H, W] in [-1, 1], all of `size` -> scores [N].

    `layers` convolutions of stride 2, the first 5x5 and the others 3x3, with `width`
    min(2^i, 8) channels, each followed by affine instance norm (the first by none) and
    LeakyReLU(.2), then linear over the whole grid. No image sees another, so it serves
    with a gradient penalty. Weights ~ N(0, .02).
    """

    def __init__(
        self, width: int = 64, layers: int = 5, size: Size = 256, channels: int = 3
    ) -> None:
        super().__init__()
        blocks: list[nn.Module] = [
            nn.Conv2d(channels, width, 5, 2, 2),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        a = width
        for i in range(1, layers):
            b = width * min(1 << i, 8)
            blocks += [
                nn.Conv2d(a, b, 3, 2, 1),
                norm2d("affine", b),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            a = b
        height, wide = (-(-side // (1 << layers)) for side in sides(size))
        self.net = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(a * height * wide, 1))
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Score images x [N, channels, H, W]: [N]."""
        return self.net(x).squeeze(1)
