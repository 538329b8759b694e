"""Schedules: pure functions of the clock.

Each is a frozen dataclass, so that run.json can name it and hold its numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ganvas.core import Clock, Length, Schedule


@dataclass(frozen=True)
class Constant:
    """The same value throughout."""

    value: float = 1.0

    def __call__(self, clock: Clock) -> float:
        """`value`, at any time."""
        return self.value


@dataclass(frozen=True)
class LinearDecay:
    """1 until `start` images, then linearly down to 0 at `end` images."""

    start: Length
    end: Length

    def __call__(self, clock: Clock) -> float:
        """The factor after `clock.images` images, 0 to 1."""
        return 1.0 - min(max((clock.images - self.start) / max(self.end - self.start, 1), 0.0), 1.0)


@dataclass(frozen=True)
class ExponentialDecay:
    """`1 / factor ** step`, never below `floor`.

    pylearn2's rule, with which the GAN of 2014 was trained.
    """

    factor: float
    floor: float = 0.0

    def __call__(self, clock: Clock) -> float:
        """The factor after `clock.step` steps, `floor` to 1."""
        return max(self.factor**-clock.step, self.floor)


@dataclass(frozen=True)
class InverseDecay:
    """1 until step `start`, then 1 / (1 + rate * (step - start)), never below `floor`.

    The first commit of SAGAN's authors' code (0a93720), from before it had attention.
    """

    rate: float
    start: Length = 0
    floor: float = 0.0

    def __call__(self, clock: Clock) -> float:
        """The factor after `clock.step` steps, `floor` to 1."""
        return max(1 / (1 + self.rate * max(clock.step - self.start, 0)), self.floor)


@dataclass(frozen=True)
class StepDecay:
    """1 at first, multiplied by `factor` after every `every` images."""

    every: Length
    factor: float

    def __call__(self, clock: Clock) -> float:
        """The factor after `clock.images` images."""
        return self.factor ** (clock.images // self.every)


@dataclass(frozen=True)
class Ramp:
    """From `start` linearly to `stop` over the first `images` images."""

    start: float
    stop: float
    images: Length

    def __call__(self, clock: Clock) -> float:
        """The value after `clock.images` images."""
        return self.start + (self.stop - self.start) * min(clock.images / self.images, 1.0)


@dataclass(frozen=True)
class Cosine:
    """From `start` to `stop` over the first `images` images, along half a cosine.

    Its slope is 0 at both ends.
    """

    start: float
    stop: float
    images: Length

    def __call__(self, clock: Clock) -> float:
        """The value after `clock.images` images."""
        done = (1 - math.cos(math.pi * min(clock.images / self.images, 1.0))) / 2
        return self.start + done * (self.stop - self.start)


@dataclass(frozen=True)
class WarmupCosine:
    """From 0 to 1 at `warmup` images, then along half a cosine to 0 at `end`."""

    warmup: Length
    end: Length

    def __call__(self, clock: Clock) -> float:
        """The factor at a time."""
        if clock.images < self.warmup:
            return clock.images / self.warmup
        done = min((clock.images - self.warmup) / max(self.end - self.warmup, 1), 1.0)
        return (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class PerStep:
    """Weight averaging by a constant decay per step.

    decay: 0.999 in ProGAN
    start: the first step that is averaged; before it, the average is the current
        weights (BigGAN)
    """

    decay: float = 0.999
    start: Length = 0

    def __call__(self, clock: Clock, images: int) -> float:
        """The decay of one averaging, 0 to 1, however many `images` it follows."""
        return self.decay if clock.step >= self.start else 0.0


@dataclass(frozen=True)
class HalfLife:
    """Weight averaging with a half-life in images.

    images: the half-life
    ramp: limits the half-life to `ramp` times the images seen so far (StyleGAN2-ADA:
        0.05); None: no limit
    """

    images: int
    ramp: float | None = 0.05

    def __call__(self, clock: Clock, images: int) -> float:
        """The decay of an averaging that follows `images` images, 0 to 1."""
        half = self.images if self.ramp is None else min(self.images, self.ramp * clock.images)
        return 0.5 ** (images / max(half, 1e-8))


@dataclass(frozen=True)
class GrowingHalfLife:
    """Weight averaging with a half-life of `of(clock)` images."""

    of: Schedule

    def __call__(self, clock: Clock, images: int) -> float:
        """The decay of an averaging that follows `images` images, 0 to 1."""
        return 0.5 ** (images / max(self.of(clock), 1e-8))
