"""Two pictures of the same thing, compared pixel by pixel, and the reduction that super-resolution is measured by.

The same pictures differ by 4 dB between protocols (colour or luma, borders shaved or not), so a figure is only told with the
name of its protocol. Images are [N, 3 or 1, H, W] in [0, 1]; what lies a little outside is clamped, as saving does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.errors import UserError, did_you_mean

WINDOW, SIGMA = 11, 1.5  # SSIM's Gaussian window, in pixels
C1, C2 = 0.01**2, 0.03**2  # SSIM's stabilisers, for values in [0, 1]
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # MS-SSIM's exponents, finest scale first


@dataclass(frozen=True)
class Protocol:
    """What is compared: all channels, or the luma of colour images (gray ones are taken as they are), without `shave`
    pixels at each border."""

    name: str
    channels: Literal["rgb", "y"]
    shave: int

    def __call__(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> what is compared, float64."""
        x = images.to(torch.float64).clamp(0, 1)
        if self.channels == "y" and x.shape[1] == 3:
            x = luma(x)
        s = self.shave
        return x[..., s : x.shape[-2] - s, s : x.shape[-1] - s]


PROTOCOLS = {
    p.name: p for p in (Protocol("rgb", "rgb", 0), Protocol("rgb-crop4", "rgb", 4), Protocol("y-crop4", "y", 4))
}


