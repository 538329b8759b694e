"""pix2pixHD's generators: one for a smaller size, and enhancers of its features.

High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs, Wang et
al., 2018, arXiv:1711.11585, section 3.2. The global generator alone is a
`nets.image_to_image.ResNetGenerator` with four halvings.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.nets.image_to_image import ResNetBlock, ResNetGenerator
from ganvas.nets.init import normal_init
from ganvas.nets.layers import divisible
from ganvas.nets.norm import Norm, norm2d


class LocalEnhancer(nn.Module):
    """Images [N, channels_in, H, W] -> images [N, channels_out, H, W] in [-1, 1].

    A global generator of twice the width works at half the size; its features, without
    its last layers, are added to those of the enhancer (figure 3). H and W multiples of
    2^(`downs` + `enhancers`), twice that at least. Weights ~ N(0, .02).

    downs, blocks: halvings and residual blocks of the global generator
    local_blocks: residual blocks of an enhancer
    head: keep the last layers of the global generator, so that it can train alone
    norm: of all layers; convolutions have biases in any case, as in the authors' code
    enhancers: each works at twice the size of the one before, with half the width
    reflect: borders in the enhancers' residual blocks, as of `ResNetBlock`
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
        norm: Norm = "instance",
        enhancers: int = 1,
        reflect: bool = True,
    ) -> None:
        super().__init__()
        self.multiple = 1 << downs + enhancers
        whole = ResNetGenerator(
            channels_in,
            channels_out,
            width << enhancers,
            blocks,
            norm,
            downs=downs,
            bias=True,
        )

        def down(width: int) -> nn.Sequential:
            return nn.Sequential(
                nn.ReflectionPad2d(3),
                nn.Conv2d(channels_in, width, 7),
                norm2d(norm, width),
                nn.ReLU(),
                nn.Conv2d(width, 2 * width, 3, 2, 1),
                norm2d(norm, 2 * width),
                nn.ReLU(),
            )

        def up(width: int, *last: nn.Module) -> nn.Sequential:
            return nn.Sequential(
                *(
                    ResNetBlock(2 * width, norm, False, reflect, bias=True)
                    for _ in range(local_blocks)
                ),
                nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1),
                norm2d(norm, width),
                nn.ReLU(),
                *last,
            )

        self.coarse = whole.model[:-3]
        self.down = down(width)
        self.up = up(width, nn.ReflectionPad2d(3), nn.Conv2d(width, channels_out, 7), nn.Tanh())
        self.head = whole.model[-3:] if head else None
        # Those before the last one, the smallest first.
        widths = [width << i for i in range(enhancers - 1, 0, -1)]
        self.inner_down = nn.ModuleList(down(w) for w in widths)
        self.inner_up = nn.ModuleList(up(w) for w in widths)
        normal_init(self)

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """Translate images x [N, channels_in, H, W].

        frozen: the global generator gets no gradients

        Raises `UserError` for sides that are no multiples of `multiple`.
        """
        divisible(x, self.multiple, least=2 * self.multiple)
        smaller = [x]
        for _ in range(1 + len(self.inner_up)):
            smaller.append(halved(smaller[-1]))
        h = self.coarse(smaller.pop())
        h = h.detach() if frozen else h
        for down, up in zip(self.inner_down, self.inner_up, strict=True):
            h = up(down(smaller.pop()) + h)
        return self.up(self.down(x) + h)

    def whole(self, x: Tensor) -> Tensor:
        """The global generator's images of half the size, for x as in `forward`."""
        assert self.head is not None, "this enhancer was built without the head"
        divisible(x, self.multiple, least=2 * self.multiple)
        return self.head(self.coarse(halved(x)))


class FeatureEncoder(ResNetGenerator):
    """Images, and maps of their instances -> features, the same within an instance.

    A global generator without residual blocks (section 3.4). Images [N, channels_in, H,
    W] and numbers of instances [N, 1, H, W] -> [N, channels_out, H, W] in [-1, 1].
    """

    def forward(self, x: Tensor, instances: Tensor | None = None) -> Tensor:
        """Features of images x; None: each pixel's own.

        Raises `UserError` for sides that are no multiples of 2^`downs`, or below twice
        that.
        """
        features = super().forward(x)
        if instances is None:
            return features
        means = []
        for one, numbers in zip(features.flatten(2), instances.flatten(1), strict=True):
            ids, places = torch.unique(numbers.long(), return_inverse=True)
            sums = one.new_zeros(len(one), len(ids)).index_add(1, places, one)
            means.append((sums / places.bincount(minlength=len(ids)))[:, places])
        return torch.stack(means).view_as(features)


def halved(x: Tensor) -> Tensor:
    """Images of half the size, as between the discriminators' scales."""
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
