"""What a visitor sees of a model in the tab Play."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ganvas.apps.studio import parts
from ganvas.inference import explore
from ganvas.inference.library import open_model
from ganvas.inference.model import Model
from ganvas.media import grid


@dataclass(frozen=True)
class View:
    """What a visitor sees.

    path: of the model
    label: of all images; None: classes in turn
    count: images of the sheet
    current, previous: the images chosen last and before
    """

    path: Path
    seed: int = 0
    label: str | None = None
    truncation: float | None = None
    count: int = 0
    current: int = 0
    previous: int = 1

    def model(self) -> Model:
        """The model, from memory."""
        return open_model(self.path)

    def chosen(self, index: int) -> tuple[tuple[int, int], str | int | None]:
        """The name and the label of an image of the sheet."""
        if self.label is not None:
            return (self.seed, index), self.label
        return explore.sample_of_grid(self.model(), index, self.seed)

    def facts(self, **more: object) -> dict[str, object]:
        """What the mark of an image says."""
        facts = {"seed": self.seed, "truncation": self.truncation, "label": self.label}
        return {**self.model().facts, **facts, **more}

    def caption(self, index: int) -> str:
        """An image of the sheet in words."""
        (seed, number), label = self.chosen(index)
        if label is None:
            return f"image {number} of seed {seed}"
        name = label if isinstance(label, str) else self.model().classes[label]
        return f"image {number} of seed {seed}, class {name}"

    def image(self) -> Tensor:
        """The chosen image [1, C, H, W] in [-1, 1]."""
        name, label = self.chosen(self.current)
        return explore.images(self.model(), [name], label=label, truncation=self.truncation)

    def source(self, image: Tensor, **facts: object) -> str:
        """An image of the model as an address in the page, with its mark."""
        return parts.data_uri(grid.to_pil(image[0]), self.facts(number=self.current, **facts))
