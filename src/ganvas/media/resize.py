"""Bicubic resizing as in MATLAB, the standard of super-resolution."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ganvas.core.errors import UserError


def bicubic(
    x: Tensor,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    border: Literal["mirror", "replicate"] = "mirror",
) -> Tensor:
    """Resize images as MATLAB's `imresize(x, scale)` does.

    Keys' cubic kernel (1981, a = -1/2), widened by 1 / scale for reductions. Floats
    keep their dtype, are neither rounded nor clamped, and are differentiable. uint8 is
    rounded after the first side (that of the smaller scale; rows if they are equal) and
    after the second, as in MATLAB with images of 8 bits.

    x: floats or uint8 [N, C, H, W]
    scale: factor on both sides, which are rounded up, e.g. 1/4; or:
    size: (height, width) in pixels
    border: MATLAB mirrors beyond the border. Its older releases repeated the last
        pixel, as did the published reductions of Set5: `bicubic(x, 1/4,
        border="replicate")` of uint8 x, whose sides are cut to multiples of 4, gives
        those bit by bit.

    Raises `UserError` for other arguments.
    """
    if (scale is None) == (size is None):
        raise UserError("give either the scale or the size (height, width) of a resize")
    eight = x.dtype == torch.uint8
    if x.ndim != 4 or not (eight or x.is_floating_point()):
        raise UserError(
            f"images to resize are floats or uint8 [N, C, height, width]; got {x.dtype} "
            f"{list(x.shape)}"
        )
    if border not in ("mirror", "replicate"):
        raise UserError(f"a border is mirror or replicate; got {border!r}")
    if size is None:
        assert scale is not None
        if not (math.isfinite(scale) and scale > 0):
            raise UserError(f"the scale of a resize is above 0; got {scale}")
        scales = (scale, scale)
        size = (math.ceil(x.shape[-2] * scale - 1e-9), math.ceil(x.shape[-1] * scale - 1e-9))
    else:
        scales = (size[0] / x.shape[-2], size[1] / x.shape[-1])
    if min(size) < 1:
        raise UserError(f"images cannot be resized to {size[0]}x{size[1]} (height x width)")
    out = x.double()
    for axis in sorted((0, 1), key=lambda i: scales[i]):
        matrix = _resizing(x.shape[axis - 2], size[axis], scales[axis], border).to(x.device)
        out = matrix @ out if axis == 0 else out @ matrix.T
        if eight:
            out = (out + 0.5).floor().clamp(0, 255)  # halves go up
    return out.to(x.dtype)


def _resizing(n: int, m: int, scale: float, border: str) -> Tensor:
    """The matrix [m, n] that resizes a line of n pixels to m."""
    shrink = min(scale, 1.0)
    reach = math.ceil(2 / shrink) + 1
    center = (
        torch.arange(m, dtype=torch.float64) + 0.5
    ) / scale - 0.5  # of each new pixel, in old pixels
    taps = center.floor()[:, None] + torch.arange(-reach, reach + 1)
    t = ((taps - center[:, None]) * shrink).abs()
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    weights = torch.where(t <= 1, near, torch.where(t <= 2, far, 0.0))
    weights = weights / weights.sum(1, keepdim=True)
    index = taps.long()
    if border == "mirror":  # 0 .. n-1, n-1 .. 0, and so on
        index = index % (2 * n)
        index = torch.minimum(index, 2 * n - 1 - index)
    return torch.zeros(m, n, dtype=torch.float64).scatter_add_(1, index.clamp(0, n - 1), weights)
