"""Color spaces of colorization: CIE 1976 L*a*b* of sRGB under D65, and luma."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

# IEC 61966-2-1: linear sRGB -> XYZ, each row divided by D65's white, which is then 1.
_XYZ = torch.tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_XYZ = _XYZ / _XYZ.sum(1, keepdim=True)
_RGB = torch.linalg.inv(_XYZ)
_EDGE = 6 / 29  # below it, a line replaces the cube root
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: of red, green and blue, as Pillow's convert("L")
_ROUNDING = 1e-5  # tolerance of the gamut, so that float32 white and black are in it


def by_pixel(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Mark a function of images that computes every pixel from that pixel alone.

    Objects that implement torch's function protocol (lazy images of `inference.tiling`)
    get one call for the whole function, instead of one for each operation in it.
    """

    @wraps(fn)
    def called(x: Tensor) -> Tensor:
        return handle_torch_function(called, (x,), x) if has_torch_function_unary(x) else fn(x)

    marked: Any = called
    marked.by_pixel = True
    return called


@by_pixel
def to_lab(x: Tensor) -> Tensor:
    """Convert RGB images [N, 3, H, W] in [-1, 1] to L*a*b*.

    L is in [0, 100], a and b are in about [-110, 110].
    """
    s = (x + 1) / 2
    linear = torch.where(s <= 0.04045, s / 12.92, ((s.clamp(min=0.04) + 0.055) / 1.055) ** 2.4)
    t = _mixed(_XYZ, linear)
    f = torch.where(t > _EDGE**3, t.clamp(min=_EDGE**3) ** (1 / 3), t / (3 * _EDGE**2) + 4 / 29)
    fx, fy, fz = f.unbind(1)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], 1)


@by_pixel
def to_rgb(lab: Tensor) -> Tensor:
    """The inverse of `to_lab`.

    Colors that sRGB lacks lie outside [-1, 1], so that gradients can bring them back.
    """
    linear = _linear(lab)
    s = torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=0.003) ** (1 / 2.4) - 0.055
    )
    return 2 * s - 1


@by_pixel
def in_gamut(lab: Tensor) -> Tensor:
    """Reduce the chroma of L*a*b* images [N, 3, H, W] to the gamut of sRGB.

    Lightness, which must be in [0, 100], and hue stay. (Clipping red, green and blue
    instead changes the lightness by up to 19 of 100.) For gradients the reduction is a
    constant, so that they reach colors outside, too.
    """
    with torch.no_grad():
        factor = torch.ones_like(lab[:, 0])
        outside = ~_within(lab)
        if outside.any():
            # Most colors are inside, and a search costs more than all else.
            factor[outside] = _reduction(lab.movedim(1, 3)[outside])
    return torch.cat([lab[:, :1], lab[:, 1:] * factor.unsqueeze(1)], 1)


def _reduction(colors: Tensor) -> Tensor:
    """Factors [K] that bring the chroma of L*a*b* colors [K, 3] into sRGB."""
    lightness, chroma = colors.T.reshape(1, 3, -1, 1).split((1, 2), 1)
    low, high = torch.zeros_like(lightness), torch.ones_like(lightness)
    for _ in range(22):  # bisection, to the precision of float32: a step would make seams in tiles
        middle = (low + high) / 2
        fits = _within(torch.cat([lightness, middle * chroma], 1)).unsqueeze(1)
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return low.flatten()


def _within(lab: Tensor) -> Tensor:
    """Whether sRGB has these colors: [N, 3, H, W] -> bool [N, H, W]."""
    linear = _linear(lab)
    return ((linear > -_ROUNDING) & (linear < 1 + _ROUNDING)).all(1)


def _linear(lab: Tensor) -> Tensor:
    """L*a*b* -> linear sRGB, which is in [0, 1] for colors that sRGB has."""
    lightness, a, b = lab.unbind(1)
    fy = (lightness + 16) / 116
    f = torch.stack([fy + a / 500, fy, fy - b / 200], 1)
    t = torch.where(f > _EDGE, f**3, 3 * _EDGE**2 * (f - 4 / 29))
    return _mixed(_RGB, t)


def _mixed(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply channels by a matrix.

    Written out, since autocast would round a matrix product to 8 bits.
    """
    return (matrix.to(x).view(1, 3, 3, 1, 1) * x.unsqueeze(1)).sum(2)


def gray(x: Tensor) -> Tensor:
    """Images [N, 1 or 3, H, W] in [-1, 1] without chroma, of the same lightness."""
    if x.shape[1] == 1:
        return x
    lab = to_lab(x)
    return to_rgb(torch.cat([lab[:, :1], torch.zeros_like(lab[:, 1:])], 1)).clamp(-1, 1)


@by_pixel
def luma(x: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 of RGB images [N, 3, H, W]: [N, 1, H, W] in their range."""
    red, green, blue = x.split(1, 1)
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


@by_pixel
def within_range(x: Tensor) -> Tensor:
    """Reduce the chroma of RGB images [N, 3, H, W] until they are in [-1, 1].

    Luma, which must be in [-1, 1], and the ratio of U to V stay. For gradients the
    reduction is a constant, so that they reach colors outside, too.
    """
    y = luma(x)
    chroma = x - y
    with torch.no_grad():
        room = torch.where(chroma > 0, 1 - y, 1 + y)  # to the limit that a channel goes to
        factor = (room / chroma.abs().clamp(min=1e-12)).amin(1, keepdim=True).clamp(0, 1)
    return y + factor * chroma


@by_pixel
def gray_luma(x: Tensor) -> Tensor:
    """Images [N, 1 or 3, H, W] in [-1, 1] without chroma, of the same luma."""
    return x if x.shape[1] == 1 else luma(x).repeat(1, 3, 1, 1)
