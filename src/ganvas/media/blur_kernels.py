"""Blur kernels of photographs, and sharpening.

Real-ESRGAN, Wang et al., 2021, arXiv:2107.10833, section 3 and appendix A. Kernels are
float32 [side, side] and sum to 1; `side` is odd.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Profile = Literal["gaussian", "generalized", "plateau"]


def gaussian(
    side: int,
    across: float,
    down: float,
    angle: float = 0.0,
    profile: Profile = "gaussian",
    beta: float = 1.0,
) -> Tensor:
    """A kernel of the quadratic form q = p^T C^-1 p of the distance p to the middle.

    exp(-q / 2); generalized: exp(-q^beta / 2); plateau: 1 / (1 + q^beta).

    across, down: standard deviations in pixels along the axes before the turn
    angle: of the turn, in radians
    beta: shape of the last two
    """
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]],
        dtype=torch.float64,
    )
    spread = torch.diag(torch.tensor([across**2, down**2], dtype=torch.float64))
    inverse = torch.linalg.inv(turn @ spread @ turn.T)
    places = torch.stack(torch.meshgrid(*[_offsets(side)] * 2, indexing="xy"), -1)
    q = torch.einsum("ija,ab,ijb->ij", places, inverse, places)
    weights = {
        "gaussian": lambda: (-q / 2).exp(),
        "generalized": lambda: (-(q**beta) / 2).exp(),
        "plateau": lambda: 1 / (1 + q**beta),
    }[profile]()
    return (weights / weights.sum()).float()


def sinc(side: int, cutoff: float, padded: int | None = None) -> Tensor:
    """The circular low-pass filter, which rings: cutoff J1(cutoff r) / (2 pi r).

    cutoff: in radians per pixel, up to pi
    padded: side of the result, with zeros around; None: `side`
    """
    x = _offsets(side)
    r = (x[:, None] ** 2 + x[None] ** 2).sqrt()
    weights = cutoff * torch.special.bessel_j1(cutoff * r) / (2 * math.pi * r)
    weights[side // 2, side // 2] = cutoff**2 / (4 * math.pi)
    weights = (weights / weights.sum()).float()
    margin = ((padded or side) - side) // 2
    return F.pad(weights, (margin,) * 4)


def filtered(x: Tensor, kernels: Tensor) -> Tensor:
    """Filter images x [N, C, H, W] by kernels [N or 1, side, side]."""
    n, c, h, w = x.shape
    reach = kernels.shape[-1] // 2
    x = F.pad(x, (reach,) * 4, mode="reflect")
    each = kernels.to(x.dtype).to(x.device).expand(n, -1, -1).repeat_interleave(c, 0)[:, None]
    return F.conv2d(x.reshape(1, n * c, *x.shape[2:]), each, groups=n * c).view(n, c, h, w)


def sharpened(x: Tensor, radius: int = 51, weight: float = 0.5, threshold: float = 10.0) -> Tensor:
    """Unsharp masking where the difference is seen, as the targets of Real-ESRGAN.

    x: images [N, C, H, W] in [0, 1], whose sides are above `radius` / 2
    threshold: of the difference, in levels of 255
    """
    kernel = _gaussian_on(x.device, radius)
    detail = x - filtered(x, kernel)
    seen = filtered((detail.abs() * 255 > threshold).to(x.dtype), kernel)
    return seen * (x + weight * detail).clamp(0, 1) + (1 - seen) * x


@lru_cache(maxsize=8)
def _gaussian_on(device: torch.device, side: int) -> Tensor:
    """The kernel of OpenCV's default deviation, [1, side, side].

    Cached, since its values come from the processor.
    """
    sigma = 0.3 * ((side - 1) * 0.5 - 1) + 0.8
    return gaussian(side, sigma, sigma)[None].to(device)


def _offsets(side: int) -> Tensor:
    return torch.arange(side, dtype=torch.float64) - side // 2
