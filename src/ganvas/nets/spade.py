"""SPADE's networks: a generator whose normalization is modulated by a label map.

Semantic Image Synthesis with Spatially-Adaptive Normalization, Park et al., 2019,
arXiv:1903.07291, section 3 and appendix A.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.nets.init import xavier_init
from ganvas.nets.layers import Size, divisible, sides
from ganvas.nets.multiscale import XAVIER_GAIN
from ganvas.nets.norm import BatchNorm2d, InstanceNorm2d, Norm, norm2d
from ganvas.nets.spectral import spectral, spectral_

STYLE_SIDE = 256  # pixels, to which the authors' code brings style images


class SPADE(nn.Module):
    """Spatially-adaptive denormalization: norm(x) (1 + gamma(m)) + beta(m).

    x [N, C, h, w], label map m [N, labels, H, W] -> [N, C, h, w]; gamma and beta are
    convolutions of m, brought to the size of x by nearest neighbors. Equation 1.

    norm: batch norm in the paper; the authors' code also has instance norm
    kernel: side of the convolutions, odd
    """

    def __init__(
        self,
        channels: int,
        labels: int,
        hidden: int,
        norm: Literal["batch", "instance"] = "batch",
        kernel: int = 3,
    ) -> None:
        super().__init__()
        make = BatchNorm2d if norm == "batch" else InstanceNorm2d
        self.norm = make(channels, affine=False)
        pad = kernel // 2
        self.shared = nn.Conv2d(labels, hidden, kernel, 1, pad)
        self.gamma = nn.Conv2d(hidden, channels, kernel, 1, pad)
        self.beta = nn.Conv2d(hidden, channels, kernel, 1, pad)

    def forward(self, x: Tensor, m: Tensor) -> Tensor:
        """Normalize x and modulate it by the label map m [N, labels, H, W]."""
        h = F.relu(self.shared(F.interpolate(m, size=x.shape[2:])))
        return self.norm(x) * (1 + self.gamma(h)) + self.beta(h)


class SPADEBlock(nn.Module):
    """Residual block of two SPADEs and 3x3 convolutions (figure 4, left).

    [N, in, H, W] -> [N, out, H, W]. `norm`, `kernel`: as of `SPADE`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        labels: int,
        hidden: int,
        norm: Literal["batch", "instance"] = "batch",
        kernel: int = 3,
    ) -> None:
        super().__init__()
        middle = min(channels_in, channels_out)
        widths = (channels_in, middle), (middle, channels_out)
        how = labels, hidden, norm, kernel
        self.norms = nn.ModuleList(SPADE(a, *how) for a, _ in widths)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1) for a, b in widths)
        learned = channels_in != channels_out
        self.skip_norm = SPADE(channels_in, *how) if learned else None
        self.skip = nn.Conv2d(channels_in, channels_out, 1, bias=False) if learned else None

    def forward(self, x: Tensor, m: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, H, W], modulated by m."""
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(F.leaky_relu(norm(h, m), 0.2))
        if self.skip is not None and self.skip_norm is not None:
            x = self.skip(self.skip_norm(x, m))
        return x + h


class Generator(nn.Module):
    """Label maps [N, labels, H, W] and styles [N, latent] -> images [N, C, H, W].

    One SPADE block after another at `doublings` scales (figure 4, right). H and W are
    multiples of 2^`doublings`.

    doublings: 5, 6 or 7: "normal", "more" and "most" of the authors' code
    latent: of the style; 0: none, and the first map is a convolution of the label map
    size: of the images, whose grid the style becomes; others' grids are interpolated
    hidden: channels from which gamma and beta are computed
    normalized: spectrally; False for weights that are already
    norm, kernel: as of `SPADE`
    """

    def __init__(
        self,
        labels: int,
        channels: int = 3,
        width: int = 64,
        size: Size = 256,
        latent: int = 256,
        hidden: int = 128,
        doublings: int = 5,
        normalized: bool = True,
        norm: Literal["batch", "instance"] = "batch",
        kernel: int = 3,
    ) -> None:
        super().__init__()
        self.latent, self.multiple = latent, 1 << doublings
        height, breadth = sides(size)
        self.grid = -(-height // self.multiple), -(-breadth // self.multiple)
        cells = self.grid[0] * self.grid[1]
        start = 16 * width
        self.start = (
            nn.Linear(latent, start * cells) if latent else nn.Conv2d(labels, start, 3, 1, 1)
        )
        widths: list[float] = [16, 16, 16, 16, 8, 4, 2, 1]
        if doublings == 7:
            widths.append(0.5)
        wide = [int(factor * width) for factor in widths]
        self.blocks = nn.ModuleList(
            SPADEBlock(a, b, labels, hidden, norm, kernel) for a, b in pairwise(wide)
        )
        # A doubling before each block but the first; the third has one from "more" on.
        self.doubled = [i > 0 and (i != 2 or doublings > 5) for i in range(len(self.blocks))]
        self.output = nn.Conv2d(wide[-1], channels, 3, 1, 1)
        xavier_init(self, XAVIER_GAIN)
        if normalized:
            for block in self.blocks.modules():
                if isinstance(block, SPADEBlock):
                    spectral_(block.convs)
                    if block.skip is not None:
                        spectral(block.skip)

    def forward(self, m: Tensor, z: Tensor | None = None) -> Tensor:
        """Generate images for label maps m and styles z [N, latent].

        Raises `UserError` for sides that are no multiples of `multiple`.
        """
        divisible(m, self.multiple, self.multiple)
        grid = m.shape[2] // self.multiple, m.shape[3] // self.multiple
        if self.latent:
            assert z is not None, "this generator was built for styles"
            x = self.start(z).unflatten(1, (-1, *self.grid))
            x = x if grid == self.grid else F.interpolate(x, size=grid)
        else:
            x = self.start(F.interpolate(m, size=grid))
        for block, doubled in zip(self.blocks, self.doubled, strict=True):
            x = block(F.interpolate(x, scale_factor=2) if doubled else x, m)
        return torch.tanh(self.output(F.leaky_relu(x, 0.2)))


class StyleEncoder(nn.Module):
    """Images [N, C, H, W] -> mean and log variance of their styles [N, 2, latent].

    Convolutions of stride 2 with instance norm, down to 4x4 (figure 14). Images are
    brought to `side` pixels first, bilinearly. `norm`: of the authors' code; they have
    biases if it is "none".
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        latent: int = 256,
        side: int = STYLE_SIDE,
        normalized: bool = True,
        norm: Norm = "instance",
    ) -> None:
        super().__init__()
        count = side.bit_length() - 3
        wide = [channels, *(width * f for f in (1, 2, 4, 8, 8, 8)[:count])]
        self.side, self.latent = side, latent
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, 2, 1, bias=norm == "none") for a, b in pairwise(wide)
        )
        self.norms = nn.ModuleList(norm2d(norm, c) for c in wide[1:])
        self.heads = nn.ModuleList(nn.Linear(16 * wide[-1], latent) for _ in range(2))
        xavier_init(self, XAVIER_GAIN)
        if normalized:
            for conv in self.convs:
                spectral(conv)

    def forward(self, x: Tensor) -> Tensor:
        """Means and log variances [N, 2, latent] of the styles of images x."""
        if x.shape[2:] != (self.side, self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear")
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), 0.2)
        return torch.stack([head(x.flatten(1)) for head in self.heads], 1)
