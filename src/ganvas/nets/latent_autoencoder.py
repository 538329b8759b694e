"""Convolutional autoencoders of latent models, with the layers' names of diffusers.

High-Resolution Image Synthesis with Latent Diffusion Models, Rombach et al., 2021,
arXiv:2112.10752, appendix E; after Taming Transformers (VQGAN), Esser et al., 2020,
arXiv:2012.09841, table 7. `AutoencoderKL` and `VQModel` of diffusers have these keys.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.nets.layers import divisible
from ganvas.objectives.precision import wide

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
    """Block, attention, block, at the smallest size."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([Attention(channels, groups)])
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, groups) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map x to the same shape."""
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Resampling(nn.Module):
    """Half the size by a strided convolution, or twice by repeated pixels and one."""

    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, 1 if up else 2, 1 if up else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Halve or double x."""
        if self.up:
            return self.conv(F.interpolate(x, scale_factor=2))
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # as in the authors' code


class DownLevel(nn.Module):
    """Blocks at one size, then half the size unless it is the `last`."""

    def __init__(
        self, channels_in: int, channels_out: int, blocks: int, groups: int, last: bool
    ) -> None:
        super().__init__()
        widths = [channels_in, *[channels_out] * blocks]
        self.resnets = nn.ModuleList(ResnetBlock(a, b, groups) for a, b in pairwise(widths))
        count = 0 if last else 1
        self.downsamplers = nn.ModuleList(Resampling(channels_out, False) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, H / 2, W / 2], or H, W if `last`."""
        for layer in (*self.resnets, *self.downsamplers):
            x = layer(x)
        return x


class UpLevel(nn.Module):
    """Blocks at one size, then twice the size unless it is the `last`."""

    def __init__(
        self, channels_in: int, channels_out: int, blocks: int, groups: int, last: bool
    ) -> None:
        super().__init__()
        widths = [channels_in, *[channels_out] * blocks]
        self.resnets = nn.ModuleList(ResnetBlock(a, b, groups) for a, b in pairwise(widths))
        count = 0 if last else 1
        self.upsamplers = nn.ModuleList(Resampling(channels_out, True) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, 2 H, 2 W], or H, W if `last`."""
        for layer in (*self.resnets, *self.upsamplers):
            x = layer(x)
        return x


