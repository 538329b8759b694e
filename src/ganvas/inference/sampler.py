"""Generate images from noise: samples, latent walks, style mixing, projections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import SupportsIndex, Unpack

import torch
from torch import Tensor

from ganvas.core import (
    AnySize,
    Couples,
    Curve,
    Gradual,
    Samples,
    Styled,
    Truncates,
    environment,
)
from ganvas.core.errors import CapabilityError, UserError, did_you_mean
from ganvas.core.protocols import returned
from ganvas.core.sizes import parse_size, sides_of
from ganvas.inference.latent import interpolation, naming, projection, style_mixing
from ganvas.inference.latent.naming import SampleName
from ganvas.inference.options import Label, ProjectOptions
from ganvas.inference.runtime import Runtime, fixed_seed, methods_with

UNLABELED = (
    "this model was trained without labels: leave the label out. A model with labels is trained "
    "on a folder for each class, as by dcgan with --set labels=true"
)
MAX_COLUMNS = 32  # of a grid with one class per column
MAX_SIDE = 1 << 15  # pixels
FLOATS = 256  # per pixel that a generator is assumed to hold


class Sampler:
    """The sampling half of `Model`; raises `UserError` for a translator."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def batches(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Label | None = None,
        labels: Sequence[Label] | None = None,
        truncation: float | None = None,
        batch: int | None = None,
        all_classes: bool = False,
        size: int | str | tuple[int, int] | None = None,
        on_progress: Callable[[float], object] | None = None,
    ) -> Iterator[Tensor]:
        """Samples in batches [., C, H, W] in [-1, 1]; see `Model.sample`."""
        sides = sides_of(parse_size(size))
        self.generator(truncation, sides)
        if batch is not None and batch < 1:
            raise UserError(f"batch is {batch}; it must be at least 1")
        if label is not None:
            if labels is not None:
                raise UserError("got label and labels: give one class for all images, or a list")
            labels = [label] * n
        names, numbers = self.named(n, seed=seed, labels=labels, all_classes=all_classes)
        batch = batch or self.batch_size(sides)
        for first in range(0, len(names), batch):
            part = names[first : first + batch]
            y = None if numbers is None else numbers[first : first + batch]

            def report(done: float, first: int = first, count: int = len(part)) -> None:
                if on_progress is not None:
                    on_progress(first + count * done)

            yield self.images(part, y, truncation, sides, report)

    def named(
        self,
        n: int,
        *,
        seed: int = 0,
        labels: Sequence[Label] | None = None,
        all_classes: bool = False,
    ) -> tuple[list[SampleName], list[int] | None]:
        """The latents' names and the labels of the images of `Model.sample`."""
        method = self.generator()
        classes, numbers, repeats = method.classes, None, 1  # repeats: images of one latent
        if all_classes:
            if not classes or labels is not None:
                why = "excludes labels" if classes else "needs a model that was trained with labels"
                raise CapabilityError(f"all_classes {why}")
            n, repeats, numbers = n * classes, classes, list(range(classes)) * n
        elif labels is not None:
            numbers = self.label_numbers(labels, n)
        elif classes:
            numbers = [i % classes for i in range(n)]
            repeats = classes if isinstance(method, Couples) else 1
        return [(seed, i // repeats) for i in range(n)], numbers

    def images(
        self,
        names: Sequence[SampleName],
        labels: list[int] | None,
        truncation: float | None,
        size: tuple[int, int] | None = None,
        on_step: Callable[[float], object] | None = None,
    ) -> Tensor:
        """Images [n, C, H, W] in [-1, 1] of named latents, in one forward pass.

        labels: the class of each, if the method has classes
        size: (height, width); None: that of training
        on_step: called with the part that is done, at the end and by methods that take
            many steps
        """
        method = self.generator(truncation, size)
        y = None if labels is None else torch.as_tensor(labels, device=self._device)
        z = naming.latents(method, names)
        with self.runtime.autocast(), fixed_seed():
            if isinstance(method, Gradual):
                return returned(method.draw(z), on_step).float()
            images = naming.generate(method, z, y, truncation).float()
        if on_step is not None:
            on_step(1.0)
        return images

    def walk(
        self,
        through: Sequence[SampleName] | int,
        *,
        seed: int,
        frames: int,
        loop: bool,
        curve: Curve | None,
        label: Label | None,
        truncation: float | None,
    ) -> Tensor:
        """Frames [n, C, H, W] of a latent walk; see `Model.walk`."""
        method = self.generator(truncation)
        names = [(seed, i) for i in range(through)] if isinstance(through, int) else list(through)
        z, y = naming.latents(method, names), self.one_label(label, len(names))
        with self.runtime.autocast(), fixed_seed(), torch.no_grad():
            parts = list(
                interpolation.walk(
                    method,
                    z,
                    y,
                    frames=frames,
                    loop=loop,
                    curve=curve,
                    truncation=truncation,
                    batch=self.batch_size(),
                )
            )
        return torch.cat(parts).float()

    def mix(
        self,
        rows: Sequence[SampleName],
        columns: Sequence[SampleName],
        layers: str,
        *,
        label: Label | None,
        truncation: float | None,
    ) -> Tensor:
        """Style-mixing sheet [(1 + rows) * (1 + columns), C, H, W]; see `Model.mix`."""
        method = self.generator()
        if not isinstance(method, Styled):
            raise CapabilityError(
                f"{type(method).__name__} has no styles to mix. {methods_with(Styled)}"
            )
        which = style_mixing.layers(layers, method.layers)
        count = len(rows)
        with self.runtime.autocast(), fixed_seed(), torch.no_grad():
            z = naming.latents(self.generator(), [*rows, *columns])
            w = naming.styles(method, z, self.one_label(label, len(z)), truncation)
            w = torch.cat([w, style_mixing.mix_styles(w[:count], w[count:], which)])
            parts = [method.synthesize(part) for part in w.split(self.batch_size())]
            images = torch.cat(parts).float()
        left, top, mixed = images.tensor_split((count, len(z)))
        corner = torch.zeros_like(images[:1])
        body = torch.cat([left[:, None], mixed.unflatten(0, (count, -1))], 1)
        sheet = torch.cat([torch.cat([corner, top])[None], body])
        return sheet.flatten(0, 1)

    def project(self, x: Tensor, **options: Unpack[ProjectOptions]) -> projection.Projection:
        """The latents of images x [N, C, H, W] in [-1, 1]; see `projection.project`."""
        method = self.generator()
        with torch.inference_mode(False):
            return projection.project(method, x.to(self._device), **options)

    def generator(
        self, truncation: float | None = None, size: tuple[int, int] | None = None
    ) -> Samples:
        """The method as a generator from noise.

        truncation: check that the method supports it
        size: (height, width) of its images; None: that of training
        """
        method = self.runtime.method
        name = type(method).__name__
        if not isinstance(method, Samples):
            raise CapabilityError(f"{name} translates images and has no latent: use translate")
        if truncation is not None:
            if not isinstance(method, Truncates):
                raise CapabilityError(f"{name} has no truncation. {methods_with(Truncates)}")
            if not truncation > 0:
                raise UserError(
                    f"truncation is {truncation}; give a number above 0 (1, or the method's "
                    "maximum, is no truncation)"
                )
        if size is None:
            return method
        if not isinstance(method, AnySize):
            height, width = self.runtime.training_size
            raise CapabilityError(
                f"this {name} generates images of {height}x{width} pixels (height x width) alone. "
                f"{methods_with(AnySize)}"
            )
        if not 1 <= min(size) <= max(size) <= MAX_SIDE or (
            FLOATS * 4 * size[0] * size[1] > environment.memory(self._device)
        ):
            raise UserError(
                f"images of {size[0]}x{size[1]} pixels (height x width) cannot be generated: "
                f"sides are 1 to {MAX_SIDE:,} pixels, and memory must have room for {FLOATS} "
                "numbers a pixel"
            )
        return method.at_size(size)

    def batch_size(self, size: tuple[int, int] | None = None) -> int:
        """Images per forward pass, by their size (`batch_that_fits`)."""
        return batch_that_fits(*(size or self.runtime.training_size), self._device)

    def label_numbers(self, labels: Iterable[Label], n: int) -> list[int]:
        """The numbers of `n` classes, by number or by name."""
        classes = self.runtime.method.classes
        if not classes:
            raise CapabilityError(UNLABELED)
        if isinstance(labels, str):
            raise UserError(
                f"labels must be a list of {n} names or numbers, one per image; got {labels!r}; "
                f"for one class of all images give label={labels!r}"
            )
        labels = list(labels)
        numbers = [self.class_number(y) if isinstance(y, str) else y for y in labels]
        valid = all(isinstance(y, SupportsIndex) and 0 <= y < classes for y in numbers)
        if len(numbers) != n or not valid:
            raise UserError(
                f"labels must be {n} numbers from 0 to {classes - 1}, or names of classes, one per "
                f"image; got {labels[:10]}"
            )
        return [int(y) for y in numbers]

    def class_number(self, name: str) -> int:
        """The number of a class. Raises `UserError` for an unknown name."""
        if not self.runtime.method.classes:
            raise CapabilityError(UNLABELED)
        names = self.runtime.classes
        if name not in names:
            raise UserError(f"this model has no class {name!r}. {did_you_mean(name, names)}")
        return names.index(name)

    def columns(self, n: int) -> int | None:
        """The columns of a grid of `n` samples; see `Model.columns`."""
        classes = self.runtime.method.classes
        if not 2 <= classes <= MAX_COLUMNS:
            return None
        return classes * max(1, round(n**0.5 / classes))

    @property
    def _device(self) -> torch.device:
        return self.runtime.method.device

    def one_label(self, label: Label | None, n: int) -> Tensor | None:
        """Equal labels [n], by default of the first class; None without classes."""
        number = 0 if label is None else self.label_numbers([label], 1)[0]
        if not self.runtime.method.classes:
            return None
        return torch.full((n,), number, device=self._device)


def batch_that_fits(height: int, width: int, device: torch.device) -> int:
    """The largest power of two, up to 64, of images that fit an eighth of the memory.

    A generator is assumed to hold `FLOATS` float32 numbers per pixel. The total memory
    counts, not the free memory, so that the images of a seed are always rounded
    alike.
    """
    images = max(1, environment.memory(device) // 8 // (FLOATS * 4 * height * width))
    return min(64, 1 << (images.bit_length() - 1))
