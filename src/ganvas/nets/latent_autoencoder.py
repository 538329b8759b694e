"""Convolutional autoencoders of latent models, with the layers' names of diffusers.

High-Resolution Image Synthesis with Latent Diffusion Models, Rombach et al., 2021,
arXiv:2112.10752, appendix E; after Taming Transformers (VQGAN), Esser et al., 2020,
arXiv:2012.09841, table 7. `AutoencoderKL` and `VQModel` of diffusers have these keys.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import ConfigError
from ganvas.nets.codebook import Codebook, GumbelCodebook, Quantized
from ganvas.nets.latent_layers import Level, Levels, Middle, Resampling
from ganvas.nets.layers import divisible


class Encoder(nn.Module):
    """Images [N, channels, H, W] -> [N, features, h, w]; a level halves, but the last.

    stem: channels after the first convolution; None: those of the first level
    """

    def __init__(
        self, channels: int, features: int, levels: Levels, stem: int | None = None
    ) -> None:
        super().__init__()
        widths = levels.widths
        ins = [stem or widths[0], *widths[:-1]]
        self.conv_in = nn.Conv2d(channels, ins[0], 3, 1, 1)
        self.down_blocks = nn.ModuleList()
        for i, (a, b) in enumerate(zip(ins, widths, strict=True)):
            level = Level(a, b, levels.blocks, levels, i in levels.attention)
            if i < len(widths) - 1:
                level.downsamplers.append(Resampling(b, False, levels.convolved))
            self.down_blocks.append(level)
        self.mid_block = Middle(widths[-1], levels)
        self.conv_norm_out = levels.norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], features, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images x to features [N, features, h, w]."""
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """[N, features, h, w] -> images [N, channels, H, W], the mirror of `Encoder`.

    tanh_out: whether images end in tanh
    give_pre_end: whether to give the features of the last level in place of images
    """

    tanh_out: bool = False
    give_pre_end: bool = False

    def __init__(self, features: int, channels: int, levels: Levels) -> None:
        super().__init__()
        widths = list(reversed(levels.widths))
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(features, widths[0], 3, 1, 1)
        self.mid_block = Middle(widths[0], levels)
        ins = [widths[0], *widths[:-1]]
        self.up_blocks = nn.ModuleList()
        for i, (a, b) in enumerate(zip(ins, widths, strict=True)):
            level = Level(a, b, levels.blocks + 1, levels, last - i in levels.attention)
            if i < last:
                level.upsamplers.append(Resampling(b, True, levels.convolved))
            self.up_blocks.append(level)
        self.conv_norm_out = levels.norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], channels, 3, 1, 1)

    def forward(self, z: Tensor, latents: Tensor | None = None) -> Tensor:
        """Map z [N, features, h, w] to images; `latents`: for spatial norms."""
        x = self.mid_block(self.conv_in(z), latents)
        for level in self.up_blocks:
            x = level(x, latents)
        if self.give_pre_end:
            return x
        x = self.conv_out(F.silu(self.conv_norm_out(x, latents)))
        return x.tanh() if self.tanh_out else x


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
        return self.decoder(self.post_quant_conv(z), z)


class KLAutoencoder(LatentAutoencoder):
    """Images [N, C, H, W] -> Gaussians over latents -> images.

    `encode` gives means and log variances [N, 2, latent, h, w], `decode` takes latents.
    H and W are multiples of 2^(levels - 1).

    widths, blocks, groups, attention, middle_attention, convolved: as of `Levels`
    attention_up: levels of the decoder with attention; None: those of the encoder
    features: channels before the 1x1 convolution of means; None: as many as `latent`
    stem: as of `Encoder`
    widths_up: of the decoder's levels; None: those of the encoder
    linear: as of `Levels`
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
        widths_up: Sequence[int] | None = None,
        linear: bool = False,
    ) -> None:
        features = features or latent
        levels = Levels(widths, blocks, groups, attention, middle_attention, convolved, linear)
        up = levels.mirrored(widths_up, attention_up)
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
    spatial: whether the decoder's norms depend on the latents (`SpatialNorm`)
    temperature: of the draws
    ema: as of `Codebook`: the codes are moving averages of latents
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
        widths_up: Sequence[int] | None = None,
        linear: bool = False,
        spatial: bool = False,
        ema: float | None = None,
    ) -> None:
        if gumbel and ema is not None:
            raise ConfigError("drawn codes learn by gradient: give either gumbel or ema")
        features = features or latent
        levels = Levels(widths, blocks, groups, attention, middle_attention, convolved, linear)
        up = levels.mirrored(widths_up, attention_up, latent if spatial else 0)
        super().__init__(channels, latent, features, levels, up, stem, channels_out)
        self.quantize = (
            GumbelCodebook(codes, latent, temperature) if gumbel else Codebook(codes, latent, ema)
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
