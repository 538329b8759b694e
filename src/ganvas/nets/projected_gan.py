"""Networks of projected GAN: FastGAN's generator, and scores of another network's maps.

Projected GANs Converge Faster, Sauer et al., 2021, arXiv:2111.01007, section 3 and
appendix. The discriminators see features of a network that was trained for
classification, after random projections that are never trained (`RandomProjection`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.conditional import ConditionalBatchNorm2d, embed_labels
from ganvas.nets.fastgan import WIDTHS, NoiseInjection, SkipLayerExcitation, UpBlock
from ganvas.nets.layers import Size, sides
from ganvas.nets.norm import BatchNorm2d, PixelNorm

SIDES = (128, 256, 512, 1024)  # of images
Features = Sequence[Tensor] | Mapping[str, Tensor]  # maps from fine to coarse; keys "0" to "3"


def _conv(channels_in: int, channels_out: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)


class ConditionalNorm(ConditionalBatchNorm2d):
    """Conditional batch norm of vectors [N, condition], by linear maps with biases."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__(channels, condition=condition)
        self.gain, self.bias = (nn.Linear(condition, channels) for _ in range(2))


class ConditionalUpBlock(nn.Module):
    """`fastgan.UpBlock` with conditional norms and one noise weight for both rounds.

    x [N, in, H, W], c [N, condition] -> [N, out, 2 H, 2 W].
    """

    def __init__(self, channels_in: int, channels_out: int, condition: int, noisy: bool) -> None:
        super().__init__()
        inner, rounds = (channels_in, channels_out), 2 if noisy else 1
        self.convs = nn.ModuleList(_conv(inner[i], 2 * channels_out, 3) for i in range(rounds))
        self.norms = nn.ModuleList(
            ConditionalNorm(2 * channels_out, condition) for _ in range(rounds)
        )
        self.noise = NoiseInjection() if noisy else None

    def forward(self, x: Tensor, c: Tensor, noise: Sequence[Tensor] = ()) -> Tensor:
        """Double x; `noise`: maps of the rounds, [N, 1, 2 H, 2 W] each."""
        x = F.interpolate(x, scale_factor=2)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = conv(x)
            if self.noise is not None:
                x = self.noise(x, noise[i] if noise else None)
            x = F.glu(norm(x, c), 1)
        return x


