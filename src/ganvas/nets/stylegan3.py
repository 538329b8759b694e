"""StyleGAN3's generator: a synthesis network without aliasing.

Alias-Free Generative Adversarial Networks, Karras et al., 2021, arXiv:2106.12423,
section 3. Feature maps are samples of continuous signals: every nonlinearity works at
a higher sampling rate between two low-pass filters, so that details move with the
objects instead of sticking to pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core import distributed
from ganvas.core.errors import UserError
from ganvas.nets.layers import EqualizedLinear, Size, sides
from ganvas.nets.stylegan import Mapping, StyleBased
from ganvas.objectives.precision import wide

MARGIN = 10  # pixels around a feature map, so that its border is not seen
TAPS = 6  # of a filter, for each sampling rate that it changes by
OVERSAMPLING = 2  # of the nonlinearity
CLAMP = 256.0
OUTPUT_SCALE = 0.25


class Geometry(NamedTuple):
    """Frequencies of a layer's signals, in cycles per image, and its sizes.

    cutoff, stopband: of its low-pass filter
    rate: samples along a side
    size: `rate` and the margin on both sides
    channels: of its output
    """

    cutoff: float
    stopband: float
    rate: int
    size: int
    channels: int

    @property
    def half_width(self) -> float:
        """Half of the filter's transition band."""
        return max(self.stopband, self.rate / 2) - self.cutoff


def geometry(
    side: int, channels: int, layers: int = 14, base: int = 32_768, width: int = 512
) -> list[Geometry]:
    """Of the input and of every layer but the one to RGB (section 3.2, appendix C.1).

    Cutoffs grow geometrically from 2 to side / 2, stopbands from 2^2.1 to side / 2 *
    2^.3; the last two layers are critically sampled.
    """
    last = side / 2
    shares = np.minimum(np.arange(layers + 1) / (layers - 2), 1)
    cutoffs = 2 * (last / 2) ** shares
    stopbands = 2**2.1 * (last * 2**0.3 / 2**2.1) ** shares
    rates = np.exp2(np.ceil(np.log2(np.minimum(2 * stopbands, side))))
    sizes = rates + 2 * MARGIN
    sizes[-2:] = side
    wide = np.rint(np.minimum(base / 2 / cutoffs, width))
    wide[-1] = channels
    columns = zip(cutoffs, stopbands, rates, sizes, wide, strict=True)
    return [Geometry(float(c), float(s), int(r), int(n), int(w)) for c, s, r, n, w in columns]


