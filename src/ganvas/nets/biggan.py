"""BigGAN's networks, and what they share with BigGAN-deep's (`biggan_deep`).

Large Scale GAN Training for High Fidelity Natural Image Synthesis, Brock et al., 2018,
arXiv:1809.11096, appendix B. With an embedding for each layer, no split of z and half
the width they are SAGAN's (arXiv:1805.08318), of which BigGAN is the larger form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.attention import SelfAttention
from ganvas.nets.conditional import (
    ConditionalBatchNorm2d,
    Projection,
    embed_labels,
    start_from_identity,
)
from ganvas.nets.layers import Size, doublings, sides
from ganvas.nets.norm import BatchNorm2d
from ganvas.nets.resnet import DownBlock, UpBlock
from ganvas.nets.spectral import spectral_

Init = Literal["orthogonal", "normal", "glorot"]


def channel_multiples(k: int) -> tuple[int, ...]:
    """Channels before, between and after a generator's k doublings, in its widths.

    Tables 4 to 9; at 64 px and up to 32 px ajbrock/BigGAN-PyTorch's.
    """
    if k <= 3:
        return (4,) * (k + 1)
    deep = (16, 16, 8, 4, 2, 1) if k <= 5 else (16, 16, 8, 8, 4, 2, 1)
    return (deep + (1,) * k)[: k + 1]


def initialize(net: nn.Module, kind: Init) -> None:
    """Initialize every weight orthogonally or by Glorot's rule; gains 1 and biases 0.

    Orthogonal: appendix C.1; arXiv:1312.6120. The gains are those of labels. "normal":
    that of ajbrock/BigGAN-PyTorch, N(0, .02) for every weight and for the labels'
    tables of gains (about 1) and biases, which leaves the layers' biases as torch draws
    them.
    """
    how = {
        "orthogonal": nn.init.orthogonal_,
        "normal": partial(nn.init.normal_, std=0.02),
        "glorot": nn.init.xavier_uniform_,
    }[kind]
    for m in net.modules():
        if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding):
            if not m.weight.is_meta:  # orthogonal matrices need numbers
                how(m.weight)
            if kind != "normal" and isinstance(m, nn.Conv2d | nn.Linear) and m.bias is not None:
                nn.init.zeros_(m.bias)
    if kind != "normal":
        start_from_identity(net)


def self_attention(
    attention: Sequence[int], widths: Sequence[int], sides: Sequence[tuple[int, int]]
) -> nn.ModuleDict:
    """Self-attention layers, by the number of the level that each follows.

    attention: shorter sides, in pixels, of the levels to be followed
    widths, sides: channels and (height, width) of every level

    Raises `UserError` for a side that no level has, and for one below 4.
    """
    have = [min(side) for side in sides]
    for wanted in attention:
        if wanted not in have or wanted < 4:
            raise UserError(
                f"attention at {wanted} pixels: this network has features of "
                f"{', '.join(map(str, sorted(have)))} pixels; "
                "choose of these, or attention=[]"
            )
    return nn.ModuleDict(
        {str(i): SelfAttention(widths[i]) for i, side in enumerate(have) if side in attention}
    )


def attend(attention: nn.ModuleDict, level: int, x: Tensor) -> Tensor:
    """Apply the self-attention that follows a level to x [N, C, H, W], if any does."""
    return attention[str(level)](x) if str(level) in attention else x


class Conditioned(nn.Module):
    """Base of both generators, which may embed labels.

    shared: the embedding [classes, d] that all blocks share, or None
    """

    latent: int
    classes: int
    shared: nn.Embedding | None

    def embed(self, y: Tensor | None, n: int, like: Tensor) -> Tensor:
        """Embed labels y [n] or mixtures of classes [n, classes] as vectors [n, d].

        Without an embedding [n, 0], of the type of `like`.
        """
        if self.shared is None:
            return like.new_zeros(n, 0)
        assert y is not None, "this generator was built for labels"
        return embed_labels(self.shared, y)


class Generator(Conditioned):
    """z [N, latent] and labels y [N] -> images [N, channels, H, W] in [-1, 1].

    A linear layer to a grid of 4x4, a residual block for each doubling, batch norm -
    ReLU - conv - tanh. `shared`: the labels' common embedding, from which every batch
    norm takes its gains and biases linearly (section 3.1); 0: each batch norm has a
    table of its own, as in SAGAN. `split`: z in as many parts as there are layers that
    take one; the first makes the grid, the others join the condition of their blocks
    (`latent` is cut to a multiple of them). `attention`: after which resolutions
    self-attention stands. `multiples`: channels before the first and after each block,
    in `width`s; None: the paper's. `normalised`: spectral normalization of all layers
    but embeddings (and of labels' tables). Without `classes` and `split` batch norms
    have plain gains. y may be mixtures of classes [N, classes] if the embedding is
    shared. `bottom`: shorter side of the first grid.
    """

    def __init__(
        self,
        latent: int = 120,
        width: int = 96,
        size: Size = 128,
        channels: int = 3,
        classes: int = 0,
        shared: int = 128,
        split: bool = True,
        attention: Sequence[int] = (64,),
        multiples: Sequence[int] | None = None,
        normalised: bool = True,
        init: Init = "orthogonal",
        eps: float = 1e-5,
        bottom: int = 4,
    ) -> None:
        super().__init__()
        k, grid = doublings(size, bottom=bottom)
        widths = [width * m for m in checked_multiples(multiples or channel_multiples(k), k)]
        self.classes, self.parts = classes, k + 1 if split else 1
        part = latent // self.parts
        if part < 1:
            raise UserError(
                f"latent={latent} cannot be split in {self.parts} parts: give at least {self.parts}"
            )
        self.latent = part * self.parts
        self.shared = nn.Embedding(classes, shared) if classes and shared else None
        condition = (shared if self.shared is not None else 0) + (part if split else 0)
        if split and classes and not shared:
            raise UserError(
                "split=true needs the shared embedding, which z's parts join: give shared=128"
            )
        self.by_label = bool(classes) and not shared
        if self.by_label:
            norm = partial(ConditionalBatchNorm2d, classes=classes, eps=eps)
        else:
            norm = (
                partial(ConditionalBatchNorm2d, condition=condition, eps=eps)
                if condition
                else BatchNorm2d
            )
        self.conditional = self.by_label or condition > 0
        self.grid = (widths[0], *grid)
        self.input = nn.Linear(part, math.prod(self.grid))
        self.blocks = nn.ModuleList(UpBlock(a, b, "nearest", norm) for a, b in pairwise(widths))
        self.attention = self_attention(
            attention, widths[1:], [(grid[0] << i + 1, grid[1] << i + 1) for i in range(k)]
        )
        self.norm = BatchNorm2d(widths[-1], eps=eps)
        self.output = nn.Conv2d(widths[-1], channels, 3, padding=1)
        initialize(self, init)
        if normalised:
            spectral_(self, embeddings=False)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate images [N, channels, H, W] in [-1, 1].

        z: [N, latent]
        y: labels [N], or mixtures [N, classes] if the embedding is shared; not None if
            there are `classes`
        """
        first, *rest = z.chunk(self.parts, 1)
        if self.by_label:
            assert y is not None, "this generator was built for labels"
            conditions = [y] * len(self.blocks)
        else:
            embedded = self.embed(y, z.shape[0], z)
            conditions = [torch.cat([embedded, part], 1) for part in rest] or [embedded] * len(
                self.blocks
            )
        x = self.input(first).unflatten(1, self.grid)
        for i, (block, condition) in enumerate(zip(self.blocks, conditions, strict=True)):
            x = block(x, condition) if self.conditional else block(x)
            x = attend(self.attention, i, x)
        return self.output(F.relu(self.norm(x))).tanh()


class Trunk(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> features [N, `width_out`].

    Residual blocks that halve a side, with the generator's widths turned round, and at
    least one that keeps it; ReLU, the sum over pixels. `multiples`: channels after each
    block in `width`s; None: the paper's (up to 32 px ajbrock/BigGAN-PyTorch's: two
    blocks that keep). `narrow`: blocks widen with their second convolution, as SNGAN's.

    Base of discriminators, which add their last layers and initialize all weights.
    """

    def __init__(
        self,
        width: int,
        size: Size,
        channels: int,
        attention: Sequence[int],
        multiples: Sequence[int] | None,
        narrow: bool = False,
    ) -> None:
        super().__init__()
        k, _ = doublings(size)
        down = max(k - 1, 1) if k <= 3 else k
        if multiples is None:
            multiples = _discriminating(k)
        elif len(multiples) != len(_discriminating(k)):
            raise UserError(
                f"multiples has {len(multiples)} numbers; at this size it needs "
                f"{len(_discriminating(k))}"
            )
        widths = [channels, *(width * m for m in multiples)]
        shrinks = [i < down for i in range(len(widths) - 1)]
        self.width_out = widths[-1]
        self.blocks = nn.ModuleList(
            DownBlock(a, b, down=shrink, first=i == 0, between=a if narrow else b)
            for i, ((a, b), shrink) in enumerate(zip(pairwise(widths), shrinks, strict=True))
        )
        height, wide = sides(size)
        self.attention = self_attention(
            attention, widths[1:], [(height >> i + 1, wide >> i + 1) for i in range(down)]
        )

    def features(self, x: Tensor) -> Tensor:
        """Sums over pixels [N, width_out] of images [N, channels, H, W]."""
        for i, block in enumerate(self.blocks):
            x = block(x)
            x = attend(self.attention, i, x)
        return F.relu(x).sum((2, 3))


class Discriminator(Trunk):
    """Images [N, channels, H, W] in [-1, 1] and labels y [N] -> scores [N].

    The trunk's features, linear, and the projection on the labels' embedding
    (arXiv:1802.05637). All spectrally normalized. `outputs`: numbers for each image;
    if they are several, the scores are [N, outputs].
    """

    def __init__(
        self,
        width: int = 96,
        size: Size = 128,
        channels: int = 3,
        classes: int = 0,
        attention: Sequence[int] = (64,),
        multiples: Sequence[int] | None = None,
        normalised: bool = True,
        init: Init = "orthogonal",
        narrow: bool = False,
        outputs: int = 1,
    ) -> None:
        super().__init__(width, size, channels, attention, multiples, narrow)
        self.output = Projection(self.width_out, classes, outputs)
        initialize(self, init)
        if normalised:
            spectral_(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score images x [N, channels, H, W]: [N], or [N, outputs].

        y: as of `Projection`; not None if there are `classes`
        """
        return self.output(self.features(x), y)


def _discriminating(k: int) -> tuple[int, ...]:
    """A discriminator's channels after each block, in widths."""
    if k <= 3:
        return (4,) * (max(k - 1, 1) + 2)
    return (1, 2, 4, 8, 16) if k == 4 else (*reversed(channel_multiples(k)[1:]), 16)


def checked_multiples(multiples: Sequence[int], k: int) -> Sequence[int]:
    """`multiples`, if they are k + 1. Raises `UserError` otherwise."""
    if len(multiples) != k + 1:
        raise UserError(
            f"multiples has {len(multiples)} numbers; for this size it needs {k + 1}: one before "
            "each block "
            "and one after the last"
        )
    return multiples
