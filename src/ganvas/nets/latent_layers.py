"""Layers of the convolutional autoencoders of latent models.

High-Resolution Image Synthesis with Latent Diffusion Models, Rombach et al., 2021,
arXiv:2112.10752, appendix E; after Taming Transformers (VQGAN), Esser et al., 2020,
arXiv:2012.09841, table 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6


SPATIAL_GROUPS = 32  # of the group norm in a `SpatialNorm`, in any case


class Norm(nn.GroupNorm):
    """Group norm, which needs no latents: [N, C, H, W] -> the same."""

    def forward(self, input: Tensor, latents: Tensor | None = None) -> Tensor:
        """Normalize x; `latents` are ignored."""
        return super().forward(input)


class SpatialNorm(nn.Module):
    """Group norm times a gain and plus a bias for each place, both 1x1 of the latents.

    x [N, C, H, W], latents [N, latent, h, w] -> [N, C, H, W]. MoVQ: Modulating
    Quantized Vectors, Zheng et al., 2022, arXiv:2209.09002, equation 5.
    """

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.norm_layer = nn.GroupNorm(math.gcd(SPATIAL_GROUPS, channels), channels, EPS)
        self.conv_y = nn.Conv2d(latent, channels, 1)
        self.conv_b = nn.Conv2d(latent, channels, 1)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """Normalize x, modulated by the latents at the nearest places."""
        latents = F.interpolate(latents, size=x.shape[2:])
        return self.norm_layer(x) * self.conv_y(latents) + self.conv_b(latents)


def norm(channels: int, groups: int, spatial: int = 0) -> Norm | SpatialNorm:
    """Group norm, or a spatial one of latents with `spatial` channels."""
    if spatial:
        return SpatialNorm(channels, spatial)
    return Norm(math.gcd(groups, channels), channels, EPS)


class ResnetBlock(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x)))))), [N, in, H, W] -> [N, out, H, W].

    activation: another function in place of SiLU, which some of diffusers' have
    """

    activation: Callable[[Tensor], Tensor]

    def __init__(self, channels_in: int, channels_out: int, groups: int, spatial: int = 0) -> None:
        super().__init__()
        self.activation = F.silu
        self.norm1 = norm(channels_in, groups, spatial)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, 1, 1)
        self.norm2 = norm(channels_out, groups, spatial)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1)
        self.conv_shortcut = (
            nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else None
        )

    def forward(self, x: Tensor, latents: Tensor | None = None) -> Tensor:
        """Map x [N, in, H, W] to [N, out, H, W]; `latents`: for spatial norms."""
        h = self.conv1(self.activation(self.norm1(x, latents)))
        h = self.conv2(self.activation(self.norm2(h, latents)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """x + attention over all places, one head: [N, C, H, W] -> the same."""

    def __init__(self, channels: int, groups: int, spatial: int = 0) -> None:
        super().__init__()
        self.group_norm = None if spatial else norm(channels, groups)
        self.spatial_norm = norm(channels, groups, spatial) if spatial else None
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor, latents: Tensor | None = None) -> Tensor:
        """Add to each place of x what all places say of it."""
        normalize = self.group_norm or self.spatial_norm
        assert normalize is not None
        h = normalize(x, latents).flatten(2).transpose(1, 2)  # [N, places, C]
        h = F.scaled_dot_product_attention(self.to_q(h), self.to_k(h), self.to_v(h))
        return x + self.to_out[0](h).transpose(1, 2).reshape(x.shape)


class LinearAttention(nn.Module):
    """Attention in time linear in the places, one head: [N, C, H, W] -> the same.

    Keys are softmaxed over places; nothing is normalized before or added after, as in
    latent-diffusion's code (`attn_type` linear). Efficient Attention, Shen et al.,
    2018, arXiv:1812.01243.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.to_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, latents: Tensor | None = None) -> Tensor:
        """Map each place of x to what all places say of it."""
        q, k, v = self.to_qkv(x).flatten(2).chunk(3, 1)  # [N, C, places]
        context = v @ k.softmax(2).transpose(1, 2)
        return self.to_out((context @ q).view_as(x))


class Middle(nn.Module):
    """Block, attention (if there is one), block, at the smallest size."""

    def __init__(self, channels: int, levels: Levels) -> None:
        super().__init__()
        count = int(levels.middle_attention)
        self.attentions = nn.ModuleList(levels.attend(channels) for _ in range(count))
        self.resnets = nn.ModuleList(levels.block(channels, channels) for _ in range(2))

    def forward(self, x: Tensor, latents: Tensor | None = None) -> Tensor:
        """Map x to the same shape."""
        for layer in (self.resnets[0], *self.attentions, self.resnets[1]):
            x = layer(x, latents)
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
    linear: whether attention is a `LinearAttention`
    spatial: channels of the latents for norms; 0: these do not depend on latents
    """

    widths: Sequence[int]
    blocks: int
    groups: int
    attention: Sequence[int] = ()
    middle_attention: bool = True
    convolved: bool = True
    linear: bool = False
    spatial: int = 0

    def mirrored(
        self, widths: Sequence[int] | None, attention: Sequence[int] | None, spatial: int = 0
    ) -> Levels:
        """The decoder's levels; None: as of the encoder."""
        return self._replace(
            widths=self.widths if widths is None else widths,
            attention=self.attention if attention is None else attention,
            spatial=spatial,
        )

    def block(self, channels_in: int, channels_out: int) -> ResnetBlock:
        """A residual block."""
        return ResnetBlock(channels_in, channels_out, self.groups, self.spatial)

    def attend(self, channels: int) -> nn.Module:
        """A layer of attention."""
        if self.linear:
            return LinearAttention(channels)
        return Attention(channels, self.groups, self.spatial)

    def norm(self, channels: int) -> Norm | SpatialNorm:
        """The last normalization."""
        return norm(channels, self.groups, self.spatial)


class Level(nn.Module):
    """Blocks at one size, each with attention or without, then the change of size."""

    def __init__(
        self, channels_in: int, channels_out: int, blocks: int, levels: Levels, attention: bool
    ) -> None:
        super().__init__()
        widths = [channels_in, *[channels_out] * blocks]
        self.resnets = nn.ModuleList(levels.block(a, b) for a, b in pairwise(widths))
        count = blocks if attention else 0
        self.attentions = nn.ModuleList(levels.attend(channels_out) for _ in range(count))
        self.downsamplers, self.upsamplers = nn.ModuleList(), nn.ModuleList()

    def forward(self, x: Tensor, latents: Tensor | None = None) -> Tensor:
        """Map x [N, in, H, W] to [N, out, ...] of half, twice or the same size."""
        for block, attention in zip_longest(self.resnets, self.attentions):
            x = block(x, latents)
            x = x if attention is None else attention(x, latents)
        for layer in (*self.downsamplers, *self.upsamplers):
            x = layer(x)
        return x


def group_norms(net: nn.Module) -> list[nn.GroupNorm]:
    """The group norms whose groups are a setting: not those in spatial norms."""
    return [m for m in net.modules() if isinstance(m, Norm)]
