"""The state that sampling and translation share: method, description, precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Required, TypedDict, cast

import numpy as np
import torch
from torch import Tensor

from ganvas import methods
from ganvas.core import Couples, Method, rng
from ganvas.core.errors import UserError, printable
from ganvas.engine.records import DataRecord, ShapeRecord
from ganvas.inference.options import Facts, Output, Outputs
from ganvas.media import generated, grid
from ganvas.media.values import Values
from ganvas.methods.base import supports


class Description(TypedDict, total=False):
    """The description in a model's header. Other names are facts for readers."""

    imported: str
    options: dict[str, str]
    source: dict[str, object]
    ganvas: str
    recipe: str
    task: str
    scale: int
    shape: Required[ShapeRecord]
    stage: dict[str, object]
    data: DataRecord
    images_trained: int


@dataclass(frozen=True)
class Runtime:
    """A trained method, ready to run.

    method: in evaluation mode, on its device
    info: the model's description, as in its header
    weights: hash of the tensors (`model_file.weights_hash`)
    narrow: bf16 autocast
    """

    method: Method
    info: Mapping[str, object]
    weights: str
    narrow: bool = False

    @property
    def facts(self) -> Facts:
        """Facts that every generated image carries in its metadata."""
        known = self.description
        return {
            "recipe": known.get("recipe"),
            "images_trained": known.get("images_trained"),
            "weights": self.weights,
        }

    @property
    def description(self) -> Description:
        """`info` with types. The reader of model files has checked them."""
        return cast(Description, self.info)

    @property
    def values(self) -> Values | None:
        """Type and range of a model of measurements; None: photographs."""
        data = self.description.get("data")
        found = None if data is None else data.get("values")
        return None if found is None else Values(found["low"], found["high"], found["type"])

    @property
    def channels(self) -> int:
        """Channels of the training images, 1 to 16."""
        return self.description["shape"]["channels"]

    @property
    def training_size(self) -> tuple[int, int]:
        """(height, width) of the training images."""
        shape = self.description["shape"]
        height, width = shape["height"], shape["width"]
        side, longest = self.method.current_stage.resolution, max(height, width)
        return (
            (height, width) if side is None else (height * side // longest, width * side // longest)
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """A name for each class; its number, if the model has no names."""
        data = self.description.get("data")
        names = tuple(map(str, data.get("classes", ()))) if data else ()
        if isinstance(self.method, Couples):
            names = tuple(self.method.domains)
        count = self.method.classes
        return names if len(names) == count else tuple(map(str, range(count)))

    def summary(self) -> str:
        """The method, the size of its images and its classes, in words."""
        shape, classes = self.description["shape"], self.classes
        size = "x".join(map(str, (shape["height"], shape["width"], shape["channels"])))
        facts = [type(self.method).__name__, f"{size} (height x width x channels)"]
        if self.method.upscale > 1:
            facts.append(f"upscales {self.method.upscale} times")
        if classes:
            names = ", ".join(map(printable, classes[:5]))
            facts.append(f"{len(classes)} classes: {names}{', ...' * (len(classes) > 5)}")
        return ", ".join(facts)

    def autocast(self) -> torch.autocast:
        """The context of forward passes: bf16 if `narrow`."""
        return torch.autocast(self.method.device.type, torch.bfloat16, self.narrow)

    def measured(self, x: Tensor) -> np.ndarray:
        """Images [..., C, H, W] in [-1, 1] -> values [..., H, W, C] of the data's type.

        Raises `UserError` for NaN and infinite pixels.
        """
        assert self.values is not None
        grid.require_finite(x)
        return self.values.from_unit(x.detach().float().movedim(-3, -1).cpu().numpy())

    def apart(self, x: Tensor) -> Tensor:
        """Images [..., C, H, W] as they can be shown, gray, RGB or RGBA.

        Four channels of measurements are no color with alpha: they lie side by side.
        """
        four = self.values is not None and x.shape[-3] == 4
        return grid.beside(x) if four else grid.shown(x)

    def output(self, x: Tensor, output: Output, **facts: int) -> Outputs:
        """Images [N, C, H, W] in [-1, 1] in the requested form."""
        check_output(output)
        if output == "torch":
            return x
        if output == "numpy":
            return grid.to_uint8(x) if self.values is None else self.measured(x)
        images = (grid.to_uint8(self.apart(image)) for image in x)
        known = {**self.facts, **facts}
        return [generated.generated(image, None, composite=False, **known) for image in images]


def check_output(output: str) -> None:
    """Raise `UserError` for an unknown form of output."""
    if output not in ("pil", "numpy", "torch"):
        raise UserError(f"output is {output!r}; choose 'pil', 'numpy' or 'torch'")


@contextmanager
def fixed_seed(seed: int = 0) -> Iterator[None]:
    """Seed torch inside the context; restore its random state afterwards."""
    with torch.random.fork_rng():
        rng.reseed(seed)
        yield


def methods_with(capability: type) -> str:
    """A sentence that lists the methods with a capability, for error messages.

    capability: a protocol of `core`, as `Truncates`
    """
    names = [name for name in methods.__all__ if supports(getattr(methods, name), capability)]
    return f"Methods that can: {', '.join(names) or 'none in this version'}"
