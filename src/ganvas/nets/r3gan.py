"""R3GAN's networks.

The GAN is dead; long live the GAN! A Modern GAN Baseline, Huang et al., 2024,
arXiv:2501.05441, section 3, with the numbers of the authors' code (brownvc/R3GAN).
ResNets without normalization, whose generator and discriminator mirror each other: a
linear map between a vector and a 4x4 basis, two grouped bottleneck blocks at each
resolution, and smoothed resampling between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.layers import Size, doublings, downsampling, one_hot, upsampling
from ganvas.nets.progan import widths_by_level

EXPANSION = 2  # of a block's inner channels
SMOOTH = (1, 3, 3, 1)  # the resampling filter


def _fill(weight: Tensor, gain: float = 1.0) -> None:
    """N(0, gain^2 / fan_in)."""
    nn.init.normal_(weight, 0.0, gain / math.sqrt(weight[0].numel()))


def _conv(
    channels_in: int, channels_out: int, kernel: int = 1, groups: int = 1, gain: float = 1.0
) -> nn.Conv2d:
    conv = nn.Conv2d(
        channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False
    )
    _fill(conv.weight, gain)
    return conv


def _linear(features_in: int, features_out: int, gain: float = 1.0) -> nn.Linear:
    linear = nn.Linear(features_in, features_out, bias=False)
    _fill(linear.weight, gain)
    return linear


class Block(nn.Module):
    """Residual bottleneck with a grouped convolution.

    x + conv 1x1 to `expansion` times the channels (bias, LeakyReLU(.2)) - conv of
    side `kernel` in groups of `group` channels (bias, LeakyReLU(.2)) - conv 1x1.
    [N, C, H, W] -> the same.

    The last convolution starts from 0, so that the network starts as its skeleton; the
    others' spread falls with the number of blocks, `depth`, as Fixup has it
    (arXiv:1901.09321).
    """

    def __init__(
        self, width: int, group: int, depth: int, expansion: int = EXPANSION, kernel: int = 3
    ) -> None:
        super().__init__()
        inner = width * expansion
        gain = math.sqrt(2 / (1 + 0.2**2)) * depth**-0.25
        self.conv1 = _conv(width, inner, gain=gain)
        self.conv2 = _conv(inner, inner, kernel, groups=inner // math.gcd(inner, group), gain=gain)
        self.conv3 = _conv(inner, width, gain=0.0)
        self.bias1, self.bias2 = (nn.Parameter(torch.zeros(inner)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to the same shape."""
        h = F.leaky_relu(self.conv1(x) + self.bias1[:, None, None], 0.2)
        h = F.leaky_relu(self.conv2(h) + self.bias2[:, None, None], 0.2)
        return x + self.conv3(h)


def _widths(widths: Sequence[int] | None, width: int, full: int, levels: int) -> list[int]:
    """Channels at each resolution from 4x4 up.

    `width` as far as `full` px, halved with each doubling after.
    """
    if widths is None:
        return [max(width >> max(i - int(math.log2(full / 4)), 0), 1) for i in range(levels)]
    return widths_by_level(widths, width, levels)


def _stages(
    widths: Sequence[int],
    group: int | Sequence[int],
    blocks: int | Sequence[int],
    expansion: int,
    kernel: int,
) -> nn.ModuleList:
    """The blocks at each resolution; `group` and `blocks`: one for all, or for each."""
    groups = [group] * len(widths) if isinstance(group, int) else group
    counts = [blocks] * len(widths) if isinstance(blocks, int) else blocks
    for name, numbers in (("group", groups), ("blocks", counts)):
        if len(numbers) != len(widths):
            raise UserError(
                f"`{name}` gives {len(numbers)} numbers for {len(widths)} resolutions; give one "
                "for each, or one for all"
            )
    depth = sum(counts)
    return nn.ModuleList(
        nn.Sequential(*[Block(width, g, depth, expansion, kernel) for _ in range(n)])
        for width, g, n in zip(widths, groups, counts, strict=True)
    )