class Generator(nn.Module):
    """Latents z [N, latent] -> images [N, channels, S, S].

    They are meant to lie in [-1, 1] (the output is linear).

    FastGAN's generator of one image: z is brought to length sqrt(latent), every block
    has two convolutions and noise, unless `lite`, and layers are plain where the
    authors' are spectrally normalized. Weights as torch draws them.

    size: 128, 256, 512 or 1024
    classes: labels y [N] become vectors, by which batch norm is conditional
    """

    def __init__(
        self,
        latent: int = 256,
        width: int = 128,
        size: Size = 256,
        channels: int = 3,
        lite: bool = False,
        classes: int = 0,
    ) -> None:
        super().__init__()
        side, other = sides(size)
        if side != other or side not in SIDES:
            raise UserError(
                f"projected GAN's generator makes squares of {', '.join(map(str, SIDES))} pixels a "
                f"side; got {side}x{other}"
            )
        self.latent, self.classes = latent, classes
        stages = [s for s in WIDTHS if s <= side]
        width_of = {s: int(WIDTHS[s] * width) for s in stages}
        self.normalize = PixelNorm()
        self.start = nn.ConvTranspose2d(latent, 2 * width_of[4], 4, bias=False)
        self.start_norm = BatchNorm2d(2 * width_of[4])
        self.blocks = nn.ModuleDict()
        self.excitations = nn.ModuleDict()
        for s in stages[1:]:
            ends = width_of[s // 2], width_of[s]
            self.blocks[str(s)] = (
                ConditionalUpBlock(*ends, latent, not lite) if classes else UpBlock(*ends, not lite)
            )
            if 64 <= s <= 512:
                self.excitations[str(s)] = SkipLayerExcitation(width_of[s // 16], width_of[s])
        self.to_image = nn.Conv2d(width_of[side], channels, 3, padding=1)
        self.embed = nn.Embedding(classes, latent) if classes else None

    def forward(
        self,
        z: Tensor,
        y: Tensor | None = None,
        noise: Mapping[int, tuple[Tensor, ...]] | None = None,
    ) -> Tensor:
        """Generate images [N, channels, S, S] from latents z [N, latent].

        y: labels [N] (int64), or mixtures of classes [N, classes]; with classes only
        noise: side -> noise maps of its block; by default drawn, or fixed in evaluation

        Raises `UserError` for missing labels.
        """
        condition = () if self.embed is None else (_embedded(self.embed, y),)
        x = self.normalize(z)[:, :, None, None]
        x = F.glu(self.start_norm(self.start(x)), 1)
        maps = {4: x}
        for name, block in self.blocks.items():
            side = int(name)
            x = block(x, *condition, noise=(noise or {}).get(side, ()))
            if name in self.excitations:
                x = self.excitations[name](maps[side // 16], x)
            maps[side] = x
        return self.to_image(x)


def _down(channels_in: int, channels_out: int, separable: bool, patch: bool) -> nn.Sequential:
    """Half the side: [N, in, H, W] -> [N, out, H / 2, W / 2]."""
    rest = [BatchNorm2d(channels_out), nn.LeakyReLU(0.2)]
    if separable:
        depthwise = nn.Conv2d(channels_in, channels_in, 3, 1, 1, groups=channels_in, bias=False)
        layers = [depthwise, _conv(channels_in, channels_out, 1), *rest, nn.AvgPool2d(2)]
    else:
        layers = [nn.Conv2d(channels_in, channels_out, 4, 2, 1), *rest]
    if patch:
        layers += [_conv(channels_out, channels_out, 1), BatchNorm2d(channels_out)]
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers)


class MapDiscriminator(nn.Module):
    """Maps [N, widths[0], H, W] -> scores [N, k]: halvings, then a 4x4 convolution.

    widths: channels of the map and after each halving
    separable: halvings by a depthwise, a 1x1 convolution and a mean, instead of a 4x4
        convolution of stride 2
    patch: a 1x1 convolution after each halving
    classes: scores are products with a vector of the label, of `joined` numbers, by a
        table of `embedding` numbers a class and a linear layer
    """

    def __init__(
        self,
        widths: Sequence[int],
        separable: bool = False,
        patch: bool = False,
        classes: int = 0,
        embedding: int = 128,
        joined: int = 64,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_down(*ends, separable, patch) for ends in pairwise(widths))
        self.head = nn.Conv2d(widths[-1], joined if classes else 1, 4, bias=False)
        self.embed = nn.Embedding(classes, embedding) if classes else None
        self.project = nn.Linear(embedding, joined) if classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score maps x [N, C, H, W], with labels y [N] if there are classes.

        Raises `UserError` for maps that are too small, and for missing labels.
        """
        least = 4 << len(self.blocks)
        if min(x.shape[2:]) < least:
            raise UserError(
                f"got a feature map of {x.shape[2]}x{x.shape[3]} (height x width); its "
                f"discriminator needs sides of at least {least}"
            )
        for block in self.blocks:
            x = block(x)
        x = self.head(x)
        if self.embed is not None and self.project is not None:
            vectors = F.leaky_relu(self.project(_embedded(self.embed, y)), 0.2)
            x = (x * vectors[:, :, None, None]).sum(1) / math.sqrt(x.shape[1])
        return x.flatten(1)


class Discriminator(nn.Module):
    """Feature maps, fine to coarse -> scores [N, k] of all of them in turn.

    discriminators: one for each map
    """

    def __init__(self, discriminators: Sequence[MapDiscriminator]) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(discriminators)

    def forward(self, features: Features, y: Tensor | None = None) -> Tensor:
        """Score feature maps [N, C_i, H_i, W_i].

        features: at least one for each discriminator; others are not used
        y: labels [N] (int64), or mixtures of classes [N, classes]; with classes only

        Raises `UserError` for too few or too small maps, and for missing labels.
        """
        maps = _maps(features, len(self.discriminators))
        scores = [D(x, y) for D, x in zip(self.discriminators, maps, strict=True)]
        return torch.cat(scores, 1)


class RandomProjection(nn.Module):
    """Mix four feature maps, fine to coarse: over channels, then over scales.

    [N, channels[i], H / 2^i, W / 2^i] -> the same sides, or twice them with `scales`.
    A 1x1 convolution for each map (section 3.2, CCM). With `scales`, from coarse to
    fine, each map is added to the one before, doubled bilinearly and mixed by another
    1x1 convolution (CSM). Meant to keep its random weights.

    channels: of the maps
    width: channels of the finest mixed map
    expand: coarser maps have twice the channels each (with `scales`: from the third on)
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int = 64,
        expand: bool = True,
        scales: bool = True,
    ) -> None:
        super().__init__()
        wide = [width << i if expand else width for i in range(len(channels))]
        self.mix = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(channels, wide, strict=True))
        narrow = [wide[max(i - 1, 0)] for i in range(len(wide))]
        self.fuse = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(wide, narrow, strict=True) if scales
        )

    def forward(self, features: Features) -> list[Tensor]:
        """Mix feature maps.

        Raises `UserError` for too few maps, and with `scales` unless each map has half
        the sides of the one before.
        """
        maps = _maps(features, len(self.mix))
        mixed = [conv(x) for conv, x in zip(self.mix, maps, strict=True)]
        if not self.fuse:
            return mixed
        for i in reversed(range(len(mixed))):
            x = mixed[i]
            if i + 1 < len(mixed):
                if mixed[i + 1].shape[2:] != x.shape[2:]:
                    found = ", ".join("x".join(map(str, m.shape[2:])) for m in maps)
                    raise UserError(
                        f"feature maps are {found} (height x width); expected each to have half "
                        "the sides of the one before"
                    )
                x = x + mixed[i + 1]
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            mixed[i] = self.fuse[i](x)
        return mixed


def _embedded(table: nn.Embedding, y: Tensor | None) -> Tensor:
    """Vectors [N, d] of labels. Raises `UserError` without labels."""
    if y is None:
        raise UserError(
            f"this network has {table.num_embeddings} classes and got no labels; expected numbers "
            f"[N], or weights of the classes [N, {table.num_embeddings}]"
        )
    return embed_labels(table, y)


def _maps(features: Features, count: int) -> list[Tensor]:
    """The first maps. Raises `UserError` if they are too few."""
    if isinstance(features, Mapping):
        features = [features[key] for key in sorted(features)]
    if len(features) < count:
        raise UserError(f"got {len(features)} feature maps; expected {count}, fine to coarse")
    return list(features[:count])
