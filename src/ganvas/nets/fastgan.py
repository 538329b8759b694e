"""Networks of FastGAN: skip-layer excitation, and a discriminator that reconstructs.

Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis,
Liu et al., 2021, arXiv:2101.04775. The authors' networks begin at 256 px; here smaller
sides leave out stages. All convolutions are spectrally normalized and have no bias.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.nets.init import normal_init
from ganvas.nets.layers import Size, sides
from ganvas.nets.norm import BatchNorm2d
from ganvas.nets.spectral import spectral_

# Channels at each side, in units of the width.
WIDTHS = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
NOISY = (8, 32, 128, 512)  # sides whose blocks have two convolutions and noise
D_WIDTHS = (0.25, 0.5, 1, 2, 4, 8)  # of the discriminator, from 256 px to 8 px
SMALL = 128  # the largest side of the second image and of reconstructions


def _side(size: Size, least: int) -> int:
    height, width = sides(size)
    if height != width or height not in WIDTHS or height < least:
        possible = ", ".join(str(s) for s in WIDTHS if s >= least)
        raise UserError(
            f"FastGAN's networks take squares of {possible} pixels a side; got {height}x{width}: "
            "choose another size (--size)"
        )
    return height


def small_side(side: int) -> int:
    """The side of the second, smaller image of an image of `side` pixels."""
    return min(SMALL, side // 2)


def shrunk(x: Tensor) -> Tensor:
    """The second image of a real one, by nearest neighbors: [N, C, s, s]."""
    return F.interpolate(x, size=small_side(x.shape[-1]))


class NoiseInjection(nn.Module):
    """x + weight * noise: one channel of N(0, 1) for all, `weight` a number from 0.

    In evaluation the noise is the same every time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Add noise [N, 1, H, W] to x; None: drawn, or fixed in evaluation."""
        if noise is None and self.training:
            noise = rng.normal(len(x), 1, *x.shape[2:], device=x.device)
        elif noise is None:
            fixed = torch.Generator().manual_seed(x.shape[-1])
            noise = torch.randn(1, 1, *x.shape[2:], generator=fixed).to(x.device)
        return x + (self.weight * noise).to(x.dtype)


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    padding = (kernel - 1) // 2
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False)


class UpBlock(nn.Module):
    """Nearest-neighbor doubling, then convolution, noise, batch norm and GLU.

    [N, in, H, W] -> [N, out, 2 H, 2 W]. `noisy`: with noise and a second round.
    """

    def __init__(self, channels_in: int, channels_out: int, noisy: bool) -> None:
        super().__init__()
        rounds = 2 if noisy else 1
        channels = (channels_in, channels_out)
        self.convs = nn.ModuleList(_conv(channels[i], 2 * channels_out, 3) for i in range(rounds))
        self.norms = nn.ModuleList(BatchNorm2d(2 * channels_out) for _ in range(rounds))
        self.noises = nn.ModuleList(NoiseInjection() for _ in range(rounds if noisy else 0))

    def forward(self, x: Tensor, noise: tuple[Tensor, ...] = ()) -> Tensor:
        """Double x; `noise`: maps of the rounds, [N, 1, 2 H, 2 W] each."""
        x = F.interpolate(x, scale_factor=2)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = conv(x)
            if self.noises:
                x = self.noises[i](x, noise[i] if noise else None)
            x = F.glu(norm(x), 1)
        return x


class SkipLayerExcitation(nn.Module):
    """Channel weights of a large map from a small one (equation 2).

    small [N, in, h, w], large [N, out, H, W] -> [N, out, H, W].
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels_in, channels_out, 4, bias=False)
        self.weight = nn.Conv2d(channels_out, channels_out, 1, bias=False)

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        """Weight the channels of `large` by `small`."""
        x = F.silu(self.squeeze(F.adaptive_avg_pool2d(small, 4)))
        return large * torch.sigmoid(self.weight(x))