class Encoder(nn.Module):
    """Images [N, channels, H, W] -> [N, latent, h, w]; a level halves, but the last.

    widths: channels of the levels, `blocks` blocks each
    groups: of group norm
    """

    def __init__(
        self, channels: int, latent: int, widths: Sequence[int], blocks: int, groups: int
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, 1, 1)
        ins = [widths[0], *widths[:-1]]
        self.down_blocks = nn.ModuleList(
            DownLevel(a, b, blocks, groups, i == len(widths) - 1)
            for i, (a, b) in enumerate(zip(ins, widths, strict=True))
        )
        self.mid_block = Middle(widths[-1], groups)
        self.conv_norm_out = _norm(widths[-1], groups)
        self.conv_out = nn.Conv2d(widths[-1], latent, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images x to the latents' parameters [N, latent, h, w]."""
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """[N, latent, h, w] -> images [N, channels, H, W], the mirror of `Encoder`."""

    def __init__(
        self, channels: int, latent: int, widths: Sequence[int], blocks: int, groups: int
    ) -> None:
        super().__init__()
        widths = list(reversed(widths))
        self.conv_in = nn.Conv2d(latent, widths[0], 3, 1, 1)
        self.mid_block = Middle(widths[0], groups)
        ins = [widths[0], *widths[:-1]]
        self.up_blocks = nn.ModuleList(
            UpLevel(a, b, blocks + 1, groups, i == len(widths) - 1)
            for i, (a, b) in enumerate(zip(ins, widths, strict=True))
        )
        self.conv_norm_out = _norm(widths[-1], groups)
        self.conv_out = nn.Conv2d(widths[-1], channels, 3, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents z [N, latent, h, w] to images."""
        x = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


WIDTHS = (128, 256, 512, 512)  # of Stable Diffusion's autoencoder, an eighth of the side


class KLAutoencoder(nn.Module):
    """Images [N, C, H, W] -> Gaussians over latents -> images.

    `encode` gives means and log variances [N, 2, latent, h, w], `decode` takes latents.
    H and W are multiples of 2^(levels - 1).
    """

    def __init__(
        self,
        channels: int = 3,
        latent: int = 4,
        widths: Sequence[int] = WIDTHS,
        blocks: int = 2,
        groups: int = 32,
    ) -> None:
        super().__init__()
        self.latent, self.multiple = latent, 1 << len(widths) - 1
        self.encoder = Encoder(channels, 2 * latent, widths, blocks, groups)
        self.decoder = Decoder(channels, latent, widths, blocks, groups)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    @property
    def last_weight(self) -> Tensor:
        """The decoder's last weight, at which losses are balanced."""
        return self.decoder.conv_out.weight

    def encode(self, x: Tensor) -> Tensor:
        """Means and log variances [N, 2, latent, h, w] for images x."""
        divisible(x, self.multiple, self.multiple)
        q = self.quant_conv(self.encoder(x)).unflatten(1, (2, -1))
        # Variances beyond e^20 and below e^-30 are cut, as in the authors' code.
        return torch.stack([q[:, 0], q[:, 1].clamp(-30.0, 20.0)], 1)

    def decode(self, z: Tensor) -> Tensor:
        """Images for latents z [N, latent, h, w]."""
        return self.decoder(self.post_quant_conv(z))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions of images, from the means of their latents."""
        return self.decode(self.encode(x)[:, 0])


class Quantized(NamedTuple):
    """Latents on the codebook.

    z: [N, C, h, w], with the gradient of what was quantized (straight-through)
    codes: their indices [N, h, w]
    codebook, commitment: mean squared distances to the fixed latents, and of the
        latents to the fixed codes
    """

    z: Tensor
    codes: Tensor
    codebook: Tensor
    commitment: Tensor


class Codebook(nn.Module):
    """Replace each latent by the nearest of `codes` vectors.

    Neural Discrete Representation Learning, van den Oord et al., 2017,
    arXiv:1711.00937, equations 1 to 3. Vectors ~ U(-1 / codes, 1 / codes).
    """

    def __init__(self, codes: int, latent: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, latent)
        nn.init.uniform_(self.embedding.weight, -1 / codes, 1 / codes)

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents z [N, C, h, w]."""
        flat = wide(z.movedim(1, -1))
        vectors = self.embedding.weight
        far = flat.square().sum(-1, keepdim=True) - 2 * flat @ vectors.T + vectors.square().sum(1)
        codes = far.argmin(-1)
        found = self.embedding(codes).movedim(-1, 1)
        codebook = (found - z.detach()).square().mean()
        commitment = (found.detach() - z).square().mean()
        return Quantized(z + (found - z).detach(), codes, codebook, commitment)


class VQAutoencoder(nn.Module):
    """Images [N, C, H, W] -> latents on a codebook -> images.

    H and W are multiples of 2^(levels - 1).
    """

    def __init__(
        self,
        channels: int = 3,
        latent: int = 3,
        codes: int = 8192,
        widths: Sequence[int] = WIDTHS[:3],
        blocks: int = 2,
        groups: int = 32,
    ) -> None:
        super().__init__()
        self.latent, self.multiple = latent, 1 << len(widths) - 1
        self.encoder = Encoder(channels, latent, widths, blocks, groups)
        self.decoder = Decoder(channels, latent, widths, blocks, groups)
        self.quantize = Codebook(codes, latent)
        self.quant_conv = nn.Conv2d(latent, latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    @property
    def last_weight(self) -> Tensor:
        """The decoder's last weight, at which losses are balanced."""
        return self.decoder.conv_out.weight

    def encode(self, x: Tensor) -> Quantized:
        """Quantized latents for images x [N, C, H, W]."""
        divisible(x, self.multiple, self.multiple)
        return self.quantize(self.quant_conv(self.encoder(x)))

    def decode(self, z: Tensor) -> Tensor:
        """Images for latents z [N, latent, h, w]."""
        return self.decoder(self.post_quant_conv(z))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions of images."""
        return self.decode(self.encode(x).z)
