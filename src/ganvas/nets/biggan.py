"""BigGAN's and BigGAN-deep's networks.

Large Scale GAN Training for High Fidelity Natural Image Synthesis, Brock et al., 2018,
arXiv:1809.11096, appendix B. With an embedding for each layer, no split of z and half
the width they are SAGAN's (arXiv:1805.08318), of which BigGAN is the larger form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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


def _widths(k: int) -> tuple[int, ...]:
    """Channels before, between and after a generator's k doublings.

    In multiples of its width: Tables 4 to 9; at 64 px and up to 32 px
    ajbrock/BigGAN-PyTorch's.
    """
    if k <= 3:
        return (4,) * (k + 1)
    deep = (16, 16, 8, 4, 2, 1) if k <= 5 else (16, 16, 8, 8, 4, 2, 1)
    return (deep + (1,) * k)[: k + 1]


def _init(net: nn.Module, kind: Init) -> None:
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


def _attention(
    attention: Sequence[int], widths: Sequence[int], sides: Sequence[tuple[int, int]]
) -> nn.ModuleDict:
    """Self-attention by the number of the level that it follows.

    `sides`: of the levels, whose features have `widths` channels. A resolution is its
    shorter side; those that the network passes not are a `UserError`, and so are those
    of fewer than 4 cells.
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


def _attend(attention: nn.ModuleDict, level: int, x: Tensor) -> Tensor:
    return attention[str(level)](x) if str(level) in attention else x


class _Conditioned(nn.Module):
    """Base of both generators: first layer's input and conditions from z and y.

    Each block has a condition of its own.
    """

    latent: int
    classes: int
    shared: nn.Embedding | None

    def _embed(self, y: Tensor | None, n: int, like: Tensor) -> Tensor:
        """[N, shared] vectors of the labels; [N, 0] without."""
        if self.shared is None:
            return like.new_zeros(n, 0)
        assert y is not None, "this generator was built for labels"
        return embed_labels(self.shared, y)


class Generator(_Conditioned):
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
    shared.
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
    ) -> None:
        super().__init__()
        k, grid = doublings(size)
        widths = [width * m for m in _checked(multiples or _widths(k), k)]
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
        self.attention = _attention(
            attention, widths[1:], [(grid[0] << i + 1, grid[1] << i + 1) for i in range(k)]
        )
        self.norm = BatchNorm2d(widths[-1], eps=eps)
        self.output = nn.Conv2d(widths[-1], channels, 3, padding=1)
        _init(self, init)
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
            embedded = self._embed(y, len(z), z)
            conditions = [torch.cat([embedded, part], 1) for part in rest] or [embedded] * len(
                self.blocks
            )
        x = self.input(first).unflatten(1, self.grid)
        for i, (block, condition) in enumerate(zip(self.blocks, conditions, strict=True)):
            x = block(x, condition) if self.conditional else block(x)
            x = _attend(self.attention, i, x)
        return self.output(F.relu(self.norm(x))).tanh()