def protocol_named(name: str) -> Protocol:
    """Raises `UserError` for a name that is no protocol."""
    if name not in PROTOCOLS:
        raise UserError(f"there is no protocol {name!r} for comparing pixels. {did_you_mean(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def luma(x: Tensor) -> Tensor:
    """MATLAB's rgb2ycbcr, its Y only (ITU-R BT.601, 16 to 235 of 255): RGB [N, 3, H, W] in [0, 1] -> [N, 1, H, W] in
    [16/255, 235/255], not rounded."""
    weights = x.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return ((x * weights).sum(1, keepdim=True) + 16) / 255


def psnr(a: Tensor, b: Tensor, protocol: str = "y-crop4") -> Tensor:
    """Peak signal to noise ratio `10 log10(1 / mean((a - b)^2))` in dB, [N], float64; infinite for equal images.

    Raises `UserError` for unlike shapes, for pixels that are NaN or far outside [0, 1], and for an unknown protocol."""
    a, b = _compared(a, b, protocol, least=1)
    return -10 * (a - b).square().mean((1, 2, 3)).log10()


def ssim(a: Tensor, b: Tensor, protocol: str = "y-crop4") -> Tensor:
    """Structural similarity, [N], float64, 1 for equal images. Wang et al., 2004, Image Quality Assessment: From Error
    Visibility to Structural Similarity, equation 13, with its window (Gaussian, 11x11, sigma 1.5), only where that lies
    inside the image, averaged over pixels and channels. Raises `UserError` as `psnr` does, and for images smaller than the
    window."""
    return _similarity(*_compared(a, b, protocol, least=WINDOW))[0]


def ms_ssim(a: Tensor, b: Tensor, protocol: str = "y-crop4") -> Tensor:
    """Multi-scale structural similarity, [N], float64, 1 for equal images. Wang et al., 2003, Multi-scale structural
    similarity for image quality assessment, equation 7: contrast and structure at 5 scales (each the mean of 2x2 pixels of
    the one before), luminance at the last. A scale whose mean contrast and structure is negative counts as 0, where the
    power of the paper is not a number. Needs sides of at least 176 pixels within the protocol."""
    a, b = _compared(a, b, protocol, least=WINDOW << (len(SCALES) - 1))
    result = a.new_ones(len(a))
    for i, exponent in enumerate(SCALES):
        whole, structure = _similarity(a, b)
        last = i == len(SCALES) - 1
        result = result * (whole if last else structure).clamp(min=0) ** exponent
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return result


def _similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(SSIM, its contrast and structure alone), each the mean over an image, [N]."""
    at = torch.arange(WINDOW, dtype=a.dtype, device=a.device) - WINDOW // 2
    g = (-at.square() / (2 * SIGMA**2)).exp()
    g = g / g.sum()

    def blurred(x: Tensor) -> Tensor:
        lines = F.conv2d(x.flatten(0, 1).unsqueeze(1), g.view(1, 1, -1, 1))
        return F.conv2d(lines, g.view(1, 1, 1, -1)).unflatten(0, x.shape[:2]).squeeze(2)

    mean_a, mean_b, aa, bb, ab = (blurred(x) for x in (a, b, a * a, b * b, a * b))
    structure = (2 * (ab - mean_a * mean_b) + C2) / (aa - mean_a**2 + bb - mean_b**2 + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return (luminance * structure).mean((1, 2, 3)), structure.mean((1, 2, 3))


def _compared(a: Tensor, b: Tensor, protocol: str, least: int) -> tuple[Tensor, Tensor]:
    """Both images as the protocol wants them, checked. `least`: the shortest side that remains."""
    chosen = protocol_named(protocol)
    if a.shape != b.shape or a.ndim != 4 or a.shape[1] not in (1, 3):
        raise UserError(
            f"two sets of images of one shape [N, 1 or 3, height, width] are compared; got {list(a.shape)} and {list(b.shape)}"
        )
    for x in (a, b):
        if not bool(torch.isfinite(x).all()):
            raise UserError("these images have NaN or infinite pixels, of which no measure can be taken")
        if x.numel() and (x.min() < -0.5 or x.max() > 1.5):
            raise UserError(
                f"images are compared in [0, 1], and these reach from {float(x.min()):.3g} to {float(x.max()):.3g}: "
                "(x + 1) / 2 brings them from [-1, 1], x / 255 from 8 bits"
            )
    short = min(a.shape[-2:]) - 2 * chosen.shave
    if short < least:
        raise UserError(
            f"images of {a.shape[-2]}x{a.shape[-1]} (height x width) are too small: this measure under {protocol} needs "
            f"sides of at least {least + 2 * chosen.shave} pixels"
        )
    return chosen(a), chosen(b)


# ---------------------------------------------------------------- MATLAB's imresize


def bicubic(
    x: Tensor,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    border: Literal["mirror", "replicate"] = "mirror",
) -> Tensor:
    """Images [N, C, H, W] resized as MATLAB's `imresize(x, scale)` does: Keys' cubic kernel (1981, a = -1/2), widened by
    1 / scale where it reduces. Floats come back in the same dtype, neither rounded nor clamped, and differentiable. uint8
    comes back as uint8, rounded after the first side (that of the smaller scale, rows where they are equal) and after the
    second, as MATLAB does with images of 8 bits.

    `scale`: 1/4 for a quarter of the sides, rounded up; or `size`: (height, width) in pixels. `border`: MATLAB mirrors beyond
    the border; its older releases repeated the last pixel, and the reductions of Set5 that papers pass around were made so:
    `bicubic(modcrop(x, 4), 1/4, border="replicate")` of uint8 x gives those bit by bit. Raises `UserError` for anything
    else."""
    if (scale is None) == (size is None):
        raise UserError("say either by which scale or to which size (height, width) images are resized")
    eight = x.dtype == torch.uint8
    if x.ndim != 4 or not (eight or x.is_floating_point()):
        raise UserError(f"images to resize are floats or uint8 [N, C, height, width]; got {x.dtype} {list(x.shape)}")
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


def modcrop(x: Tensor, multiple: int) -> Tensor:
    """x [N, C, H, W] without the last rows and columns beyond a multiple, as super-resolution papers crop their
    originals."""
    height, width = (side - side % multiple for side in x.shape[-2:])
    return x[..., :height, :width]


def _resizing(n: int, m: int, scale: float, border: str) -> Tensor:
    """The matrix [m, n] that resizes a line of n pixels to m."""
    shrink = min(scale, 1.0)
    reach = math.ceil(2 / shrink) + 1
    centre = (torch.arange(m, dtype=torch.float64) + 0.5) / scale - 0.5  # of each new pixel, in old pixels
    taps = centre.floor()[:, None] + torch.arange(-reach, reach + 1)
    t = ((taps - centre[:, None]) * shrink).abs()
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    weights = torch.where(t <= 1, near, torch.where(t <= 2, far, 0.0))
    weights = weights / weights.sum(1, keepdim=True)
    index = taps.long()
    if border == "mirror":  # 0 .. n-1, n-1 .. 0, and so on
        index = index % (2 * n)
        index = torch.minimum(index, 2 * n - 1 - index)
    return torch.zeros(m, n, dtype=torch.float64).scatter_add_(1, index.clamp(0, n - 1), weights)
