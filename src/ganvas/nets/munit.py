"""MUNIT's autoencoder of one domain: content and style apart.

Multimodal Unsupervised Image-to-Image Translation, Huang et al., 2018,
arXiv:1804.04732, appendix B, in the form of the authors' code, `AdaINGen` of
mingyuliutw/UNIT.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganvas.nets import unit
from ganvas.nets.norm import InstanceNorm2d


class AdaptiveBlock(nn.Module):
    """x + AdaIN(conv(ReLU(AdaIN(conv(x))))), 3x3 with reflected borders.

    [N, C, H, W] and a shift and a scale of each channel for both AdaIN, [N, 4 C] ->
    [N, C, H, W]. AdaIN: arXiv:1804.04732, equation 8.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), InstanceNorm2d(width))
            for _ in range(2)
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map x [N, C, H, W] by `style` [N, 4 C] to the same shape."""
        shift1, scale1, shift2, scale2 = style[:, :, None, None].chunk(4, 1)
        h = self.activation(self.first(x) * scale1 + shift1)
        return x + self.second(h) * scale2 + shift2


class Autoencoder(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> their reconstructions, the same shape.

    Content [N, width 2^halvings, H', W']: `unit.Encoders` of one domain. Style
    [N, style, 1, 1], of unit variance: 7x7, two convolutions of stride 2 that double
    the channels and `style_halvings` - 2 that do not, ReLU, mean over pixels, 1x1. The
    decoder's residual blocks take AdaIN's numbers from the style by a perceptron with
    two layers of `hidden` units; after them come the layers of `unit.Decoders`. Sides
    are multiples of 2^halvings.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        style: int = 8,
        halvings: int = 2,
        blocks: int = 4,
        hidden: int = 256,
        style_halvings: int = 4,
    ) -> None:
        super().__init__()
        self.style = style
        self.content = unit.Encoders(channels, width, halvings, blocks, shared=0, domains=1)
        latent = self.content.latent

        def conv(a: int, b: int, kernel: int, stride: int) -> list[nn.Module]:
            pad = nn.ReflectionPad2d((kernel - 1) // 2)
            return [pad, nn.Conv2d(a, b, kernel, stride), nn.ReLU(inplace=True)]

        styled = conv(channels, width, 7, 1)
        for i in range(style_halvings):
            styled += conv(width << min(i, 2), width << min(i + 1, 2), 4, 2)
        last = width << min(style_halvings, 2)
        self.styles = nn.Sequential(*styled, nn.AdaptiveAvgPool2d(1), nn.Conv2d(last, style, 1))
        self.mlp = nn.Sequential(
            nn.Linear(style, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, 4 * latent * blocks),
        )
        self.blocks = nn.ModuleList(AdaptiveBlock(latent) for _ in range(blocks))
        self.decoder = unit.Decoders(channels, latent, halvings, blocks=0, shared=0, domains=1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(content, style) of images x [N, channels, H, W].

        Raises `UserError` for sides that are no multiples of 2^halvings.
        """
        return self.content(x, 0), self.styles(x)

    def decode(self, content: Tensor, style: Tensor) -> Tensor:
        """Images of a content and a style [N, style] or [N, style, 1, 1]."""
        styles = self.mlp(style.flatten(1)).chunk(max(len(self.blocks), 1), 1)
        for block, part in zip(self.blocks, styles, strict=False):
            content = block(content, part)
        return self.decoder(content, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct images x [N, channels, H, W]."""
        return self.decode(*self.encode(x))


class Contents(nn.Module):
    """The content encoders of two domains, called as `unit.Encoders`."""

    def __init__(self, a: Autoencoder, b: Autoencoder) -> None:
        super().__init__()
        self.a, self.b = a, b
        self.multiple, self.halvings = a.content.multiple, a.content.halvings
        self.latent = a.content.latent

    def forward(self, x: Tensor, domain: int) -> Tensor:
        """Contents of images x [N, channels, H, W] of a domain, 0 or 1."""
        return (self.b if domain else self.a).content(x, 0)


class Decoders(nn.Module):
    """The decoders of two domains, called as `unit.Decoders`, with the mean style 0."""

    def __init__(self, a: Autoencoder, b: Autoencoder) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(self, h: Tensor, domain: int, style: Tensor | None = None) -> Tensor:
        """Images of contents h, with styles [N, style]; None: 0."""
        net = self.b if domain else self.a
        return net.decode(h, torch.zeros(len(h), net.style).to(h) if style is None else style)
