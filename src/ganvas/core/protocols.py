"""Protocols: data sets, adaptive modules, and the capabilities of methods.

Sampling, measuring and exporting ask for a capability with `isinstance`; a method need
not name the ones that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from ganvas.core.rng import Rows
from ganvas.core.types import Batch, Curve, Shape

T = TypeVar("T")


class DatasetInfo(Protocol):
    """What a run must know of a data set (`ganvas.data.info.Info` has more)."""

    @property
    def shape(self) -> Shape:
        """What a method needs to build its networks."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of all images and labels."""
        ...


class Dataset(Protocol):
    """Real images: batches as a pure function of a cursor."""

    @property
    def info(self) -> DatasetInfo:
        """What the data set holds."""
        ...

    def draw(
        self,
        cursor: int,
        n: int,
        *,
        seed: int,
        rows: Rows | None = None,
        resolution: int | None = None,
        device: torch.device | str | None = None,
    ) -> Batch:
        """The batch of n images at a cursor, which counts images from the run's start.

        seed: decides the order of the images
        rows: return only these of the batch
        resolution: longer side in pixels; None: the data's
        device: of the tensors
        """
        ...


@runtime_checkable
class Adaptive(Protocol):
    """A module of a method that follows what is logged (an augmentation's strength)."""

    def adapt(self, log: Mapping[str, Tensor], images: int) -> Mapping[str, Tensor]:
        """Adapt after a step of `images` real images that logged `log`.

        Returns scalars to log.
        """
        ...


@runtime_checkable
class Samples(Protocol):
    """Capability: generate images from noise, and from labels if `classes` is not 0.

    curve: the paths on which latents stay likely: arcs ("spherical") for normal
        latents, straight lines ("linear") for uniform ones, whose cube arcs leave
    """

    classes: int
    curve: Curve

    def latent(self, n: int) -> Tensor:
        """Noise for n images, [n, ...], drawn as in training."""
        ...

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Generate n images [n, C, H, W] in [-1, 1].

        z: latents; None: drawn by `latent`
        y: labels [n] (int64); None: drawn if the method takes labels
        """
        ...


@runtime_checkable
class Translates(Protocol):
    """Capability: translate images.

    directions: the values of `to`
    multiple: both sides of an image must be a multiple of it
    """

    directions: Sequence[str]
    multiple: int

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Translate images [N, C, H, W] in [-1, 1] to domain `to`.

        Returns images `upscale` times as large.
        """
        ...


@runtime_checkable
class Truncates(Protocol):
    """Capability: trade variety for quality by truncation.

    BigGAN draws z from a narrower normal distribution; StyleGAN moves w to its mean.
    """

    def truncated(self, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        """Generate images from z [n, ...] with truncation.

        At its largest, `truncation` gives the images of `sample`; the smaller it is,
        the nearer they are to the most likely ones. The images are a continuous
        function of z, so that a seed gives similar images at every truncation.
        """
        ...


@runtime_checkable
class AnySize(Protocol):
    """Capability: generate images of other sizes than the training's."""

    def at_size(self, size: tuple[int, int]) -> Samples:
        """The same networks as a generator of images of (height, width)."""
        ...


@runtime_checkable
class Likelihood(Protocol):
    """Capability: the likelihood of images.

    levels: of a value, to which images are rounded
    """

    @property
    def levels(self) -> int:
        """Levels of a value."""
        ...

    def nats(self, x: Tensor) -> Tensor:
        """-log p(x) of images [n, C, H, W] in [-1, 1], in nats, [n]."""
        ...


@runtime_checkable
class Moves(Protocol):
    """Capability: generate images from styles whose input is shifted and turned."""

    def moved(self, w: Tensor, transform: Tensor) -> Tensor:
        """Images of styles w [n, layers, d] and one transform [3, 3].

        transform: from a place of these images to that of the untransformed ones whose
            content it shows, as of `metrics.equivariance`
        """
        ...


@runtime_checkable
class Gradual(Protocol):
    """Capability: generate images in many steps, and tell how far they are."""

    def draw(self, z: Tensor) -> Generator[float, None, Tensor]:
        """Yield the part that is done, up to 1; return the images of `sample`."""
        ...


def returned(
    steps: Generator[float, None, T], on_step: Callable[[float], object] | None = None
) -> T:
    """What a generator of progress returns at its end.

    on_step: called with each value that it yields
    """
    while True:
        try:
            part = next(steps)
        except StopIteration as end:
            return end.value
        if on_step is not None:
            on_step(part)


@runtime_checkable
class Styled(Protocol):
    """Capability: generate images from styles w, one for each layer.

    layers: number of layers that take a style
    """

    layers: int

    def styles(self, z: Tensor, y: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Map z [n, ...] to w [n, layers, d].

        truncation: moves w towards its mean in the layers that the method truncates; 1:
            untruncated
        """
        ...

    def synthesize(self, w: Tensor) -> Tensor:
        """Map w [n, layers, d] to images [n, C, H, W] in [-1, 1], deterministically."""
        ...

    def mean_style(self) -> Tensor:
        """The mean of w over z, [d]."""
        ...


@runtime_checkable
class Encodes(Protocol):
    """Capability: encode images; `sample(n, z=encode(x))` reconstructs them."""

    def encode(self, x: Tensor) -> Tensor:
        """Images [n, C, H, W] in [-1, 1] -> their most likely latents [n, ...]."""
        ...


@runtime_checkable
class Couples(Protocol):
    """Capability: generate corresponding images of several domains.

    Labels are domains, and one latent gives each domain's version of one image.

    domains: their names, by label
    """

    domains: Sequence[str]
