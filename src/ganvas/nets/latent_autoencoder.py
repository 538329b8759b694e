"""Convolutional autoencoders of latent models, with the layers' names of diffusers.

High-Resolution Image Synthesis with Latent Diffusion Models, Rombach et al., 2021,
arXiv:2112.10752, appendix E; after Taming Transformers (VQGAN), Esser et al., 2020,
arXiv:2012.09841, table 7. `AutoencoderKL` and `VQModel` of diffusers have these keys.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.nets.codebook import Codebook, GumbelCodebook, Quantized
from ganvas.nets.layers import divisible

EPS = 1e-6


def _norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(groups, channels), channels, EPS)


class ResnetBlock(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x)))))), [N, in, H, W] -> [N, out, H, W]."""

    def __init__(self, channels_in: int, channels_out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = _norm(channels_in, groups)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, 1, 1)
        self.norm2 = _norm(channels_out, groups)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1)
        self.conv_shortcut = (
            nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, H, W]."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """x + attention over all places, one head: [N, C, H, W] -> the same."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = _norm(channels, groups)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Add to each place of x what all places say of it."""
        h = self.group_norm(x).flatten(2).transpose(1, 2)  # [N, places, C]
        h = F.scaled_dot_product_attention(self.to_q(h), self.to_k(h), self.to_v(h))
        return x + self.to_out[0](h).transpose(1, 2).reshape(x.shape)


class Middle(nn.Module):
    """Block, attention (if there is one), block, at the smallest size."""

    def __init__(self, channels: int, groups: int, attention: bool = True) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(Attention(channels, groups) for _ in range(attention))
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, groups) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map x to the same shape."""
        for layer in (self.resnets[0], *self.attentions, self.resnets[1]):
            x = layer(x)
        return x


class Resampling(nn.Module):
    """Half the size by a strided convolution, or twice by repeated pixels and one.

    convolved: False: by means of 2x2 pixels, or by repeated pixels alone
    """

    def __init__(self, channels: int, up: bool, convolved: bool = True) -> None:
        super().__init__()
        self.up = up
        self.conv = None
        if convolved:
            self.conv = nn.Conv2d(channels, channels, 3, 1 if up else 2, 1 if up else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Halve or double x."""
        if self.up:
            x = F.interpolate(x, scale_factor=2)
            return x if self.conv is None else self.conv(x)
        if self.conv is None:
            return F.avg_pool2d(x, 2)
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # as in the authors' code


class Levels(NamedTuple):
    """What encoder and decoder have at each size, from the full one down.

    widths: channels of the levels, `blocks` blocks each in the encoder, one more in the
        decoder
    groups: of group norm
    attention: numbers of the levels with attention after each block
    middle_attention: whether there is attention between two blocks at the smallest size
    convolved: whether sizes change with a convolution (`Resampling`)
    """

    widths: Sequence[int]
    blocks: int
    groups: int
    attention: Sequence[int] = ()
    middle_attention: bool = True
    convolved: bool = True


