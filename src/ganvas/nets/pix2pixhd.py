"""pix2pixHD's generators: one for half the size, and an enhancer of its features.

High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs, Wang et
al., 2018, arXiv:1711.11585, section 3.2. The global generator alone is a
`nets.image_to_image.ResNetGenerator` with four halvings.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.nets.image_to_image import ResNetBlock, ResNetGenerator
from ganvas.nets.init import normal_init
from ganvas.nets.layers import divisible
from ganvas.nets.norm import InstanceNorm2d


class LocalEnhancer(nn.Module):
    """Images [N, channels_in, H, W] -> images [N, channels_out, H, W] in [-1, 1].

    A global generator of twice the width works at half the size; its features, without
    its last layers, are added to those of the enhancer (figure 3). H and W multiples of
    2^(`downs` + 1), twice that at least. Weights ~ N(0, .02).

    downs, blocks: halvings and residual blocks of the global generator
    local_blocks: residual blocks of the enhancer
    head: keep the last layers of the global generator, so that it can train alone
    """

    def __init__(
        self,
        channels_in: int = 3,
        channels_out: int = 3,
        width: int = 32,
        downs: int = 4,
        blocks: int = 9,
        local_blocks: int = 3,
        head: bool = False,
    ) -> None:
        super().__init__()
        self.multiple = 2 << downs
        whole = ResNetGenerator(channels_in, channels_out, 2 * width, blocks, downs=downs)
        self.coarse = whole.model[:-3]
        self.down = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels_in, width, 7),
            InstanceNorm2d(width, affine=False),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            InstanceNorm2d(2 * width, affine=False),
            nn.ReLU(),
        )
        self.up = nn.Sequential(
            *(ResNetBlock(2 * width, "instance", False) for _ in range(local_blocks)),
            nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1),
            InstanceNorm2d(width, affine=False),
            nn.ReLU(),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, channels_out, 7),
            nn.Tanh(),
        )
        self.head = whole.model[-3:] if head else None
        normal_init(self)

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """Translate images x [N, channels_in, H, W].

        frozen: the global generator gets no gradients

        Raises `UserError` for sides that are no multiples of `multiple`.
        """
        divisible(x, self.multiple, least=2 * self.multiple)
        features = self.coarse(halved(x))
        return self.up(self.down(x) + (features.detach() if frozen else features))

    def whole(self, x: Tensor) -> Tensor:
        """The global generator's images of half the size, for x as in `forward`."""
        assert self.head is not None, "this enhancer was built without the head"
        divisible(x, self.multiple, least=2 * self.multiple)
        return self.head(self.coarse(halved(x)))


def halved(x: Tensor) -> Tensor:
    """Images of half the size, as between the discriminators' scales."""
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
