"""Keyword options of `Model`'s methods, with the forms of their results, as types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
from PIL import Image
from torch import Tensor

from ganvas.core import Curve
from ganvas.inference.latent.naming import SampleName
from ganvas.inference.latent.projection import Distance, Space

Pil = Literal["pil"]
Array = Literal["numpy"]
Torch = Literal["torch"]
Output = Pil | Array | Torch
Outputs = Sequence[Image.Image] | np.ndarray | Tensor
ImageSource = str | Path | Image.Image | np.ndarray
Several = Iterable[ImageSource]
Names = Sequence[SampleName]
Label = int | str


class Facts(TypedDict):
    """Facts that every generated image carries in its metadata.

    weights: hash of the networks' tensors (`model_file.weights_hash`)
    """

    recipe: str | None
    images_trained: int | None
    weights: str


class SampleOptions(TypedDict, total=False):
    """Options of `Model.sample`."""

    seed: int
    label: Label | None
    labels: Sequence[Label] | None
    truncation: float | None
    batch: int | None
    all_classes: bool
    size: int | str | tuple[int, int] | None
    on_progress: Callable[[float], object] | None


class WalkOptions(TypedDict, total=False):
    """Options of `Model.walk`."""

    seed: int
    frames: int
    loop: bool
    curve: Curve | None
    label: Label | None
    truncation: float | None


class MixOptions(TypedDict, total=False):
    """Options of `Model.mix`."""

    label: Label | None
    truncation: float | None


class ProjectOptions(TypedDict, total=False):
    """Options of `Model.project`, those of `latent.projection.project`."""

    space: Space | None
    steps: int
    distance: Distance | None
    seed: int


class TranslateOptions(TypedDict, total=False):
    """Options of `Model.translate`."""

    to: str | None
    tile: int | None
    seed: int
    at_training_size: bool
