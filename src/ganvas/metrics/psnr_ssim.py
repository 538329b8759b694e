"""PSNR, SSIM and MS-SSIM of pairs of images.

The same pair differs by 4 dB between protocols (color or luma, borders shaved or
not), so a figure needs the name of its protocol. Images are [N, 3 or 1, H,
W] in [0, 1]; what lies a little outside is clamped, as saving does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.core.errors import UserError, did_you_mean

WINDOW, SIGMA = 11, 1.5  # SSIM's Gaussian window, in pixels
C1, C2 = 0.01**2, 0.03**2  # SSIM's stabilisers, for values in [0, 1]
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # MS-SSIM's exponents, finest scale first


@dataclass(frozen=True)
class Protocol:
    """Region and channels of images that are compared.

    All channels, or the luma of color images (gray ones are taken as they are), without
    `shave` pixels at each border. `all` takes images of any number of channels: the
    squared error and the similarity are averaged over them.
    """

    name: str
    channels: Literal["rgb", "y", "all"]
    shave: int

    def __call__(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> what is compared, float64."""
        x = images.to(torch.float64).clamp(0, 1)
        if self.channels == "y" and x.shape[1] == 3:
            x = luma(x)
        s = self.shave
        return x[..., s : x.shape[-2] - s, s : x.shape[-1] - s]


PROTOCOLS = {
    p.name: p
    for p in (
        Protocol("rgb", "rgb", 0),
        Protocol("rgb-crop4", "rgb", 4),
        *(Protocol(f"y-crop{n}", "y", n) for n in (2, 3, 4, 8)),
        Protocol("all", "all", 0),
        *(Protocol(f"all-crop{n}", "all", n) for n in (2, 3, 4, 8)),
    )
}


def protocol_named(name: str) -> Protocol:
    """Raises `UserError` for a name that is no protocol."""
    if name not in PROTOCOLS:
        raise UserError(
            f"there is no protocol {name!r} for comparing pixels. {did_you_mean(name, PROTOCOLS)}"
        )
    return PROTOCOLS[name]


def luma(x: Tensor) -> Tensor:
    """MATLAB's rgb2ycbcr, its Y only (ITU-R BT.601, 16 to 235 of 255).

    RGB [N, 3, H, W] in [0, 1] -> [N, 1, H, W] in [16/255, 235/255], not rounded.
    """
    weights = x.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return ((x * weights).sum(1, keepdim=True) + 16) / 255


def psnr(a: Tensor, b: Tensor, protocol: str = "y-crop4", mask: Tensor | None = None) -> Tensor:
    """Peak signal to noise ratio `10 log10(1 / mean((a - b)^2))` in dB, [N], float64.

    Infinite for equal images.

    mask: bool [N, 1, H, W]; the mean is over the marked pixels alone. Raises
    `UserError` for unlike shapes, for pixels that are NaN or far outside [0, 1], for an
    unknown protocol, and if nothing is marked within the protocol's borders.
    """
    where = None if mask is None else _marked(mask, a, protocol)
    a, b = _compared(a, b, protocol, least=1)
    return -10 * _mean((a - b).square(), where).log10()


