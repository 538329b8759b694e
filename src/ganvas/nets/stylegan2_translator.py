"""CUT's translator of StyleGAN2's layers (--netG stylegan2 and smallstylegan2).

Contrastive Learning for Unpaired Image-to-Image Translation, Park et al., 2020,
arXiv:2007.15651, appendix (translation of a single image), in the form of the authors'
code (taesungp/contrastive-unpaired-translation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.core import rng
from ganvas.nets.activations import activated
from ganvas.nets.layers import EqualizedConv2d, Taps, divisible
from ganvas.nets.stylegan2 import TAPS, Block, after_doubling


class FlatBlock(nn.Module):
    """(x + two 3x3 convolutions of x) / sqrt(2), [N, C, H, W] -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (EqualizedConv2d(width, width, 3, gain=1.0) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to the same shape."""
        return (x + activated(self.conv2(activated(self.conv1(x))))) * math.sqrt(0.5)


class Doubling(nn.Module):
    """A 3x3 convolution of weights of length 1 that doubles, noise and LeakyReLU.

    [N, in, H, W] -> [N, out, 2 H, 2 W]. As `stylegan2.ModulatedConv2d` without a style.
    The noise, one image for all channels times `strength`, is that of the training; the
    authors' code draws it in evaluation, too, where here its mean, 0, is taken.
    """

    def __init__(self, channels_in: int, channels_out: int, taps: Taps) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.strength = nn.Parameter(torch.zeros(()))
        self.blur = after_doubling(taps, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, 2 H, 2 W]."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        weight = weight * (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).rsqrt()
        x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1).to(x.dtype), stride=2))
        if self.training:
            noise = rng.normal(len(x), 1, *x.shape[2:], device=x.device)
            x = x + (self.strength * noise).to(x.dtype)
        return activated(x + self.bias.view(-1, 1, 1).to(x.dtype))


class Generator(nn.Module):
    """Images [N, channels, H, W] -> images [N, channels_out, H, W], about in [-1, 1].

    A 1x1 convolution, StyleGAN2's discriminator's residual blocks, each of which halves
    the image, `blocks` at that size, `Doubling`s and a 1x1 convolution with LeakyReLU.

    widths: channels at each size, from the image's on; one more than there are halvings
    taps: of the filters that go with halving and doubling
    """

    def __init__(
        self,
        channels: int = 3,
        channels_out: int = 3,
        widths: Sequence[int] = (80, 160),
        blocks: int = 6,
        taps: Taps = TAPS,
    ) -> None:
        super().__init__()
        self.channels, self.multiple = channels, 1 << len(widths) - 1
        pairs = list(pairwise(widths))
        self.first = EqualizedConv2d(channels, widths[0], 1, gain=1.0)
        self.down = nn.Sequential(*(Block(a, b, True, taps, None) for a, b in pairs))
        self.blocks = nn.Sequential(*(FlatBlock(widths[-1]) for _ in range(blocks)))
        self.up = nn.Sequential(*(Doubling(b, a, taps) for a, b in reversed(pairs)))
        self.last = EqualizedConv2d(widths[0], channels_out, 1, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Translate x [N, channels, H, W], sides being multiples of `multiple`."""
        divisible(x, self.multiple, self.multiple)
        h = self.blocks(self.down(activated(self.first(x))))
        return activated(self.last(self.up(h)))