class Discriminator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] and labels y [N] -> scores [N].

    Residual blocks that halve a side, with the generator's widths turned round, and at
    least one that keeps it; ReLU, the sum over pixels, linear, and the projection on
    the labels' embedding (arXiv:1802.05637). All spectrally normalized. `multiples`:
    channels after each block in `width`s; None: the paper's (up to 32 px
    ajbrock/BigGAN-PyTorch's: two blocks that keep).
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
        self.blocks = nn.ModuleList(
            DownBlock(a, b, down=shrink, first=i == 0)
            for i, ((a, b), shrink) in enumerate(zip(pairwise(widths), shrinks, strict=True))
        )
        height, wide = sides(size)
        self.attention = _attention(
            attention, widths[1:], [(height >> i + 1, wide >> i + 1) for i in range(down)]
        )
        self.output = Projection(widths[-1], classes)
        _init(self, init)
        if normalised:
            spectral_(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score images x [N, channels, H, W]: [N].

        y: labels [N]; not None if there are `classes`
        """
        for i, block in enumerate(self.blocks):
            x = block(x)
            x = _attend(self.attention, i, x)
        return self.output(F.relu(x).sum((2, 3)), y)


def _discriminating(k: int) -> tuple[int, ...]:
    """A discriminator's channels after each block, in widths."""
    if k <= 3:
        return (4,) * (max(k - 1, 1) + 2)
    return (1, 2, 4, 8, 16) if k == 4 else (*reversed(_widths(k)[1:]), 16)


def _checked(multiples: Sequence[int], k: int) -> Sequence[int]:
    if len(multiples) != k + 1:
        raise UserError(
            f"multiples has {len(multiples)} numbers; for this size it needs {k + 1}: one before "
            "each block "
            "and one after the last"
        )
    return multiples


class DeepUpBlock(nn.Module):
    """Residual bottleneck of BigGAN-deep's generator.

    norm - ReLU - 1x1 to a quarter of the channels, norm - ReLU (- up) - 3x3, norm -
    ReLU - 3x3, norm - ReLU - 1x1 (figure 16, left); plus the input, enlarged, without
    its last channels if there are fewer after. [N, C, H, W] -> [N, C', ...].
    """

    def __init__(
        self, channels_in: int, channels_out: int, up: bool, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        inner = max(channels_in // 4, 1)
        self.norms = nn.ModuleList([norm(channels_in), norm(inner), norm(inner), norm(inner)])
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(channels_in, inner, 1),
                nn.Conv2d(inner, inner, 3, padding=1),
                nn.Conv2d(inner, inner, 3, padding=1),
                nn.Conv2d(inner, channels_out, 1),
            ]
        )
        self.up, self.kept = up, channels_out

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        """Map x [N, C, H, W] to [N, C', H, W], or [N, C', 2 H, 2 W] if `up`.

        condition: further arguments of the norms
        """
        h = x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            h = F.relu(norm(h, *condition))
            h = conv(F.interpolate(h, scale_factor=2, mode="nearest") if self.up and i == 1 else h)
        x = x[:, : self.kept]
        return h + (F.interpolate(x, scale_factor=2, mode="nearest") if self.up else x)


class DeepDownBlock(nn.Module):
    """Residual bottleneck of BigGAN-deep's discriminator.

    ReLU - 1x1 to a quarter of the channels after it, ReLU - 3x3, ReLU - 3x3, ReLU (-
    mean of 2x2) - 1x1 (figure 16, right); plus the input, shrunk, to which a 1x1
    convolution of it is joined if there are more channels after.
    """

    def __init__(self, channels_in: int, channels_out: int, down: bool) -> None:
        super().__init__()
        inner = max(channels_out // 4, 1)
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(channels_in, inner, 1),
                nn.Conv2d(inner, inner, 3, padding=1),
                nn.Conv2d(inner, inner, 3, padding=1),
                nn.Conv2d(inner, channels_out, 1),
            ]
        )
        more = channels_out - channels_in
        self.shortcut = nn.Conv2d(channels_in, more, 1) if more else None
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to [N, C', H, W], or [N, C', H / 2, W / 2] if `down`."""
        h = x
        for i, conv in enumerate(self.convs):
            h = F.relu(h)
            h = conv(F.avg_pool2d(h, 2) if self.down and i == 3 else h)
        x = F.avg_pool2d(x, 2) if self.down else x
        return h + (x if self.shortcut is None else torch.cat([x, self.shortcut(x)], 1))


class DeepGenerator(_Conditioned):
    """BigGAN-deep's generator: z and labels -> images in [-1, 1].

    z [N, latent], y [N] -> [N, channels, H, W]. Tables 7 to 9.

    z is not split: joined to the labels' embedding of `shared` numbers it conditions
    every block and makes the 4x4 grid. `depth` blocks for each resolution, the last of
    which doubles it; attention before the first block of its resolution. Options as in
    `Generator`. Its layers are spectrally normalized, its embedding is not.
    """

    def __init__(
        self,
        latent: int = 128,
        width: int = 128,
        size: Size = 128,
        channels: int = 3,
        classes: int = 0,
        shared: int = 128,
        depth: int = 2,
        attention: Sequence[int] = (64,),
        multiples: Sequence[int] | None = None,
        normalised: bool = True,
        init: Init = "orthogonal",
        eps: float = 1e-4,
    ) -> None:
        super().__init__()
        k, grid = doublings(size)
        widths = [width * m for m in _checked(multiples or _widths(k), k)]
        self.latent, self.classes, self.depth = latent, classes, depth
        self.shared = nn.Embedding(classes, shared) if classes else None
        condition = latent + (shared if classes else 0)
        norm = partial(ConditionalBatchNorm2d, condition=condition, eps=eps)
        self.grid = (widths[0], *grid)
        self.input = nn.Linear(condition, math.prod(self.grid))
        blocks: list[nn.Module] = []
        for a, b in pairwise(widths):
            blocks += [
                *(DeepUpBlock(a, a, False, norm) for _ in range(depth - 1)),
                DeepUpBlock(a, b, True, norm),
            ]
        self.blocks = nn.ModuleList(blocks)
        self.attention = _attention(
            attention, widths[1:], [(grid[0] << i + 1, grid[1] << i + 1) for i in range(k)]
        )
        self.norm = BatchNorm2d(widths[-1], eps=eps)
        self.output = nn.Conv2d(widths[-1], channels, 3, padding=1)
        _init(self, init)
        if normalised:
            spectral_(self, embeddings=False)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate images [N, channels, H, W] in [-1, 1].

        z: [N, latent]
        y: labels [N] or mixtures [N, classes]; not None if there are `classes`
        """
        condition = torch.cat([z, self._embed(y, len(z), z)], 1)
        x = self.input(condition).unflatten(1, self.grid)
        for i, block in enumerate(self.blocks):
            x = block(x, condition)
            level, within = divmod(i, self.depth)
            x = _attend(self.attention, level, x) if within == self.depth - 1 else x
        return self.output(F.relu(self.norm(x))).tanh()