class Level(nn.Module):
    """Blocks at one size, each with attention or without, then the change of size."""

    def __init__(
        self, channels_in: int, channels_out: int, blocks: int, groups: int, attention: bool
    ) -> None:
        super().__init__()
        widths = [channels_in, *[channels_out] * blocks]
        self.resnets = nn.ModuleList(ResnetBlock(a, b, groups) for a, b in pairwise(widths))
        count = blocks if attention else 0
        self.attentions = nn.ModuleList(Attention(channels_out, groups) for _ in range(count))
        self.downsamplers, self.upsamplers = nn.ModuleList(), nn.ModuleList()

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, ...] of half, twice or the same size."""
        for block, attention in zip_longest(self.resnets, self.attentions):
            x = block(x) if attention is None else attention(block(x))
        for layer in (*self.downsamplers, *self.upsamplers):
            x = layer(x)
        return x


class Encoder(nn.Module):
    """Images [N, channels, H, W] -> [N, features, h, w]; a level halves, but the last.

    stem: channels after the first convolution; None: those of the first level
    """

    def __init__(
        self, channels: int, features: int, levels: Levels, stem: int | None = None
    ) -> None:
        super().__init__()
        widths, groups = levels.widths, levels.groups
        ins = [stem or widths[0], *widths[:-1]]
        self.conv_in = nn.Conv2d(channels, ins[0], 3, 1, 1)
        self.down_blocks = nn.ModuleList()
        for i, (a, b) in enumerate(zip(ins, widths, strict=True)):
            level = Level(a, b, levels.blocks, groups, i in levels.attention)
            if i < len(widths) - 1:
                level.downsamplers.append(Resampling(b, False, levels.convolved))
            self.down_blocks.append(level)
        self.mid_block = Middle(widths[-1], groups, levels.middle_attention)
        self.conv_norm_out = _norm(widths[-1], groups)
        self.conv_out = nn.Conv2d(widths[-1], features, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images x to features [N, features, h, w]."""
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """[N, features, h, w] -> images [N, channels, H, W], the mirror of `Encoder`."""

    def __init__(self, features: int, channels: int, levels: Levels) -> None:
        super().__init__()
        widths, groups = list(reversed(levels.widths)), levels.groups
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(features, widths[0], 3, 1, 1)
        self.mid_block = Middle(widths[0], groups, levels.middle_attention)
        ins = [widths[0], *widths[:-1]]
        self.up_blocks = nn.ModuleList()
        for i, (a, b) in enumerate(zip(ins, widths, strict=True)):
            level = Level(a, b, levels.blocks + 1, groups, last - i in levels.attention)
            if i < last:
                level.upsamplers.append(Resampling(b, True, levels.convolved))
            self.up_blocks.append(level)
        self.conv_norm_out = _norm(widths[-1], groups)
        self.conv_out = nn.Conv2d(widths[-1], channels, 3, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Map features z [N, features, h, w] to images."""
        x = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


WIDTHS = (128, 256, 512, 512)  # of Stable Diffusion's autoencoder, an eighth of the side


class LatentAutoencoder(nn.Module):
    """What autoencoders with a Gaussian and with a codebook share.

    levels, levels_up: of the encoder and the decoder
    numbers: that the encoder gives for each feature
    channels, latent, features, stem, channels_out: as of `KLAutoencoder`
    """

    quant_conv: nn.Module
    post_quant_conv: nn.Module

    def __init__(
        self,
        channels: int,
        latent: int,
        features: int,
        levels: Levels,
        levels_up: Levels,
        stem: int | None,
        channels_out: int | None,
        numbers: int = 1,
    ) -> None:
        super().__init__()
        self.levels, self.levels_up, self.stem = levels, levels_up, stem or levels.widths[0]
        self.channels, self.channels_out = channels, channels_out or channels
        self.latent, self.features = latent, features
        self.multiple = 1 << len(levels.widths) - 1
        self.encoder = Encoder(channels, numbers * features, levels, stem)
        self.decoder = Decoder(features, self.channels_out, levels_up)

    @property
    def last_weight(self) -> Tensor:
        """The decoder's last weight, at which losses are balanced."""
        return self.decoder.conv_out.weight

    def decode(self, z: Tensor) -> Tensor:
        """Images for latents z [N, latent, h, w]."""
        return self.decoder(self.post_quant_conv(z))


class KLAutoencoder(LatentAutoencoder):
    """Images [N, C, H, W] -> Gaussians over latents -> images.

    `encode` gives means and log variances [N, 2, latent, h, w], `decode` takes latents.
    H and W are multiples of 2^(levels - 1).

    widths, blocks, groups, attention, middle_attention, convolved: as of `Levels`
    attention_up: levels of the decoder with attention; None: those of the encoder
    features: channels before the 1x1 convolution of means; None: as many as `latent`
    stem: as of `Encoder`
    channels_out: of the decoder's images; None: as many as `channels`
    quant_conv, post_quant_conv: whether a 1x1 convolution follows the encoder, and
        precedes the decoder; without one, `features` must be `latent`
    """

    def __init__(
        self,
        channels: int = 3,
        latent: int = 4,
        widths: Sequence[int] = WIDTHS,
        blocks: int = 2,
        groups: int = 32,
        attention: Sequence[int] = (),
        attention_up: Sequence[int] | None = None,
        middle_attention: bool = True,
        convolved: bool = True,
        features: int | None = None,
        stem: int | None = None,
        channels_out: int | None = None,
        quant_conv: bool = True,
        post_quant_conv: bool = True,
    ) -> None:
        features = features or latent
        levels = Levels(widths, blocks, groups, attention, middle_attention, convolved)
        up = levels if attention_up is None else levels._replace(attention=attention_up)
        super().__init__(channels, latent, features, levels, up, stem, channels_out, numbers=2)
        self.quant_conv = nn.Identity()
        self.post_quant_conv = nn.Identity()
        if quant_conv:
            self.quant_conv = nn.Conv2d(2 * features, 2 * latent, 1)
        if post_quant_conv:
            self.post_quant_conv = nn.Conv2d(latent, features, 1)

    def encode(self, x: Tensor) -> Tensor:
        """Means and log variances [N, 2, latent, h, w] for images x."""
        divisible(x, self.multiple, self.multiple)
        q = self.quant_conv(self.encoder(x)).unflatten(1, (2, -1))
        # Variances beyond e^20 and below e^-30 are cut, as in the authors' code.
        return torch.stack([q[:, 0], q[:, 1].clamp(-30.0, 20.0)], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions of images, from the means of their latents."""
        return self.decode(self.encode(x)[:, 0])


class VQAutoencoder(LatentAutoencoder):
    """Images [N, C, H, W] -> latents on a codebook -> images.

    H and W are multiples of 2^(levels - 1).

    codes: vectors of the codebook, of `latent` numbers each
    gumbel: draw codes (`GumbelCodebook`), in place of the nearest ones
    temperature: of the draws
    features, and the other settings: as of `KLAutoencoder`
    """

    def __init__(
        self,
        channels: int = 3,
        latent: int = 3,
        codes: int = 8192,
        widths: Sequence[int] = WIDTHS[:3],
        blocks: int = 2,
        groups: int = 32,
        attention: Sequence[int] = (),
        attention_up: Sequence[int] | None = None,
        middle_attention: bool = True,
        convolved: bool = True,
        features: int | None = None,
        stem: int | None = None,
        channels_out: int | None = None,
        gumbel: bool = False,
        temperature: float = 1.0,
    ) -> None:
        features = features or latent
        levels = Levels(widths, blocks, groups, attention, middle_attention, convolved)
        up = levels if attention_up is None else levels._replace(attention=attention_up)
        super().__init__(channels, latent, features, levels, up, stem, channels_out)
        self.quantize = (
            GumbelCodebook(codes, latent, temperature) if gumbel else Codebook(codes, latent)
        )
        self.quant_conv = nn.Conv2d(features, latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, features, 1)

    def encode(self, x: Tensor) -> Quantized:
        """Quantized latents for images x [N, C, H, W]."""
        divisible(x, self.multiple, self.multiple)
        return self.quantize(self.quant_conv(self.encoder(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions of images."""
        return self.decode(self.encode(x).z)
