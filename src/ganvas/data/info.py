"""The description of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ganvas.core import Shape
from ganvas.media.values import Values

Task = Literal["images", "pairs", "domains"]


@dataclass(frozen=True)
class Info:
    """Description of a data set. All text is printable.

    source: name of the source
    layout: how its images lie there, for the user
    part: the opened part
    count: images or pairs of an epoch; for domains the larger one of `counts`
    fingerprint: hash of all decoded pixels and labels
    classes: names of the labels, in their order
    counts: domain -> images; empty for other tasks
    skipped: "file: reason" of unreadable images, the first 20 of `skipped_count`
    notes: further lines for the user
    palette, ids: as of `Shape`
    values: type and range of measurements; None: photographs
    """

    task: Task
    source: str
    layout: str
    part: str
    channels: int
    height: int
    width: int
    count: int
    fingerprint: str
    classes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped_count: int = 0
    palette: tuple[int, ...] = ()
    ids: bool = False
    values: Values | None = None

    @property
    def shape(self) -> Shape:
        """What a method needs to build its networks."""
        classes = len(self.classes)
        return Shape(self.channels, self.height, self.width, classes, self.palette, self.ids)