def low_pass(taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor:
    """Kaiser-windowed low-pass filter: [taps] separable, or [taps, taps] if `radial`.

    cutoff, width: of the transition band, as frequencies with `rate` samples
    """
    from scipy import signal, special

    if taps == 1:
        return torch.ones(1)
    if not radial:
        f = signal.firwin(taps, cutoff, width=width, fs=rate)
        return torch.as_tensor(f, dtype=torch.float32)
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    r = np.hypot(*np.meshgrid(x, x))
    f = special.j1(2 * cutoff * (np.pi * r)) / (np.pi * r)
    beta = signal.kaiser_beta(signal.kaiser_atten(taps, width / (rate / 2)))
    window = np.kaiser(taps, beta)
    f *= np.outer(window, window)
    return torch.as_tensor(f / f.sum(), dtype=torch.float32)


def _filtered(x: Tensor, f: Tensor, stride: int = 1) -> Tensor:
    """Convolve every channel with a filter [k] along both sides, or [k, k]."""
    n, c = x.shape[:2]
    x, f = x.reshape(n * c, 1, *x.shape[2:]), f.to(x.dtype).flip(tuple(range(f.dim())))
    if f.dim() == 2:
        x = F.conv2d(x, f[None, None], stride=stride)
    else:
        x = F.conv2d(x, f[None, None, :, None], stride=(stride, 1))
        x = F.conv2d(x, f[None, None, None], stride=(1, stride))
    return x.reshape(n, c, *x.shape[2:])


def filtered_lrelu(
    x: Tensor,
    up_filter: Tensor,
    down_filter: Tensor,
    up: int,
    down: int,
    padding: tuple[int, int, int, int],
    gain: float,
    slope: float,
    clamp: float | None = CLAMP,
) -> Tensor:
    """Filter up, LeakyReLU times `gain`, clamp, filter down (section 3.1, figure 4b).

    padding: left, right, top, bottom, of the enlarged image; negative: cropped
    """
    with torch.autocast(x.device.type, enabled=False):
        x = wide(x)
        if up > 1:
            n, c, h, w = x.shape
            spread = x.new_zeros(n, c, h, up, w, up)
            spread[:, :, :, 0, :, 0] = x
            x = spread.view(n, c, h * up, w * up)
        scale = up if up_filter.dim() == 1 else up**2  # per pass of the filter
        x = _filtered(F.pad(x, padding), up_filter * scale)
        x = F.leaky_relu(x, slope) * gain
        return _filtered(x if clamp is None else x.clamp(-clamp, clamp), down_filter, down)


class FourierInput(nn.Module):
    """Styles [N, style] -> Fourier features [N, C, S, S], turned and shifted by them.

    Frequencies are drawn uniformly in a disc of radius `cutoff`. `transform`, a matrix
    [3, 3] that users may set, turns and shifts all images. Section 3.2 and appendix F.
    """

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, style: int, of: Geometry) -> None:
        super().__init__()
        self.of = of
        freqs = torch.randn(of.channels, 2)
        radii = freqs.square().sum(1, keepdim=True).sqrt()
        freqs = freqs / (radii * radii.square().exp().pow(0.25)) * of.cutoff
        self.weight = nn.Parameter(torch.randn(of.channels, of.channels))
        self.affine = EqualizedLinear(style, 4, gain=1.0)
        nn.init.zeros_(self.affine.weight)
        self.affine.bias.data.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(of.channels) - 0.5)

    def forward(self, w: Tensor) -> Tensor:
        """Features [N, C, S, S] for styles w [N, style]."""
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cos, sin, across, down = wide(t).unbind(1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1).view(-1, 3, 3)
        shift = torch.stack([one, zero, -across, zero, one, -down, zero, zero, one], 1)
        matrix = turn @ shift.view(-1, 3, 3) @ self.transform
        phases = self.phases + (self.freqs @ matrix[:, :2, 2:]).squeeze(2)
        freqs = self.freqs @ matrix[:, :2, :2]
        # What turning and scaling brings beyond the cutoff fades out.
        room = self.of.rate / 2 - self.of.cutoff
        amplitudes = (1 - (freqs.norm(dim=2) - self.of.cutoff) / room).clamp(0, 1)
        centers = torch.arange(self.of.size, device=w.device) + 0.5
        places = (centers - self.of.size / 2) / self.of.rate
        x = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1)  # [S, S, 2]
        x = torch.einsum("hwd,ncd->nhwc", x, freqs) + phases[:, None, None]
        x = torch.sin(2 * math.pi * x) * amplitudes[:, None, None]
        return (x @ (self.weight.T / math.sqrt(self.of.channels))).movedim(3, 1)


