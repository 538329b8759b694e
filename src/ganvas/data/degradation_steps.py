"""Small named steps that degrade an image; `degradation_chain` applies several.

A step changes one image [1, C, H, W] in [0, 1], about, on the way to a result of the
size `end`, and draws its numbers in a fixed order from the generator of that image.
Steps and ranges are those of Real-ESRGAN, Wang et al., 2021, arXiv:2107.10833, section
3 and appendix A.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.media import blur_kernels
from ganvas.media.blur_kernels import Profile, filtered

Range = tuple[float, float]
Size = tuple[int, int]  # (height, width)
Mode = Literal["area", "bilinear", "bicubic", "nearest"]
# (profile, isotropic) of the kernels, in the order of `Blur.kernels`
KERNELS: tuple[tuple[Profile, bool], ...] = (
    ("gaussian", True),
    ("gaussian", False),
    ("generalized", True),
    ("generalized", False),
    ("plateau", True),
    ("plateau", False),
)
# (least, greatest) of a kernel's shape
BETAS: Mapping[Profile, Range] = {
    "gaussian": (1.0, 1.0),
    "generalized": (0.5, 4.0),
    "plateau": (1.0, 2.0),
}
LIMITS: Mapping[str, Range] = {
    "sides": (3, 101),
    "sigma": (1e-3, 100.0),
    "cutoff": (0.01, math.pi),
    "factors": (0.01, 10.0),
    "noise": (0.0, 255.0),
    "poisson": (0.0, 100.0),
    "quality": (0.0, 100.0),
    "jpeg": (0.0, 100.0),
}


def require_limits(**ranges: Range) -> None:
    """Raise `UserError` unless each range rises and lies within its `LIMITS`.

    Sides of kernels must be odd.
    """
    for name, (low, high) in ranges.items():
        least, most = LIMITS[name]
        if not least <= low <= high <= most:
            raise UserError(
                f"{name} is [{low:g}, {high:g}]; it must be a least and a greatest value, from "
                f"{least:g} to {most:g}"
            )
        if name == "sides" and not low % 2 == high % 2 == 1:
            raise UserError(f"sides is [{low:g}, {high:g}]; sides of kernels are odd numbers")


def require_chances(**chances: float) -> None:
    """Raise `UserError` for a probability outside of 0 to 1."""
    for name, chance in chances.items():
        if not 0 <= chance <= 1:
            raise UserError(f"{name} has the probability {chance:g}; it must be 0 to 1")


def require_one_within(factors: Range) -> None:
    """Raise `UserError` for factors of which all enlarge, or all reduce."""
    low, high = factors
    if not low <= 1 <= high:
        raise UserError(
            f"factors is [{low:g}, {high:g}]; with probabilities of enlarging, reducing and "
            "keeping the size, 1 must lie between them"
        )


def require_distribution(name: str, chances: Sequence[float]) -> None:
    """Raise `UserError` unless probabilities are from 0 to 1 and sum to 1."""
    for chance in chances:
        require_chances(**{name: chance})
    if not math.isclose(sum(chances), 1, abs_tol=1e-6):
        raise UserError(f"the probabilities of {name} are {tuple(chances)}; their sum must be 1")


@dataclass(frozen=True)
class Sharpen:
    """Unsharp masking. Draws nothing.

    radius: side of the blur kernel, pixels, odd; smaller for small images
    weight: of the detail
    threshold: least difference that counts, levels of 255
    """

    radius: int = 51
    weight: float = 0.5
    threshold: float = 10.0

    def __post_init__(self) -> None:
        """Raises `UserError` for a radius that is no side of a kernel."""
        if not 3 <= self.radius <= 201 or self.radius % 2 == 0:
            raise UserError(f"radius is {self.radius}; it must be an odd number from 3 to 201")

    def __call__(self, x: Tensor, end: Size, draws: np.random.Generator) -> Tensor:
        """Sharpen an image."""
        radius = min(self.radius, 2 * min(x.shape[2:]) - 1)
        return blur_kernels.sharpened(x, radius, self.weight, self.threshold)


@dataclass(frozen=True)
class Blur:
    """A blur by a random kernel.

    chance: probability of the step
    sigma: standard deviations, pixels
    sinc: probability that the kernel is a low-pass filter, which rings
    sides: least and greatest side of the kernel, pixels; smaller for small images
    kernels: probabilities of Gaussian, generalized Gaussian and plateau kernels, each
        equal in all directions and not
    """

    chance: float = 1.0
    sigma: Range = (0.2, 3.0)
    sinc: float = 0.1
    sides: tuple[int, int] = (7, 21)
    kernels: tuple[float, float, float, float, float, float] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)

    def __post_init__(self) -> None:
        """Raises `UserError` for values out of their range."""
        require_limits(sigma=self.sigma, sides=self.sides)
        require_chances(chance=self.chance, sinc=self.sinc)
        require_distribution("kernels", self.kernels)

    def __call__(self, x: Tensor, end: Size, draws: np.random.Generator) -> Tensor:
        """Blur an image."""
        return filtered(x, self._kernel(x, draws)[None]) if draws.random() < self.chance else x

    def _kernel(self, x: Tensor, draws: np.random.Generator) -> Tensor:
        side = _side(x, self.sides, draws)
        if draws.random() < self.sinc:
            low = math.pi / (3 if side < 13 else 5)
            return blur_kernels.sinc(side, draws.uniform(low, math.pi))
        profile, isotropic = KERNELS[draws.choice(len(KERNELS), p=self.kernels)]
        across = down = draws.uniform(*self.sigma)
        angle = 0.0
        if not isotropic:
            down, angle = draws.uniform(*self.sigma), draws.uniform(-math.pi, math.pi)
        low, high = BETAS[profile]
        beta = draws.uniform(low, 1.0) if draws.random() < 0.5 else draws.uniform(1.0, high)
        return blur_kernels.gaussian(side, across, down, angle, profile, beta)


@dataclass(frozen=True)
class Sinc:
    """Ringing, by a low-pass filter.

    chance: probability of the step
    cutoff: radians per pixel, up to pi
    sides: least and greatest side of the kernel, pixels
    """

    chance: float = 0.8
    cutoff: Range = (math.pi / 3, math.pi)
    sides: tuple[int, int] = (7, 21)

    def __post_init__(self) -> None:
        """Raises `UserError` for values out of their range."""
        require_limits(cutoff=self.cutoff, sides=self.sides)
        require_chances(chance=self.chance)

    def __call__(self, x: Tensor, end: Size, draws: np.random.Generator) -> Tensor:
        """Filter an image."""
        if draws.random() >= self.chance:
            return x
        side = _side(x, self.sides, draws)
        return filtered(x, blur_kernels.sinc(side, draws.uniform(*self.cutoff))[None])


@dataclass(frozen=True)
class Resize:
    """A resize to a random size, or to the size of the result.

    factors: least and greatest; None: exactly to the size of the result
    base: what they multiply: the size of the "image" as it is, or of the "result"
    kinds: probabilities of enlarging (1 to the greatest factor), of reducing (the least
        factor to 1) and of the size of `base`; None: any of the factors
    modes: ways of resizing, all as probable
    """

    factors: Range | None = None
    base: Literal["image", "result"] = "image"
    kinds: tuple[float, float, float] | None = None
    modes: tuple[Mode, ...] = ("area", "bilinear", "bicubic")

    def __post_init__(self) -> None:
        """Raises `UserError` for values out of their range."""
        if self.factors is not None:
            require_limits(factors=self.factors)
        if self.kinds is not None:
            require_distribution("kinds", self.kinds)
            require_one_within(self.factors or (1.0, 1.0))
        if not self.modes:
            raise UserError("modes is empty; give area, bilinear, bicubic or nearest")

    def __call__(self, x: Tensor, end: Size, draws: np.random.Generator) -> Tensor:
        """Resize an image."""
        whole = self.base == "result" or self.factors is None
        factor = self._factor(draws)
        target = [max(1, int(side * factor)) for side in (end if whole else x.shape[2:])]
        return F.interpolate(x, target, mode=str(draws.choice(self.modes)))

    def _factor(self, draws: np.random.Generator) -> float:
        if self.factors is None:
            return 1.0
        low, high = self.factors
        if self.kinds is None:
            return draws.uniform(low, high)
        kind = draws.choice(3, p=np.asarray(self.kinds) / sum(self.kinds))
        return (draws.uniform(1.0, high), draws.uniform(low, 1.0), 1.0)[kind]


@dataclass(frozen=True)
class Noise:
    """Gaussian or Poisson noise.

    chance: probability of the step
    gaussian: probability that the noise is Gaussian; else it is Poisson noise
    noise: standard deviations of the Gaussian noise, levels of 255
    poisson: strengths of the Poisson noise, factors of the natural one
    gray: probability of equal noise in all channels
    """

    chance: float = 1.0
    gaussian: float = 0.5
    noise: Range = (1.0, 30.0)
    poisson: Range = (0.05, 3.0)
    gray: float = 0.4

    def __post_init__(self) -> None:
        """Raises `UserError` for values out of their range."""
        require_limits(noise=self.noise, poisson=self.poisson)
        require_chances(chance=self.chance, gaussian=self.gaussian, gray=self.gray)

    def __call__(self, x: Tensor, end: Size, draws: np.random.Generator) -> Tensor:
        """Add noise to an image."""
        if not _happens(self.chance, draws):
            return x
        gaussian, gray = draws.random() < self.gaussian, draws.random() < self.gray
        base = x.mean(1, keepdim=True) if gray else x
        if gaussian:
            noise = draws.normal(0, draws.uniform(*self.noise) / 255, base.shape)
        else:
            levels = (base.clamp(0, 1) * 255).round().numpy()
            counts = 2 ** math.ceil(math.log2(max(2, len(np.unique(levels)))))
            noise = (draws.poisson(levels / 255 * counts) / counts - levels / 255) * draws.uniform(
                *self.poisson
            )
        return (x + torch.from_numpy(noise).to(x.dtype)).clamp(0, 1)


@dataclass(frozen=True)
class JPEG:
    """Compression as JPEG: of color images as such, of others channel by channel.

    chance: probability of the step
    quality: libjpeg's, 0 to 100
    """

    chance: float = 1.0
    quality: Range = (30.0, 95.0)

    def __post_init__(self) -> None:
        """Raises `UserError` for values out of their range."""
        require_limits(quality=self.quality)
        require_chances(chance=self.chance)

    def __call__(self, x: Tensor, end: Size, draws: np.random.Generator) -> Tensor:
        """Compress and decompress an image."""
        if not _happens(self.chance, draws):
            return x
        quality = round(draws.uniform(*self.quality))
        levels = (x[0] * 255).round().clamp(0, 255).to(torch.uint8)
        parts = [levels] if len(levels) == 3 else levels.split(1)
        return torch.cat([_compressed(part, quality) for part in parts])[None]


@dataclass(frozen=True)
class Swap:
    """Two chains, one after the other, in an order that is drawn.

    chance: probability that `first` is first
    """

    first: tuple[Step, ...] = ()
    second: tuple[Step, ...] = ()
    chance: float = 0.5

    def __post_init__(self) -> None:
        """Raises `UserError` for a `chance` outside of 0 to 1."""
        require_chances(chance=self.chance)

    def __call__(self, x: Tensor, end: Size, draws: np.random.Generator) -> Tensor:
        """Apply both chains to an image."""
        ordered = draws.random() < self.chance
        for step in (*self.first, *self.second) if ordered else (*self.second, *self.first):
            x = step(x, end, draws)
        return x


Step = Sharpen | Blur | Sinc | Resize | Noise | JPEG | Swap


def _happens(chance: float, draws: np.random.Generator) -> bool:
    """Whether a step is applied; a certain one draws nothing."""
    return chance >= 1 or draws.random() < chance


def _side(x: Tensor, sides: tuple[int, int], draws: np.random.Generator) -> int:
    """A side of a kernel whose mirrored border the image has."""
    return min(int(draws.choice(range(sides[0], sides[1] + 1, 2))), 2 * min(x.shape[2:]) - 1)


def _compressed(levels: Tensor, quality: int) -> Tensor:
    """[1 or 3, H, W] of uint8 -> the same after JPEG, in [0, 1]."""
    buffer = io.BytesIO()
    Image.fromarray(levels.permute(1, 2, 0).squeeze(2).numpy()).save(
        buffer, "JPEG", quality=quality
    )
    with Image.open(buffer) as image:
        pixels = np.asarray(image).reshape(*levels.shape[1:], -1)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