def ssim(a: Tensor, b: Tensor, protocol: str = "y-crop4", mask: Tensor | None = None) -> Tensor:
    """Structural similarity, [N], float64, 1 for equal images.

    Wang et al., 2004, Image Quality Assessment: From Error Visibility to Structural
    Similarity, equation 13, with its window (Gaussian, 11x11, sigma 1.5), only where
    that lies inside the image, averaged over pixels and channels. `mask`: bool [N, 1,
    H, W]; only windows whose middle is marked count. Raises `UserError` as `psnr` does,
    and for images smaller than the window.
    """
    where = None if mask is None else _marked(mask, a, protocol, WINDOW // 2)
    return _mean(_similarity(*_compared(a, b, protocol, least=WINDOW))[0], where)


def ms_ssim(a: Tensor, b: Tensor, protocol: str = "y-crop4") -> Tensor:
    """Multi-scale structural similarity, [N], float64, 1 for equal images.

    Wang et al., 2003, Multi-scale structural similarity for image quality assessment,
    equation 7: contrast and structure at 5 scales (each the mean of 2x2 pixels of the
    one before), luminance at the last. A scale whose mean contrast and structure is
    negative counts as 0, where the power of the paper is not a number. Needs sides of
    at least 176 pixels within the protocol.
    """
    a, b = _compared(a, b, protocol, least=WINDOW << (len(SCALES) - 1))
    result = a.new_ones(len(a))
    for i, exponent in enumerate(SCALES):
        whole, structure = _similarity(a, b)
        last = i == len(SCALES) - 1
        result = result * _mean(whole if last else structure).clamp(min=0) ** exponent
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return result


def _similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(SSIM, its contrast and structure alone), of each window inside the image."""
    at = torch.arange(WINDOW, dtype=a.dtype, device=a.device) - WINDOW // 2
    g = (-at.square() / (2 * SIGMA**2)).exp()
    g = g / g.sum()

    def blurred(x: Tensor) -> Tensor:
        lines = F.conv2d(x.flatten(0, 1).unsqueeze(1), g.view(1, 1, -1, 1))
        return F.conv2d(lines, g.view(1, 1, 1, -1)).unflatten(0, x.shape[:2]).squeeze(2)

    mean_a, mean_b, aa, bb, ab = (blurred(x) for x in (a, b, a * a, b * b, a * b))
    structure = (2 * (ab - mean_a * mean_b) + C2) / (aa - mean_a**2 + bb - mean_b**2 + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance * structure, structure


def _mean(x: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean [N] over channels and pixels, within `where` [N, 1, H, W] if given."""
    if where is None:
        return x.mean((1, 2, 3))
    return (x.mean(1, keepdim=True) * where).sum((1, 2, 3)) / where.sum((1, 2, 3))


def _marked(mask: Tensor, images: Tensor, protocol: str, border: int = 0) -> Tensor:
    """A mask within the protocol's borders and a window's."""
    if mask.shape != (len(images), 1, *images.shape[-2:]) or mask.dtype != torch.bool:
        raise UserError(
            f"masks for images {list(images.shape)} are bool [{len(images)}, 1, "
            f"{images.shape[-2]}, {images.shape[-1]}]; got "
            f"{mask.dtype} {list(mask.shape)}"
        )
    s = protocol_named(protocol).shave + border
    inner = mask[..., s : mask.shape[-2] - s, s : mask.shape[-1] - s]
    if not bool(inner.flatten(1).any(1).all()):
        raise UserError(
            f"a mask marks nothing farther than {s} pixels from the image's border, where "
            f"{protocol} compares"
        )
    return inner


def _compared(a: Tensor, b: Tensor, protocol: str, least: int) -> tuple[Tensor, Tensor]:
    """Both images as the protocol wants them, checked.

    least: the shortest side that remains.
    """
    chosen = protocol_named(protocol)
    any_channels = chosen.channels == "all"
    if a.shape != b.shape or a.ndim != 4 or (a.shape[1] not in (1, 3) and not any_channels):
        raise UserError(
            "two sets of images of one shape [N, 1 or 3, height, width] are compared; got "
            f"{list(a.shape)} and {list(b.shape)}"
        )
    for x in (a, b):
        if not bool(torch.isfinite(x).all()):
            raise UserError(
                "these images have NaN or infinite pixels, of which no measure can be taken"
            )
        if x.numel() and (x.min() < -0.5 or x.max() > 1.5):
            raise UserError(
                f"images are compared in [0, 1], and these reach from {float(x.min()):.3g} to "
                f"{float(x.max()):.3g}: "
                "(x + 1) / 2 brings them from [-1, 1], x / 255 from 8 bits"
            )
    short = min(a.shape[-2:]) - 2 * chosen.shave
    if short < least:
        raise UserError(
            f"images of {a.shape[-2]}x{a.shape[-1]} (height x width) are too small: this measure "
            f"under {protocol} needs "
            f"sides of at least {least + 2 * chosen.shave} pixels"
        )
    return chosen(a), chosen(b)


# ---------------------------------------------------------------- MATLAB's imresize
