"""Random degradations as photographs suffer them: blur, resizing, noise, JPEG.

Real-ESRGAN, Wang et al., 2021, arXiv:2107.10833, section 3 and appendix A: a chain of
simple steps, twice, with ringing at the end. Each image's draws follow from its own
seed, so that they are the same in every batch and on every rank.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.media import blur_kernels
from ganvas.media.blur_kernels import Profile, filtered
from ganvas.media.values import Values

Range = tuple[float, float]
SIDES = range(7, 22, 2)  # of kernels, pixels
# (profile, isotropic, probability)
KERNELS: tuple[tuple[Profile, bool, float], ...] = (
    ("gaussian", True, 0.45),
    ("gaussian", False, 0.25),
    ("generalized", True, 0.12),
    ("generalized", False, 0.03),
    ("plateau", True, 0.12),
    ("plateau", False, 0.03),
)
MODES = ("area", "bilinear", "bicubic")


@dataclass(frozen=True)
class Pass:
    """One pass of the chain; the defaults are the paper's first one.

    blur: probability of a blur
    sigma: standard deviations of its kernel, pixels
    sinc: probability that the blur is a low-pass filter, which rings
    resize: probabilities of enlarging, reducing and keeping the size
    factors: least and largest factor of the resizing
    gaussian: probability that the noise is Gaussian; else it is Poisson noise
    noise: standard deviations of the Gaussian noise, levels of 255
    poisson: strengths of the Poisson noise, factors of the natural one
    gray: probability of equal noise in all channels
    jpeg: qualities
    """

    blur: float = 1.0
    sigma: Range = (0.2, 3.0)
    sinc: float = 0.1
    resize: tuple[float, float, float] = (0.2, 0.7, 0.1)
    factors: Range = (0.15, 1.5)
    gaussian: float = 0.5
    noise: Range = (1.0, 30.0)
    poisson: Range = (0.05, 3.0)
    gray: float = 0.4
    jpeg: Range = (30.0, 95.0)

    def __post_init__(self) -> None:
        """Raises `UserError` for values out of their range."""
        limits = {
            "sigma": (1e-3, 100.0),
            "factors": (0.01, 10.0),
            "noise": (0.0, 255.0),
            "poisson": (0.0, 100.0),
            "jpeg": (0.0, 100.0),
        }
        for name, (least, most) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise UserError(
                    f"{name} is [{low:g}, {high:g}]; it must be a least and a greatest value, from "
                    f"{least:g} to {most:g}"
                )
        chances = [(n, getattr(self, n)) for n in ("blur", "sinc", "gaussian", "gray")]
        chances += [("resize", p) for p in self.resize]
        for name, chance in chances:
            if not 0 <= chance <= 1:
                raise UserError(f"{name} has the probability {chance:g}; it must be 0 to 1")
        if not math.isclose(sum(self.resize), 1, abs_tol=1e-6):
            raise UserError(f"the probabilities of resize are {self.resize}; their sum must be 1")


SECOND = Pass(
    blur=0.8,
    sigma=(0.2, 1.5),
    resize=(0.3, 0.4, 0.3),
    factors=(0.3, 1.2),
    noise=(1.0, 25.0),
    poisson=(0.05, 2.5),
)


@dataclass(frozen=True)
class RealDegradation:
    """Two passes of blur, resizing, noise and JPEG.

    ringing: probability of a low-pass filter at the end
    sharpen: whether to degrade the sharpened image, as in training in the authors'
        code, whose targets are sharpened, too
    """

    first: Pass = field(default_factory=Pass)
    second: Pass = SECOND
    ringing: float = 0.8
    sharpen: bool = False

    def __post_init__(self) -> None:
        """Raises `UserError` for a `ringing` outside of 0 to 1."""
        if not 0 <= self.ringing <= 1:
            raise UserError(f"ringing has the probability {self.ringing:g}; it must be 0 to 1")

    def __call__(self, x: Tensor, seeds: np.ndarray, scale: int) -> Tensor:
        """Degrade images and reduce them by `scale`; the result has 8 bits.

        x: [N, C, H, W] in [-1, 1]; H and W multiples of `scale`
        seeds: uint64 [N]

        Returns [N, C, H / scale, W / scale] in [-1, 1].
        """
        images = [
            self._degraded(image[None], np.random.Generator(np.random.Philox(int(seed))), scale)
            for image, seed in zip((x.cpu() + 1) / 2, seeds, strict=True)
        ]
        levels = torch.cat(images).clamp_(0, 1).mul_(255).round_()
        return (levels / 127.5 - 1).to(x.device).contiguous(memory_format=torch.channels_last)

    def _degraded(self, x: Tensor, draws: np.random.Generator, scale: int) -> Tensor:
        """One image [1, C, H, W] in [0, 1], by the order of the authors' code."""
        h, w = x.shape[2:]
        x = blur_kernels.sharpened(x) if self.sharpen else x
        end = (h // scale, w // scale)
        x = _jpeg(_passed(x, (h, w), self.first, draws), self.first, draws)
        x = _passed(x, end, self.second, draws)
        jpeg_first = draws.random() < 0.5
        if jpeg_first:
            x = _jpeg(x, self.second, draws)
        x = _resized(x, end, draws)
        if draws.random() < self.ringing:
            side = _side(x, draws)
            x = filtered(x, blur_kernels.sinc(side, draws.uniform(math.pi / 3, math.pi))[None])
        return x if jpeg_first else _jpeg(x, self.second, draws)


def require_eight_bits(values: Values | None) -> None:
    """Raise `UserError` for measurements of more than 8 bits, as JPEG has them."""
    if values is not None and values.stored != np.uint8:
        raise UserError(
            f"random degradations compress with JPEG, which has 8 bits, and data.window keeps "
            f"{values.type} from {values.low:g} to {values.high:g}: --set data.degrade=null, or "
            "leave data.window out"
        )


def _passed(x: Tensor, size: tuple[int, int], p: Pass, draws: np.random.Generator) -> Tensor:
    """Blur, resize to about `size`, and add noise."""
    if draws.random() < p.blur:
        x = filtered(x, _kernel(x, p, draws)[None])
    return _noisy(_resized(x, size, draws, _factor(p, draws)), p, draws)


def _side(x: Tensor, draws: np.random.Generator) -> int:
    """A side of a kernel whose mirrored border the image has."""
    return min(int(draws.choice(SIDES)), 2 * min(x.shape[2:]) - 1)


def _kernel(x: Tensor, p: Pass, draws: np.random.Generator) -> Tensor:
    side = _side(x, draws)
    if draws.random() < p.sinc:
        return blur_kernels.sinc(side, draws.uniform(math.pi / (3 if side < 13 else 5), math.pi))
    profile, isotropic, _ = KERNELS[draws.choice(len(KERNELS), p=[k[2] for k in KERNELS])]
    across = down = draws.uniform(*p.sigma)
    angle = 0.0
    if not isotropic:
        down, angle = draws.uniform(*p.sigma), draws.uniform(-math.pi, math.pi)
    low, high = {"gaussian": (1.0, 1.0), "generalized": (0.5, 4.0), "plateau": (1.0, 2.0)}[profile]
    beta = draws.uniform(low, 1.0) if draws.random() < 0.5 else draws.uniform(1.0, high)
    return blur_kernels.gaussian(side, across, down, angle, profile, beta)


def _factor(p: Pass, draws: np.random.Generator) -> float:
    kind = draws.choice(3, p=np.asarray(p.resize) / sum(p.resize))
    low, high = p.factors
    return (draws.uniform(1.0, high), draws.uniform(low, 1.0), 1.0)[kind]


def _resized(
    x: Tensor, size: tuple[int, int], draws: np.random.Generator, factor: float = 1.0
) -> Tensor:
    """Resize to `factor` times `size`, in one of three ways."""
    target = [max(1, int(side * factor)) for side in size]
    return F.interpolate(x, target, mode=str(draws.choice(MODES)))


def _noisy(x: Tensor, p: Pass, draws: np.random.Generator) -> Tensor:
    """Add Gaussian or Poisson noise, to each channel or the same to all."""
    gaussian, gray = draws.random() < p.gaussian, draws.random() < p.gray
    base = x.mean(1, keepdim=True) if gray else x
    if gaussian:
        noise = draws.normal(0, draws.uniform(*p.noise) / 255, base.shape)
    else:
        levels = (base.clamp(0, 1) * 255).round().numpy()
        counts = 2 ** math.ceil(math.log2(max(2, len(np.unique(levels)))))
        noise = (draws.poisson(levels / 255 * counts) / counts - levels / 255) * draws.uniform(
            *p.poisson
        )
    return (x + torch.from_numpy(noise).to(x.dtype)).clamp(0, 1)


def _jpeg(x: Tensor, p: Pass, draws: np.random.Generator) -> Tensor:
    """Compress and decompress: color images as such, others channel by channel."""
    quality = round(draws.uniform(*p.jpeg))
    levels = (x[0] * 255).round().clamp(0, 255).to(torch.uint8)
    parts = [levels] if len(levels) == 3 else levels.split(1)
    return torch.cat([_compressed(part, quality) for part in parts])[None]


def _compressed(levels: Tensor, quality: int) -> Tensor:
    """[1 or 3, H, W] of uint8 -> the same after JPEG, in [0, 1]."""
    buffer = io.BytesIO()
    Image.fromarray(levels.permute(1, 2, 0).squeeze(2).numpy()).save(
        buffer, "JPEG", quality=quality
    )
    with Image.open(buffer) as image:
        pixels = np.asarray(image).reshape(*levels.shape[1:], -1)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
