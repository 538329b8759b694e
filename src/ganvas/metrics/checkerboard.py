"""Checkerboard patterns: peaks of the spectrum that enlarging layers leave in images.

Odena et al., 2016, Deconvolution and Checkerboard Artifacts, distill.pub:
kernels whose side is no multiple of their stride overlap unevenly, which repeats with
the stride. In the spectrum, such a pattern is a peak at half of the sampling rate, and
at a quarter of it if an earlier layer is the cause.
"""

from __future__ import annotations

import torch
from torch import Tensor

PERIODS = (2, 4)  # pixels
_LEAST = 8  # pixels of a side, below which frequencies have no neighbors


def checkerboard(generated: Tensor, real: Tensor) -> float:
    """How many times as high the peaks at `PERIODS` are in generated as in real images.

    A peak's height is the mean power of its frequency over that of its neighbors, along
    rows and columns. The largest of the ratios counts. About 1: no pattern. Images are
    gray means over the channels.

    generated, real: images [N, C, H, W] of one size, with sides of at least 8 px

    Returns the ratio; 1 for smaller images.
    """
    ratios = [1.0]
    for axis in (2, 3):
        if min(generated.shape[2:]) < _LEAST:
            break
        ours, theirs = (_spectrum(x, axis) for x in (generated, real))
        for period in PERIODS:
            ratios.append(_peak(ours, period) / _peak(theirs, period))
    return max(ratios)


def _spectrum(x: Tensor, axis: int) -> Tensor:
    """The mean power at each frequency along an axis, [side // 2 + 1], in float64."""
    gray = x.detach().cpu().double().mean(1, keepdim=True)
    power = torch.fft.rfft(gray - gray.mean(axis, keepdim=True), dim=axis).abs().square()
    return power.movedim(axis, -1).flatten(0, -2).mean(0)


def _peak(power: Tensor, period: int) -> float:
    """The power at a period over the geometric mean of its neighbors' power."""
    side = 2 * (len(power) - 1)
    k = round(side / period)
    around = torch.stack([power[k - 1], power[k + 1 if k + 1 < len(power) else k - 1]])
    tiny = 1e-12 * float(power.sum()) + 1e-30
    return (float(power[k]) + tiny) / (float(around.prod().sqrt()) + tiny)
