"""A folder of images as the frames of a clip, with a file of what images lack."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ganvas.core.errors import DataError, UserError, printable
from ganvas.core.files import open_atomic
from ganvas.core.guards import plural
from ganvas.core.json_files import Json, read_json
from ganvas.inference import image_input
from ganvas.media.clip import UNSPECIFIED, Frame, Look
from ganvas.media.decode import EXTENSIONS
from ganvas.media.display import quarter_turns
from ganvas.media.samples import eight_bit

TIMES = "timestamps.txt"  # milliseconds, "timestamp format v2"
FACTS = "clip.json"  # color tags and the shape of pixels
TIME_BASE = Fraction(1, 90_000)
MOST_TAGS = (3, 18, 23, 19)  # range, matrix, primaries, transfer: below these
LARGEST_ASPECT = 1 << 16


def write_facts(folder: Path, times: Sequence[str], look: Look) -> None:
    """Write what the images of a folder do not hold.

    times: of the frames in milliseconds
    look: of the clip; its frames in the folder are upright, unless they are turned by
        no quarter turn
    """
    text = "\n".join(["# timestamp format v2", *times, ""])
    with open_atomic(folder / TIMES) as file:
        file.write(text.encode())
    aspect, turns = look.aspect, quarter_turns(look.matrix)
    if aspect and turns is not None and turns[1]:  # sides have changed places
        aspect = 1 / aspect
    names = ("range", "matrix", "primaries", "transfer")
    facts: dict[str, Json] = {"color": dict(zip(names, look.color, strict=True))}
    facts["aspect"] = [aspect.numerator, aspect.denominator] if aspect else None
    facts["matrix"] = [*look.matrix] if look.matrix and turns is None else None
    with open_atomic(folder / FACTS) as file:
        file.write(f"{json.dumps(facts, indent=1)}\n".encode())


class FrameFolder:
    """A folder of images as the frames of a clip, in the order of their names.

    look, count, damaged: see `Clip`; of more than 8 bits if the first readable image is
    """

    def __init__(self, path: Path, rate: float | None) -> None:
        """Open a folder.

        rate: frames per second; None: timestamps.txt, or 25

        Raises `UserError` for a folder without images, or with wrong facts.
        """
        self.path, self.damaged = path, list[float]()
        self.files = sorted(p for p in path.iterdir() if p.suffix.lower() in EXTENSIONS)
        if not self.files:
            raise UserError(f"there are no images in {printable(path)}")
        self.count = len(self.files)
        times = None if rate is not None else self._times(path / TIMES)
        if times is None:
            unit = 1 / Fraction(rate or 25).limit_denominator(1001)
            look, self.times = Look(unit, 1 / unit), list(range(self.count))
        else:
            length = max(times[-1] - times[0], 1)
            mean = Fraction(max(self.count - 1, 1), length) / TIME_BASE
            look, self.times = Look(TIME_BASE, mean.limit_denominator(1001)), times
        self.look = replace(_with_facts(look, path / FACTS), deep=self._deep())

    def _times(self, file: Path) -> list[int] | None:
        """Timestamps in units of `TIME_BASE`; None without a file."""
        if not file.is_file():
            return None
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        numbers = [line for line in lines if line.strip() and not line.startswith("#")]
        with suppress(ValueError, OverflowError):
            times = [round(float(line) / 1000 / TIME_BASE) for line in numbers]
            if len(times) == self.count and all(a < b for a, b in itertools.pairwise(times)):
                return times
        raise DataError(
            f"{printable(file)} has {plural(len(numbers), 'line')} of time for "
            f"{plural(self.count, 'image')}; expected one rising number of milliseconds for each"
        )

    def _deep(self) -> bool:
        for file in self.files:
            with suppress(UserError):
                return image_input.decoded(file).color.dtype != np.uint8
        return False

    def frames(self, after: int | None = None) -> Iterator[Frame]:
        """The images with greater timestamps; one that cannot be read is left out."""
        size = None
        for pts, file in zip(self.times, self.files, strict=True):
            if after is not None and pts <= after:
                continue
            try:
                color = image_input.decoded(file).color
            except UserError:
                self.damaged.append(float(pts * self.look.time_base))
                continue
            size = size or color.shape[:2]
            if color.shape[:2] != size:
                raise DataError(
                    f"{printable(file)} is {color.shape[1]}x{color.shape[0]}; the frames before "
                    f"it are {size[1]}x{size[0]}"
                )
            if self.look.deep and color.dtype == np.uint8:
                color = color.astype(np.uint16) * 257
            elif not self.look.deep:
                color = eight_bit(color)
            yield Frame(pts, 0, np.repeat(color, 3, 2) if color.shape[2] == 1 else color)

    def close(self) -> None:
        """Nothing is open."""


def _with_facts(look: Look, file: Path) -> Look:
    """A look with the facts of `write_facts`, if there are any."""
    if not file.is_file():
        return look
    facts = read_json(file, "description of a clip", most=1 << 16)
    color, aspect = facts.get("color"), facts.get("aspect")
    tags = [*color.values()] if isinstance(color, dict) else [0, *[UNSPECIFIED] * 3]
    ratio = aspect if isinstance(aspect, list) else [1, 1]
    matrix = facts.get("matrix") or [0] * 9
    if (
        len(tags) != len(MOST_TAGS)
        or not all(type(n) is int and 0 <= n < most for n, most in zip(tags, MOST_TAGS))
        or len(ratio) != 2
        or not all(type(n) is int and 0 < n <= LARGEST_ASPECT for n in ratio)
        or not isinstance(matrix, list)
        or len(matrix) != 9
        or not all(type(n) is int and abs(n) < 1 << 31 for n in matrix)
    ):
        raise DataError(
            f"{printable(file)} describes no clip: remove it, and color tags and the shape of "
            "pixels stay open"
        )
    bounds, space, primaries, transfer = (n for n in tags if isinstance(n, int))
    shape = Fraction(*(n for n in ratio if isinstance(n, int))) if aspect else None
    turn = tuple(n for n in matrix if isinstance(n, int))
    tagged = replace(look, color=(bounds, space, primaries, transfer), aspect=shape)
    return replace(tagged, matrix=turn if any(turn) else None)
