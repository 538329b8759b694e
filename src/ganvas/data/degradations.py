"""What can be made of a photograph, so that a network learns the way back. Images [N, C, H, W] in [-1, 1] -> the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.media.color import gray
from ganvas.media.resize import bicubic


def reduced(x: Tensor, scale: int) -> Tensor:
    """`scale` times smaller, bicubic as MATLAB's, rounded to 8 bits."""
    return bicubic(x, 1 / scale).add_(1).mul_(127.5).round_().clamp_(0, 255).div_(127.5).sub_(1)


def edges(x: Tensor) -> Tensor:
    """Dark lines on white, as a pencil would draw them: the difference of two Gaussian blurs of the lightness, XDoG.
    Winnemöller et al., 2012, XDoG: An eXtended difference-of-Gaussians compendium, equations 1 and 3. Sigma 1 and 1.6, tau .98;
    threshold and steepness are ours. Not the paper's HED, which is a network."""
    light = gray(x)[:, :1] * 0.5 + 0.5
    difference = _blurred(light, 1.0) - 0.98 * _blurred(light, 1.6)
    drawn = 1 + torch.tanh(60 * (difference - 0.002)).clamp(max=0)  # 1 where it is even or bright, to 0 in lines
    return (2 * drawn - 1).expand_as(x).contiguous()


def _blurred(x: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    at = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    line = (-at.square() / (2 * sigma**2)).exp()
    line = line / line.sum()
    x = F.pad(x, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(x, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))


KINDS: dict[str, Callable[[Tensor], Tensor]] = {"gray": gray, "edges": edges}
