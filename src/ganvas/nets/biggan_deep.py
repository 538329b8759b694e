"""BigGAN-deep's networks: bottleneck blocks, and z in every condition.

Large Scale GAN Training for High Fidelity Natural Image Synthesis, Brock et al., 2018,
arXiv:1809.11096, appendix B, tables 7 to 9 and figure 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.nets.biggan import (
    Conditioned,
    Init,
    attend,
    channel_multiples,
    checked_multiples,
    initialize,
    self_attention,
)
from ganvas.nets.conditional import ConditionalBatchNorm2d, Projection
from ganvas.nets.layers import Size, doublings, sides
from ganvas.nets.norm import BatchNorm2d
from ganvas.nets.spectral import spectral_


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


class DeepGenerator(Conditioned):
    """BigGAN-deep's generator: z and labels -> images in [-1, 1].

    z [N, latent], y [N] -> [N, channels, H, W]. Tables 7 to 9.

    z is not split: joined to the labels' embedding of `shared` numbers it conditions
    every block and makes the 4x4 grid. `depth` blocks for each resolution, the last of
    which doubles it; attention before the first block of its resolution. Options as in
    `biggan.Generator`. Its layers are spectrally normalized, its embedding is not.

    before: self-attention before blocks, by the block's number; none unless it is added
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
        bottom: int = 4,
    ) -> None:
        super().__init__()
        k, grid = doublings(size, bottom=bottom)
        widths = [width * m for m in checked_multiples(multiples or channel_multiples(k), k)]
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
        self.attention = self_attention(
            attention, widths[1:], [(grid[0] << i + 1, grid[1] << i + 1) for i in range(k)]
        )
        self.before = nn.ModuleDict()
        self.norm = BatchNorm2d(widths[-1], eps=eps)
        self.output = nn.Conv2d(widths[-1], channels, 3, padding=1)
        initialize(self, init)
        if normalised:
            spectral_(self, embeddings=False)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate images [N, channels, H, W] in [-1, 1].

        z: [N, latent]
        y: labels [N] or mixtures [N, classes]; not None if there are `classes`
        """
        condition = torch.cat([z, self.embed(y, z.shape[0], z)], 1)
        x = self.input(condition).unflatten(1, self.grid)
        for i, block in enumerate(self.blocks):
            x = block(attend(self.before, i, x), condition)
            level, within = divmod(i, self.depth)
            x = attend(self.attention, level, x) if within == self.depth - 1 else x
        return self.output(F.relu(self.norm(x))).tanh()


class DeepDiscriminator(nn.Module):
    """BigGAN-deep's discriminator: images in [-1, 1] and labels -> scores.

    [N, channels, H, W], y [N] -> [N]. Tables 7 to 9: a 3x3 convolution, `depth` blocks
    for each resolution, the first of which halves it, down to 4x4; then as
    `biggan.Discriminator`.

    shrinking: number of resolutions, from the first, that are halved; None: all
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
        outputs: int = 1,
        shrinking: int | None = None,
    ) -> None:
        super().__init__()
        k, _ = doublings(size)
        widths = [
            width * m
            for m in checked_multiples(multiples or tuple(reversed(channel_multiples(k))), k)
        ]
        self.depth = depth
        self.input = nn.Conv2d(channels, widths[0], 3, padding=1)
        blocks: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            blocks += [
                DeepDownBlock(a, b, shrinking is None or i < shrinking),
                *(DeepDownBlock(b, b, False) for _ in range(depth - 1)),
            ]
        self.blocks = nn.ModuleList(blocks)
        height, wide = sides(size)
        self.attention = self_attention(
            attention, widths[1:], [(height >> i + 1, wide >> i + 1) for i in range(k)]
        )
        self.output = Projection(widths[-1], classes, outputs)
        initialize(self, init)
        if normalised:
            spectral_(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score images x [N, channels, H, W]: [N], or [N, outputs].

        y: labels [N]; not None if there are `classes`
        """
        x = self.input(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            level, within = divmod(i, self.depth)
            x = attend(self.attention, level, x) if within == self.depth - 1 else x
        return self.output(F.relu(x).sum((2, 3)), y)
