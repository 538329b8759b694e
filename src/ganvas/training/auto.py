"""Choose a recipe for a data set and a length of training: `ganvas train auto`.

The candidates and the choices are in auto.toml. For images from noise bench/auto.py
measures the candidates; until it has, the choice is a judgment.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from statistics import median
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from ganvas.core.errors import DataError, UserError
from ganvas.core.guards import plural
from ganvas.core.sizes import sides
from ganvas.data.headers import two_in_one
from ganvas.data.layouts import find_images, find_sides, match, pairs_by_chance
from ganvas.data.measured import white_for
from ganvas.data.open_source import Source
from ganvas.data.pictures import Files, ImageSet
from ganvas.media.decode import Header
from ganvas.media.samples import Broken

NAME = "auto"  # in place of a recipe
FEW = 2_000  # images; fewer are augmented
LOOKED_AT = 200  # images whose size is read
LEAST = 32  # sides in pixels
MOST = {"noise": 64, "partial": 32, "pairs": 256, "domains": 128}
SHORT = 10  # minutes; shorter trainings take images of the least side
_PART = re.compile(r"\{images(?:([*/])([\d.]+))?\}")

Task = Literal["noise", "partial", "pairs", "domains"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Candidate(_Table):
    """A recipe with settings that depend on the length of the run; see auto.toml."""

    task: Task
    recipe: str
    settings: tuple[str, ...] = ()
    unlabeled: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    few: str | None = None
    depth: str | None = None


class _Choice(_Table):
    task: Task
    candidate: str
    labels: bool | None = None
    minutes: float = float("inf")


class Candidates(_Table):
    """The content of auto.toml."""

    candidates: dict[str, Candidate]
    choices: tuple[_Choice, ...]


class Facts(NamedTuple):
    """What decides the choice.

    task: "partial" for images of which some have labels
    images: images, pairs, or images of the first domain
    classes: 0: without labels
    side: median of the shorter sides in pixels
    white: value to show as white, for dark images of more than 8 bits (`white_for`)
    """

    task: Task
    images: int
    classes: int
    side: float
    white: int | None = None

    @property
    def text(self) -> str:
        """The facts in words."""
        kind = "pair" if self.task == "pairs" else "image"
        more = f" in {self.classes} classes" if self.classes else ""
        more += {"domains": " of the first domain", "partial": ", some with labels"}.get(
            self.task, ""
        )
        return f"{plural(self.images, kind)}{more}, shorter side {self.side:g} pixels"


class Chosen(NamedTuple):
    """A recipe and its settings; `set` may have lengths to fill in (`filled`).

    size: of the images, in pixels: one side or (height, width)
    augment: as of `ganvas train --augment`
    reason: one line for the user
    """

    recipe: str
    size: int | tuple[int, int]
    set: tuple[str, ...]
    augment: str | None
    reason: str


def read() -> Candidates:
    """The candidates and the choices."""
    text = resources.files("ganvas.training").joinpath("auto.toml").read_text(encoding="utf-8")
    return Candidates.model_validate(tomllib.loads(text))


def filled(settings: Sequence[str], images: int) -> tuple[str, ...]:
    """The settings with {images}, {images/2} and {images*0.7} as numbers."""

    def number(match: re.Match[str]) -> str:
        factor = float(match[2] or 1)
        return str(int(images * factor if match[1] == "*" else images / factor))

    return tuple(_PART.sub(number, setting) for setting in settings)


def facts(source: Source) -> Facts:
    """Look at a data set: its layout, and some of its images.

    Raises `UserError` if there are no images that can be read.
    """
    sides = find_sides(source, alone=True)
    images = (sides or find_images(source)).sets["a" if sides else "x"]
    headers, white = _some(images)
    side = median(min(h.width, h.height) for h in headers)
    task: Task
    if sides:
        paired = _paired(images, sides.sets["b"]) and not pairs_by_chance(sides)
        task = "pairs" if paired else "domains"
        return Facts(task, len(images), 0, side, white)
    if len(images) == 1:
        raise DataError(
            f"{images.name(0)} is one image: SinGAN learns from its patches (ganvas train singan)"
        )
    known = images.labels is not None and images.labels >= 0
    if np.any(known):
        task = "noise" if np.all(known) else "partial"
        return Facts(task, len(images), len(images.classes), side, white)
    halves = isinstance(images, Files) and two_in_one(headers)
    return Facts("pairs" if halves else "noise", len(images), 0, side, white)


def _paired(a: ImageSet, b: ImageSet) -> bool:
    if not (isinstance(a, Files) and isinstance(b, Files)):
        return False
    try:
        return not match(a, b)[2]
    except UserError:  # no names in common
        return False


def _some(images: ImageSet) -> tuple[list[Header], int | None]:
    """(headers of some images, evenly spaced, and the value to show as white).

    Raises `DataError` if none can be read.
    """
    headers, brightest = [], []
    for i in np.linspace(0, len(images) - 1, min(len(images), LOOKED_AT)).astype(int).tolist():
        with suppress(Broken):
            headers.append(images.header(i))
            wide = images.deep(i)
            brightest += [] if wide is None else [int(wide.max())]
    if not headers:
        raise DataError(
            f"none of {len(images)} images can be read, as {images.name(0)}: see "
            "`ganvas data check`"
        )
    return headers, white_for(max(brightest, default=None))


def choose(
    found: Facts, minutes: float | None, size: int | tuple[int, int] | None = None
) -> Chosen:
    """The recipe for a data set.

    minutes: of training; None: long
    size: of images; None: what suits the data and the time
    """
    table = read()
    length = float("inf") if minutes is None else minutes
    name = next(
        row.candidate
        for row in table.choices
        if row.task == found.task
        and row.labels in (None, found.classes > 0)
        and length <= row.minutes
    )
    return configured(name, found, length, size)


def configured(
    name: str, found: Facts, minutes: float, size: int | tuple[int, int] | None = None
) -> Chosen:
    """A candidate of this name for a data set; see `choose`."""
    candidate = read().candidates[name]
    if size is None:
        most = LEAST if found.task == "noise" and minutes < SHORT else MOST[found.task]
        size = max(LEAST, min(most, 1 << (int(found.side).bit_length() - 1)))
    set = list(candidate.settings)
    if not found.classes:
        set += candidate.unlabeled
    if (size if isinstance(size, int) else max(size)) > LEAST:
        set += candidate.large
    if candidate.depth is not None:
        least = size if isinstance(size, int) else min(size)
        set.append(f"{candidate.depth}={min(8, (least & -least).bit_length() - 1)}")
    if found.white is not None:
        set.append(f"data.white={found.white}")
    augment = candidate.few if found.images < FEW else None
    more = "" if augment is None else f", augmented ({augment})"
    height, width = sides(size)
    reason = f"{found.text}: {candidate.recipe} at {width}x{height}{more}"
    return Chosen(candidate.recipe, size, tuple(set), augment, reason)
