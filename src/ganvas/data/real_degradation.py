"""Random degradations as photographs suffer them: blur, resizing, noise, JPEG.

Real-ESRGAN, Wang et al., 2021, arXiv:2107.10833, section 3 and appendix A: a chain of
simple steps, twice, with ringing at the end. It is the default chain; others are lists
of steps (`degradation_chain`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from torch import Tensor

from ganvas.core.errors import ConfigError, UserError
from ganvas.core.registry import shorten
from ganvas.data.degradation_chain import Chain
from ganvas.data.degradation_steps import (
    JPEG,
    Blur,
    Noise,
    Range,
    Resize,
    Sharpen,
    Sinc,
    Step,
    Swap,
    require_chances,
    require_distribution,
    require_limits,
    require_one_within,
)
from ganvas.media.values import Values

NAME = "real"  # of the default chain, in settings


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
        require_limits(
            sigma=self.sigma,
            factors=self.factors,
            noise=self.noise,
            poisson=self.poisson,
            jpeg=self.jpeg,
        )
        require_chances(blur=self.blur, sinc=self.sinc, gaussian=self.gaussian, gray=self.gray)
        require_distribution("resize", self.resize)
        require_one_within(self.factors)

    def steps(self, base: Literal["image", "result"]) -> tuple[Step, Step, Step]:
        """Blur, resizing relative to `base` ("image" or "result"), and noise."""
        return (
            Blur(self.blur, self.sigma, self.sinc),
            Resize(self.factors, base, self.resize),
            Noise(1.0, self.gaussian, self.noise, self.poisson, self.gray),
        )


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
        require_chances(ringing=self.ringing)

    def chain(self) -> Chain:
        """The steps in the authors' order, which draws whether JPEG is last."""
        last = Swap((JPEG(1.0, self.second.jpeg),), (Resize(), Sinc(self.ringing)))
        return Chain(
            (
                *([Sharpen()] if self.sharpen else []),
                *self.first.steps("image"),
                JPEG(1.0, self.first.jpeg),
                *self.second.steps("result"),
                last,
            )
        )

    def __call__(self, x: Tensor, seeds: np.ndarray, scale: int) -> Tensor:
        """Degrade images as `Chain` does."""
        return self.chain()(x, seeds, scale)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[RealDegradation], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Settings may name it, as in `data.degrade=real`."""
        return core_schema.no_info_before_validator_function(_named, handler(source))


Degradation = Chain | RealDegradation


def _named(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value == NAME:
        return RealDegradation()
    raise ConfigError(f'expected "{NAME}" or a list of steps; got {shorten(value)}')


def require_eight_bits(values: Values | None) -> None:
    """Raise `UserError` for measurements of more than 8 bits."""
    if values is not None and values.stored != np.uint8:
        raise UserError(
            f"random degradations are of 8 bits, as JPEG is, and data.window keeps "
            f"{values.type} from {values.low:g} to {values.high:g}: --set data.degrade=null, or "
            "leave data.window out"
        )