class SynthesisLayer(nn.Module):
    """Modulated convolution and filtered LeakyReLU: [N, in, S, S] -> [N, out, S', S'].

    to_rgb: 1x1, without nonlinearity and demodulation. The input is brought to a mean
    square of 1 by `magnitude`, a moving average of it.
    """

    magnitude: Tensor
    up_filter: Tensor
    down_filter: Tensor

    def __init__(
        self,
        style: int,
        before: Geometry,
        after: Geometry,
        kernel: int,
        radial: bool,
        to_rgb: bool,
        filter_size: int = TAPS,
        lrelu_upsampling: int = OVERSAMPLING,
        conv_clamp: float | None = CLAMP,
    ) -> None:
        super().__init__()
        self.to_rgb, self.kernel = to_rgb, 1 if to_rgb else kernel
        self.conv_clamp = conv_clamp
        self.affine = EqualizedLinear(style, before.channels, gain=1.0, bias=1.0)
        self.weight = nn.Parameter(
            torch.randn(after.channels, before.channels, self.kernel, self.kernel)
        )
        self.bias = nn.Parameter(torch.zeros(after.channels))
        rate = max(before.rate, after.rate) * (1 if to_rgb else lrelu_upsampling)
        self.up, self.down = rate // before.rate, rate // after.rate
        up_taps = filter_size * self.up if self.up > 1 and not to_rgb else 1
        down_taps = filter_size * self.down if self.down > 1 and not to_rgb else 1
        total = (after.size - 1) * self.down + 1 - (before.size + self.kernel - 1) * self.up
        total += up_taps + down_taps - 2
        first = (total + self.up) // 2
        self.padding = (first, total - first, first, total - first)
        up = low_pass(up_taps, before.cutoff, 2 * before.half_width, rate)
        down = low_pass(down_taps, after.cutoff, 2 * after.half_width, rate, radial)
        self.register_buffer("magnitude", torch.ones(()))
        self.register_buffer("up_filter", up)
        self.register_buffer("down_filter", down)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map x [N, in, S, S] with styles w [N, style]."""
        style = self.affine(w)
        if self.to_rgb:
            style = style / math.sqrt(self.weight[0].numel())
        kernel = self.weight * style[:, None, :, None, None]
        if not self.to_rgb:
            kernel = kernel * (kernel.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        kernel = kernel * self.magnitude.rsqrt()
        n = len(x)
        x = F.conv2d(
            x.reshape(1, -1, *x.shape[2:]).to(kernel.dtype),
            kernel.flatten(0, 1),
            padding=self.kernel - 1,
            groups=n,
        ).view(n, -1, *(side + self.kernel - 1 for side in x.shape[2:]))
        x = x + self.bias.view(-1, 1, 1)
        gain, slope = (1.0, 1.0) if self.to_rgb else (math.sqrt(2), 0.2)
        return filtered_lrelu(
            x,
            self.up_filter,
            self.down_filter,
            self.up,
            self.down,
            self.padding,
            gain,
            slope,
            self.conv_clamp,
        )

    @torch.no_grad()
    def follow(self, x: Tensor, decay: float) -> None:
        """Move `magnitude` towards the mean square of an input, over all ranks."""
        self.magnitude.lerp_(
            distributed.mean(x.to(self.magnitude.dtype).square().mean()), 1 - decay
        )


class Synthesis(nn.Module):
    """Styles w [N, layers, style] -> images [N, C, S, S].

    radial: configuration R: 1x1 kernels and filters that look alike in all directions,
        but for the last `critical` layers; else T: 3x3 kernels and separable filters
    kernel: side of the kernels; None: by `radial`
    depth: layers before the one to RGB
    filter_size: taps of a filter for each sampling rate that it changes by
    lrelu_upsampling: sampling rate of the nonlinearity, relative to the layer's
    conv_clamp: limit of the activations; None: without
    output_scale: what the output is multiplied with
    plan: of the input and of every layer but the one to RGB, in place of `geometry`'s
    """

    def __init__(
        self,
        style: int,
        side: int,
        channels: int,
        depth: int = 14,
        base: int = 32_768,
        width: int = 512,
        radial: bool = False,
        kernel: int | None = None,
        critical: int = 2,
        filter_size: int = TAPS,
        lrelu_upsampling: int = OVERSAMPLING,
        conv_clamp: float | None = CLAMP,
        output_scale: float = OUTPUT_SCALE,
        plan: Sequence[Geometry] | None = None,
    ) -> None:
        super().__init__()
        if plan is None:
            if side < 16 or side & (side - 1):
                raise UserError(
                    f"StyleGAN3 makes squares of 16, 32, 64, ... pixels a side; got {side}"
                )
            if depth < 4:
                raise UserError(f"StyleGAN3's synthesis needs at least 4 layers; got depth={depth}")
            plan = geometry(side, channels, depth, base, width)
        depth = len(plan) - 1
        self.layers = depth + 2  # the input and the layer to RGB have styles, too
        self.output_scale = output_scale
        self.input = FourierInput(style, plan[0])
        kernel = (1 if radial else 3) if kernel is None else kernel
        self.blocks = nn.ModuleList(
            SynthesisLayer(
                style,
                plan[max(i - 1, 0)],
                plan[i],
                kernel,
                radial and i < depth - critical,
                i == depth,
                filter_size,
                lrelu_upsampling,
                conv_clamp,
            )
            for i in range(depth + 1)
        )

    def forward(self, w: Tensor, decay: float | None = None) -> Tensor:
        """`decay`: of the magnitudes' moving averages, which follow if it is given."""
        x = self.input(w[:, 0])
        for i, block in enumerate(self.blocks):
            if decay is not None:
                block.follow(x, decay)  # pyright: ignore[reportCallIssue]
            x = block(x, w[:, i + 1])
        return x * self.output_scale


class Generator(StyleBased):
    """StyleGAN3's generator.

    style: the length of w; `mapping`: layers of the mapping network; the rest as of
    `Synthesis`.
    """

    def __init__(
        self,
        latent: int = 512,
        style: int = 512,
        mapping: int = 2,
        depth: int = 14,
        base: int = 32_768,
        width: int = 512,
        radial: bool = False,
        size: Size = 256,
        channels: int = 3,
        classes: int = 0,
        kernel: int | None = None,
        critical: int = 2,
        filter_size: int = TAPS,
        lrelu_upsampling: int = OVERSAMPLING,
        conv_clamp: float | None = CLAMP,
        output_scale: float = OUTPUT_SCALE,
        plan: Sequence[Geometry] | None = None,
    ) -> None:
        height, breadth = sides(size)
        if height != breadth:
            raise UserError(
                f"StyleGAN3 makes squares; got {height}x{breadth}: choose one side as size"
            )
        synthesis = Synthesis(
            style,
            height,
            channels,
            depth,
            base,
            width,
            radial,
            kernel,
            critical,
            filter_size,
            lrelu_upsampling,
            conv_clamp,
            output_scale,
            plan,
        )
        super().__init__(Mapping(latent, style, mapping, classes, gain=1.0), synthesis)