class Generator(nn.Module):
    """Latents [N, latent] -> images [N, C, S, S] (figure 3).

    `pair` gives the small second image, too. `skip`: with skip-layer excitation.
    tanh: values are limited to [-1, 1]; the authors' code does so at 1024 px only.
    normalized: spectrally; False for weights that are already.
    """

    def __init__(
        self,
        latent: int = 256,
        width: int = 64,
        size: Size = 256,
        channels: int = 3,
        skip: bool = True,
        tanh: bool = True,
        normalized: bool = True,
    ) -> None:
        super().__init__()
        self.latent, self.side, self.tanh = latent, _side(size, 16), tanh
        stages = [s for s in WIDTHS if s <= self.side]
        width_of = {s: max(1, int(WIDTHS[s] * width)) for s in stages}
        self.start = nn.ConvTranspose2d(latent, 2 * width_of[4], 4, bias=False)
        self.start_norm = BatchNorm2d(2 * width_of[4])
        self.blocks = nn.ModuleDict(
            {str(s): UpBlock(width_of[s // 2], width_of[s], s in NOISY) for s in stages if s > 4}
        )
        self.excitations = nn.ModuleDict(
            {
                str(s): SkipLayerExcitation(width_of[s // 16], width_of[s])
                for s in stages
                if skip and 64 <= s <= 512
            }
        )
        self.to_small = _conv(width_of[small_side(self.side)], channels, 1)
        self.to_image = _conv(width_of[self.side], channels, 3)
        normal_init(self)
        if normalized:
            spectral_(self)

    def both(
        self, z: Tensor, noise: Mapping[int, tuple[Tensor, ...]] | None = None
    ) -> list[Tensor]:
        """[image [N, C, S, S], small image [N, C, s, s]].

        noise: side -> noise maps of its block; by default drawn, or fixed in evaluation
        """
        x = F.glu(self.start_norm(self.start(z[:, :, None, None])), 1)
        maps = {4: x}
        for name, block in self.blocks.items():
            side = int(name)
            x = block(x, (noise or {}).get(side, ()))
            if name in self.excitations:
                x = self.excitations[name](maps[side // 16], x)
            maps[side] = x
        images = [self.to_image(x), self.to_small(maps[small_side(self.side)])]
        return [torch.tanh(image) for image in images] if self.tanh else images

    def pair(self, z: Tensor) -> Tensor:
        """[N, 2 C, S, S]: the image, and the small one enlarged by repeated pixels.

        As channels of one image, an augmentation changes both alike.
        """
        image, small = self.both(z)
        return torch.cat([image, F.interpolate(small, size=image.shape[2:])], 1)

    def forward(self, z: Tensor) -> Tensor:
        """Generate images [N, C, S, S] from latents z [N, latent]."""
        return self.both(z)[0]


class DownBlock(nn.Module):
    """Half the side: the mean of two paths. [N, in, H, W] -> [N, out, H / 2, W / 2]."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            _conv(channels_in, channels_out, 4, 2),
            BatchNorm2d(channels_out),
            nn.LeakyReLU(0.2),
            _conv(channels_out, channels_out, 3),
            BatchNorm2d(channels_out),
            nn.LeakyReLU(0.2),
        )
        self.direct = nn.Sequential(
            nn.AvgPool2d(2),
            _conv(channels_in, channels_out, 1),
            BatchNorm2d(channels_out),
            nn.LeakyReLU(0.2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Halve x: the mean of the two paths."""
        return (self.main(x) + self.direct(x)) / 2


def _decoder(channels_in: int, channels: int, doublings: int, width: int) -> nn.Sequential:
    """A map -> an image of 8 * 2^doublings pixels a side."""
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(8)]
    for factor in (4, 2, 2, 1)[:doublings]:
        layers += [
            nn.Upsample(scale_factor=2),
            _conv(channels_in, 2 * factor * width, 3),
            BatchNorm2d(2 * factor * width),
            nn.GLU(1),
        ]
        channels_in = factor * width
    return nn.Sequential(*layers, _conv(channels_in, channels, 3), nn.Tanh())


class Reconstruction(NamedTuple):
    """What D makes of an image's features, and what it should be, [N, C, s, s] each."""

    made: Tensor
    wanted: Tensor


class Discriminator(nn.Module):
    """Images [N, C, S, S] or pairs (`Generator.pair`) [N, 2 C, S, S] -> scores [N, k].

    Two paths, one for the image and one for the small image; each score sees a part of
    the image. `reconstruct` gives decoders' images of the features, the
    self-supervision of section 3.2 and figure 4. `skip`: with skip-layer excitation.
    decoder_width: 32 in the authors' code, at every `width`. `normalized`: as of
    `Generator`.
    """

    def __init__(
        self,
        width: int = 64,
        size: Size = 256,
        channels: int = 3,
        skip: bool = True,
        decoder_width: int = 32,
        normalized: bool = True,
    ) -> None:
        super().__init__()
        side, self.channels = _side(size, 32), channels
        self.small = small_side(side)
        blocks, small_blocks = (int(math.log2(min(s, 256) // 8)) for s in (side, self.small))
        wide, narrow = (
            [max(1, int(factor * width)) for factor in factors]
            for factors in (D_WIDTHS[-blocks - 1 :], D_WIDTHS[1:5][-small_blocks:])
        )
        self.start = _start(side, channels, wide[0])
        self.blocks = nn.ModuleList(DownBlock(*pair) for pair in pairwise(wide))
        self.excitations = nn.ModuleDict(
            {
                str(i + 3): SkipLayerExcitation(wide[i], wide[i + 3])
                for i in range(blocks - 2)
                if skip
            }
        )
        self.head = nn.Sequential(
            _conv(wide[-1], 16 * width, 1),
            BatchNorm2d(16 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16 * width, 1, 4, bias=False),
        )
        small: list[nn.Module] = [_conv(channels, narrow[0], 4, 2), nn.LeakyReLU(0.2)]
        for pair in pairwise(narrow):
            small += [_conv(*pair, 4, 2), BatchNorm2d(pair[1]), nn.LeakyReLU(0.2)]
        self.small_path = nn.Sequential(*small)
        self.small_head = nn.Conv2d(narrow[-1], 1, 4, bias=False)
        decoder = partial(_decoder, channels=channels, doublings=small_blocks, width=decoder_width)
        self.decoders = nn.ModuleDict(
            {"whole": decoder(wide[-1]), "small": decoder(narrow[-1]), "part": decoder(wide[-2])}
        )
        normal_init(self)
        if normalized:
            spectral_(self)

    def images(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(image, small image) of a batch as `forward` takes it."""
        image, second = x[:, : self.channels], x[:, self.channels :]
        if not second.shape[1]:
            return image, shrunk(image)
        # As real images are reduced: means would blur what an augmentation has moved by
        # an odd number of pixels, and show that it was generated.
        return image, F.interpolate(second, size=self.small)

    def features(self, image: Tensor, small: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of the last block, of the one before it, and of the small path."""
        maps = [self.start(image)]
        for i, block in enumerate(self.blocks, start=1):
            x = block(maps[-1])
            if str(i) in self.excitations:
                x = self.excitations[str(i)](maps[i - 3], x)
            maps.append(x)
        return maps[-1], maps[-2], self.small_path(small)

    def scores(self, whole: Tensor, small: Tensor) -> Tensor:
        """Scores [N, k] of the features."""
        return torch.cat([self.head(whole).flatten(1), self.small_head(small).flatten(1)], 1)

    def forward(
        self, x: Tensor, reconstruct: bool = False, part: Tensor | None = None
    ) -> Tensor | tuple[Tensor, list[Reconstruction]]:
        """Scores [N, k]; with `reconstruct` also the reconstructions of all decoders.

        part: of each image, the quadrant that is reconstructed from a quarter of the
            features, 0 to 3 (row by row); None: drawn
        """
        image, small = self.images(x)
        whole_map, part_map, small_map = self.features(image, small)
        scores = self.scores(whole_map, small_map)
        if not reconstruct:
            return scores
        part = rng.integers(len(x), 4, device=x.device) if part is None else part
        wanted = shrunk(image)
        quarter = F.interpolate(_quadrants(image, part), size=wanted.shape[2:])
        decode = self.decoders
        return scores, [
            Reconstruction(decode["whole"](whole_map), wanted),
            Reconstruction(decode["small"](small_map), wanted),
            Reconstruction(decode["part"](_quadrants(part_map, part)), quarter),
        ]


def _start(side: int, channels: int, width: int) -> nn.Sequential:
    """To the side of the first block: 256 px at most."""
    if side <= 256:
        return nn.Sequential(_conv(channels, width, 3), nn.LeakyReLU(0.2))
    if side == 512:
        return nn.Sequential(_conv(channels, width, 4, 2), nn.LeakyReLU(0.2))
    return nn.Sequential(
        _conv(channels, max(1, width // 2), 4, 2),
        nn.LeakyReLU(0.2),
        _conv(max(1, width // 2), width, 4, 2),
        BatchNorm2d(width),
        nn.LeakyReLU(0.2),
    )


def _quadrants(x: Tensor, part: Tensor) -> Tensor:
    """One quadrant of each image or map: [N, C, 2 h, 2 w] -> [N, C, h, w]."""
    cells = x.unflatten(3, (2, -1)).unflatten(2, (2, -1))  # [N, C, 2, h, 2, w]
    cells = cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # [N, 4, C, h, w]
    return cells[torch.arange(len(x), device=x.device), part]
