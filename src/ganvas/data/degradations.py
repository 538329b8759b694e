"""Degradations of photographs that a network learns to invert.

Images are [N, C, H, W] in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.media.color import gray, gray_luma
from ganvas.media.resize import bicubic


def reduced(x: Tensor, scale: int, steps: float | None = 255) -> Tensor:
    """Reduce images by `scale`, bicubic as MATLAB's, rounded as files are.

    steps: from -1 to 1 in a file; None: floats, which are not rounded
    """
    small = bicubic(x, 1 / scale)
    if steps is None:
        return small.clamp_(-1, 1)
    half = steps / 2
    return small.add_(1).mul_(half).round_().clamp_(0, steps).div_(half).sub_(1)


def edges(x: Tensor) -> Tensor:
    """Dark lines on white, like a pencil drawing: XDoG of the lightness.

    The difference of two Gaussian blurs. Winnemöller et al., 2012, XDoG: An eXtended
    difference-of-Gaussians compendium, equations 1 and 3. Sigma 1 and 1.6, tau .98;
    threshold and steepness are ours. pix2pix uses HED instead, which is a network.
    """
    light = gray(x)[:, :1] * 0.5 + 0.5
    difference = _blurred(light, 1.0) - 0.98 * _blurred(light, 1.6)
    lines = 1 + torch.tanh(60 * (difference - 0.002)).clamp(
        max=0
    )  # 1 in even or bright areas, to 0 in lines
    return (2 * lines - 1).expand_as(x).contiguous()


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of one channel [N, 1, H, W], with replicated borders."""
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    line = (-offsets.square() / (2 * sigma**2)).exp()
    line = line / line.sum()
    x = F.pad(x, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(x, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))


def same(x: Tensor) -> Tensor:
    """The images themselves, for autoencoders."""
    return x


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "gray": gray,
    "luma": gray_luma,
    "edges": edges,
    "same": same,
}
