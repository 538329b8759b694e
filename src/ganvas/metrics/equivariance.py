"""Equivariance: do images shift and turn exactly as their generator's input does?

Alias-Free Generative Adversarial Networks (StyleGAN3), Karras et al., 2021,
arXiv:2106.12423, section 2.2 and appendix E.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas.core.errors import UserError

PEAK = 2.0  # of images in [-1, 1]
LARGEST_SHIFT = 1 / 8  # of the side
# The filter of EQ-R: disc of frequencies in cycles per pixel, and its reach in pixels.
# With this window (60 dB) its transition ends at half a cycle, where aliases begin.
CUTOFF, REACH, BETA = 0.375, 8, 5.65


class Equivariance(NamedTuple):
    """EQ-T and EQ-R in dB, over `images`."""

    translation: float
    rotation: float
    images: int


@torch.no_grad()
def equivariance(
    render: Callable[[Tensor, Tensor], Tensor], styles: Iterable[Tensor], *, seed: int = 0
) -> Equivariance:
    """EQ-T for whole pixels, and EQ-R, of a generator whose input can be transformed.

    10 log10 of the squared peak, 2, over the mean squared error between the image of
    the transformed input and the transformed image (equation 3), over the pixels that
    both show. Each batch has one shift, uniform within an eighth of the side along both
    axes, and one angle, uniform.

    render: (styles [n, ...], transform [3, 3]) -> images [n, C, S, S] in [-1, 1]. The
        transform maps a place of the new image to the place in the untransformed one
        whose content it shows; places are (x to the right, y down, 1) from the center,
        in sides of the image
    styles: batches of what decides the images

    For EQ-R both images pass a radial low-pass filter, since a square of frequencies
    does not stay one when it turns (the paper's filter passes more of its corners, so
    that its figures are somewhat lower).

    Raises `UserError` for images that are not squares of at least 32 pixels, and
    without a style.
    """
    generator, images = torch.Generator().manual_seed(seed), 0
    errors = {"shift": [0.0, 0], "turn": [0.0, 0]}
    for w in styles:
        still = render(w, torch.eye(3, device=w.device)).double()
        side = still.shape[-1]
        if still.shape[-2] != side or side < 4 * REACH:
            raise UserError(
                f"equivariance is that of squares of at least {4 * REACH} pixels a side; got "
                f"{still.shape[-2]}x{side}"
            )
        far = int(side * LARGEST_SHIFT)
        dy, dx = torch.randint(-far, far + 1, (2,), generator=generator).tolist()
        angle = 2 * math.pi * float(torch.rand((), generator=generator))
        shifted = render(w, translation(dx / side, dy / side).to(w.device)).double()
        turned = render(w, rotation(angle).to(w.device)).double()
        a, b = overlap(still, shifted, (dy, dx))
        place = inner_places(side, angle)
        c, d = resampled(still, *_turned(place, angle)), resampled(turned, *place)
        for name, pair in (("shift", (a, b)), ("turn", (c, d))):
            errors[name][0] += float((pair[0] - pair[1]).square().sum())
            errors[name][1] += pair[0].numel()
        images += len(w)
    if not images:
        raise UserError("equivariance needs the styles of at least one image")
    shift, turn = (decibels(total / count) for total, count in errors.values())
    return Equivariance(shift, turn, images)


def decibels(error: float, peak: float = PEAK) -> float:
    """10 log10 of peak^2 over a mean squared error, of 1e-30 or more."""
    return 10 * math.log10(peak**2 / max(error, 1e-30))


def translation(x: float, y: float) -> Tensor:
    """The transform that shows at each place what is (x, y) sides further."""
    return torch.tensor([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def rotation(angle: float) -> Tensor:
    """The transform by an angle in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def overlap(still: Tensor, shifted: Tensor, shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What two images [..., H, W] both show, in the same places.

    shifted: shows at (y, x) what `still` shows at (y, x) + `shift`
    """
    (dy, dx), (height, width) = shift, still.shape[-2:]
    rows = slice(max(dy, 0), height + min(dy, 0)), slice(max(-dy, 0), height + min(-dy, 0))
    columns = slice(max(dx, 0), width + min(dx, 0)), slice(max(-dx, 0), width + min(-dx, 0))
    return still[..., rows[0], columns[0]], shifted[..., rows[1], columns[1]]


Places = tuple[Tensor, Tensor]  # x and y from the center, in pixels, [n]


def inner_places(side: int, angle: float) -> Places:
    """Pixels whose filter lies within an image before and after it turns."""
    centers = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    y, x = (part.flatten() for part in torch.meshgrid(centers, centers, indexing="ij"))
    within = (side - 1) / 2 - REACH
    inside = torch.ones_like(x, dtype=torch.bool)
    for place in ((x, y), _turned((x, y), angle)):
        for part in place:
            inside &= part.abs() <= within
    return x[inside], y[inside]


def _turned(place: Places, angle: float) -> Places:
    (x, y), cos, sin = place, math.cos(angle), math.sin(angle)
    return cos * x - sin * y, sin * x + cos * y


def resampled(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Filtered values [n, C, m] of images [n, C, S, S] at places [m]."""
    side, device = image.shape[-1], image.device
    column, row = (part.to(device) + (side - 1) / 2 for part in (x, y))
    left, top = column.floor().long(), row.floor().long()
    flat = image.flatten(2)
    total, weights = image.new_zeros(*image.shape[:2], len(x)), torch.zeros_like(column)
    for i in range(1 - REACH, REACH + 1):
        for j in range(1 - REACH, REACH + 1):
            weight = _filter(torch.hypot(row - (top + i), column - (left + j)))
            # Beyond the border only where the filter has ended.
            index = (top + i).clamp(0, side - 1) * side + (left + j).clamp(0, side - 1)
            total += weight * flat[..., index]
            weights += weight
    return total / weights


def _filter(r: Tensor) -> Tensor:
    """The low-pass filter at distances r in pixels: a jinc in a Kaiser window."""
    near = r.clamp(min=1e-6)
    jinc = CUTOFF * torch.special.bessel_j1(2 * math.pi * CUTOFF * near) / near
    window = torch.special.i0(BETA * (1 - (r / REACH).square()).clamp(min=0).sqrt())
    return torch.where(r < REACH, jinc * window, 0.0)