class DeepDiscriminator(nn.Module):
    """BigGAN-deep's discriminator: images in [-1, 1] and labels -> scores.

    [N, channels, H, W], y [N] -> [N]. Tables 7 to 9: a 3x3 convolution, `depth` blocks
    for each resolution, the first of which halves it, down to 4x4; then as
    `Discriminator`.
    """

    def __init__(
        self,
        width: int = 128,
        size: Size = 128,
        channels: int = 3,
        classes: int = 0,
        depth: int = 2,
        attention: Sequence[int] = (64,),
        multiples: Sequence[int] | None = None,
        normalised: bool = True,
        init: Init = "orthogonal",
    ) -> None:
        super().__init__()
        k, _ = doublings(size)
        widths = [width * m for m in _checked(multiples or tuple(reversed(_widths(k))), k)]
        self.depth = depth
        self.input = nn.Conv2d(channels, widths[0], 3, padding=1)
        blocks: list[nn.Module] = []
        for a, b in pairwise(widths):
            blocks += [
                DeepDownBlock(a, b, True),
                *(DeepDownBlock(b, b, False) for _ in range(depth - 1)),
            ]
        self.blocks = nn.ModuleList(blocks)
        height, wide = sides(size)
        self.attention = _attention(
            attention, widths[1:], [(height >> i + 1, wide >> i + 1) for i in range(k)]
        )
        self.output = Projection(widths[-1], classes)
        _init(self, init)
        if normalised:
            spectral_(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score images x [N, channels, H, W]: [N].

        y: labels [N]; not None if there are `classes`
        """
        x = self.input(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            level, within = divmod(i, self.depth)
            x = _attend(self.attention, level, x) if within == self.depth - 1 else x
        return self.output(F.relu(x).sum((2, 3)), y)