class Generator(nn.Module):
    """z (and labels) -> images, meant to lie in [-1, 1] (the output is linear).

    z [N, latent], y labels [N] or one-hot [N, classes] -> [N, channels, H, W].

    z, beside `embedding` numbers for its class, to the weights of a learned basis of
    4x4, then `blocks` blocks at each resolution; if the width changes a 1x1
    convolution comes before the enlarging. `width` channels up to `full` px (where the
    shorter side starts from 4), then halved with each doubling, or `widths` from 4x4
    up. A side of 4 * 2^k; a rectangle starts from a larger basis. `group`, `blocks`:
    one number, or one for each resolution from 4x4 up; `group`, `expansion` and
    `kernel` are those of `Block`, `taps` the resampling filter.
    """

    def __init__(
        self,
        latent: int = 64,
        width: int = 768,
        full: int = 32,
        size: Size = 32,
        channels: int = 3,
        classes: int = 0,
        embedding: int = 64,
        group: int | Sequence[int] = 16,
        blocks: int | Sequence[int] = 2,
        widths: Sequence[int] | None = None,
        expansion: int = EXPANSION,
        kernel: int = 3,
        taps: Sequence[float] = SMOOTH,
    ) -> None:
        super().__init__()
        k, grid = doublings(size, least=0)
        w = _widths(widths, width, full, k + 1)
        self.latent, self.classes = latent, classes
        self.embed = _linear(classes, embedding) if classes else None
        self.basis = nn.Parameter(torch.randn(w[0], *grid))
        self.input = _linear(latent + (embedding if classes else 0), w[0])
        self.stages = _stages(w, group, blocks, expansion, kernel)
        self.resample = nn.ModuleList(
            nn.Sequential(nn.Identity() if a == b else _conv(a, b), upsampling(taps))
            for a, b in pairwise(w)
        )
        self.output = _conv(w[-1], channels)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate images [N, channels, H, W].

        z: [N, latent]
        y: labels [N] or one-hot [N, classes]; not None if there are `classes`
        """
        if self.embed is not None:
            z = torch.cat([z, self.embed(one_hot(y, self.classes, z))], 1)
        x = self.stages[0](self.basis * self.input(z)[:, :, None, None])
        for enlarge, stage in zip(self.resample, self.stages[1:], strict=True):  # pyright: ignore[reportArgumentType]
            x = stage(enlarge(x))
        return self.output(x)


class Discriminator(nn.Module):
    """Images in [-1, 1] (and labels) -> scores.

    [N, channels, H, W], y labels [N] or one-hot [N, classes] -> [N].

    The generator's mirror image: `blocks` blocks at each resolution, shrinking, a 1x1
    convolution if the width changes, and at 4x4 the products with a learned basis,
    linear to a score; with classes, to a vector whose product with the class's own is
    the score (Miyato and Koyama, 2018, arXiv:1802.05637).
    """

    def __init__(
        self,
        width: int = 768,
        full: int = 32,
        size: Size = 32,
        channels: int = 3,
        classes: int = 0,
        embedding: int | None = None,
        group: int | Sequence[int] = 16,
        blocks: int | Sequence[int] = 2,
        widths: Sequence[int] | None = None,
        expansion: int = EXPANSION,
        kernel: int = 3,
        taps: Sequence[float] = SMOOTH,
    ) -> None:
        """`embedding`: length of the class's vector; None: the width at 4x4.

        The rest as of `Generator`, from 4x4 up.
        """
        super().__init__()
        k, grid = doublings(size, least=0)
        w = _widths(widths, width, full, k + 1)[::-1]
        embedding = embedding or w[-1]
        self.classes = classes
        self.input = _conv(channels, w[0])
        groups = group if isinstance(group, int) else group[::-1]
        counts = blocks if isinstance(blocks, int) else blocks[::-1]
        self.stages = _stages(w, groups, counts, expansion, kernel)
        self.resample = nn.ModuleList(
            nn.Sequential(downsampling(taps), nn.Identity() if a == b else _conv(a, b))
            for a, b in pairwise(w)
        )
        self.basis = nn.Conv2d(w[-1], w[-1], grid, groups=w[-1], bias=False)
        _fill(self.basis.weight)
        self.output = _linear(w[-1], embedding if classes else 1)
        self.embed = _linear(classes, embedding, 1 / math.sqrt(embedding)) if classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score images x [N, channels, H, W]: [N].

        y: labels [N] or one-hot [N, classes]; not None if there are `classes`
        """
        x = self.stages[0](self.input(x))
        for shrink, stage in zip(self.resample, self.stages[1:], strict=True):  # pyright: ignore[reportArgumentType]
            x = stage(shrink(x))
        scores = self.output(self.basis(x).flatten(1))
        if self.embed is not None:
            return (scores * self.embed(one_hot(y, self.classes, scores))).sum(1)
        return scores.squeeze(1)
