"""A look at what lies in a data set before training on it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from ganvas.data.cache import _threads, in_order, most_common_channels, unequal
from ganvas.data.decode import Broken, Header, as_array
from ganvas.data.sources import Files, Found, Pictures, Source, find_images, find_sides, match, several
from ganvas.errors import UserError


@dataclass
class Report:
    """What `check` found. `problem`: why nothing can be trained on it, else None. Sizes are (least, median, most) in
    pixels; `modes` are Pillow's; `plain` counts those of a single colour; `broken` and `unmatched` name files;
    `duplicates` are groups of files with the same pixels; `fits` are commands to run next."""

    source: str
    layout: str = ""
    count: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    sides: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    width: tuple[int, float, int] | None = None
    height: tuple[int, float, int] | None = None
    modes: dict[str, int] = field(default_factory=dict)
    channels: int = 0
    pairs: int = 0
    plain: int = 0
    broken: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    duplicates: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fits: list[str] = field(default_factory=list)
    problem: str | None = None

    @property
    def ok(self) -> bool:
        return self.problem is None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self) | {"ok": self.ok}

    def lines(self) -> list[str]:
        """For people."""
        out = [f"{self.source}: {self.layout}" if self.layout else self.source]
        if self.count:
            split = self.parts if len(self.parts) > 1 else {}
            out.append(f"images     {self.count}" + _listed(split) + (f", {self.pairs} pairs" if self.pairs else ""))
        if self.sides:
            out.append("sides      " + ", ".join(f"{k}: {n}" for k, n in self.sides.items()))
        if self.classes:
            out.append(f"classes    {len(self.classes)}{_listed(self.classes)}")
        if self.width and self.height:
            for name, (low, mid, high) in (("width", self.width), ("height", self.height)):
                out.append(f"{name:<10} {low} to {high}, median {mid:g}" if low < high else f"{name:<10} {low}")
            out.append(
                f"modes      {', '.join(f'{m}: {n}' for m, n in self.modes.items())}; trained as "
                f"{self.channels} channels"
            )
        if self.broken:
            out += [f"unreadable {len(self.broken)}, skipped in training (an error with --strict)"]
            out += [f"  {b}" for b in self.broken]
        if self.unmatched:
            out += [f"unmatched  {len(self.unmatched)} without a partner of the same name"]
            out += [f"  {u}" for u in self.unmatched]
        if self.duplicates:
            out += [f"duplicates {sum(len(d) - 1 for d in self.duplicates)} images repeat the pixels of another"]
            out += [f"  {several(d, 5)}" for d in self.duplicates[:20]]
            out += [f"  and {len(self.duplicates) - 20} more groups"] if len(self.duplicates) > 20 else []
        out += [f"note       {n}" for n in self.notes]
        if self.problem:
            out.append(f"problem    {self.problem}")
        out += [f"run next   {c}" for c in self.fits]
        return out


def _listed(counts: dict[str, int]) -> str:
    return f" ({several([f'{k}: {n}' for k, n in counts.items()], 20)})" if counts else ""


def check(source: Source) -> Report:
    """Reads every picture of `source` and describes what is there; a data set that is no good is described, never
    raised."""
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ",".join(str(s) for s in source)
    report = Report(name)
    try:
        founds = [_find(source, "train")]
        test = _find(source, "test")
        if test.part not in ("all", founds[0].part):
            founds.append(test)
    except UserError as e:
        report.problem = str(e)
        return report
    report.layout = founds[0].layout
    report.notes = list(founds[0].notes)
    headers: list[Header] = []
    seen: dict[bytes, list[str]] = {}
    for found in founds:
        for side, pictures in found.sets.items():
            got = _look(pictures, report, seen)
            headers += got
            report.parts[found.part] = report.parts.get(found.part, 0) + len(got)
            if side != "x":
                report.sides[side] = report.sides.get(side, 0) + len(got)
            if side == "x" and pictures.labels is not None:
                counts = np.bincount(pictures.labels, minlength=len(pictures.classes)).tolist()
                for c, n in zip(pictures.classes, counts, strict=True):
                    report.classes[c] = report.classes.get(c, 0) + n
        if "a" in found.sets:
            _pair(found, report)
    report.count = len(headers)
    report.duplicates = [names for names in seen.values() if len(names) > 1]
    if not headers:
        report.problem = f"none of the images can be read: {several(report.broken)}"
        return report
    for axis in ("width", "height"):
        values = [getattr(h, axis) for h in headers]
        setattr(report, axis, (min(values), median(values), max(values)))
    report.modes = dict(Counter(h.mode for h in headers).most_common())
    report.channels = most_common_channels(Counter(h.channels for h in headers))
    _advise(report, headers)
    return report


def _find(source: Source, part: Any) -> Found:
    return find_sides(source, part) or find_images(source, part)


def _look(pictures: Pictures, report: Report, seen: dict[bytes, list[str]]) -> list[Header]:
    """Headers of all that decode; the others' names and reasons into the report, names by pixels into `seen`."""

    def look(i: int) -> tuple[Header, bytes, bool] | Broken:
        try:
            header, image = pictures.header(i), pictures.load(i)
        except Broken as e:
            return Broken(f"{pictures.name(i)}: {e}")
        digest = hashlib.blake2b(f"{image.mode}{image.size}".encode(), digest_size=16)
        pixels = as_array(image)
        digest.update(np.ascontiguousarray(pixels).data)
        return header, digest.digest(), bool((pixels == pixels[0, 0]).all())

    headers = []
    for i, got in enumerate(in_order(look, range(len(pictures)), "reading images", _threads([pictures]))):
        if isinstance(got, Broken):
            report.broken.append(str(got))
        else:
            headers.append(got[0])
            report.plain += got[2]
            seen.setdefault(got[1], []).append(pictures.name(i))
    return headers


def _pair(found: Found, report: Report) -> None:
    """Whether the two sides match by name: all, some or none (then they are two domains)."""
    a, b = found.sets["a"], found.sets["b"]
    if not (isinstance(a, Files) and isinstance(b, Files)):
        return
    try:
        one, other, unmatched = match(a, b)
    except UserError as e:
        report.notes.append(str(e))
        return
    if not len(one):
        return
    report.pairs += len(one)
    report.unmatched += unmatched
    for i in range(len(one)):
        try:
            if unequal(one.header(i), other.header(i)):
                report.notes.append(f"{one.name(i)} and {other.name(i)} are a pair of two shapes")
        except Broken:  # named already
            continue


def _advise(report: Report, headers: Sequence[Header]) -> None:
    """Commands that fit what was found."""
    least = min(min(h.width, h.height) for h in headers)
    assert report.width is not None
    assert report.height is not None
    middle = min(report.width[1], report.height[1])
    size = max(32, min(64, 1 << (int(middle).bit_length() - 1)))
    if report.width[0] != report.width[2] or report.height[0] != report.height[2]:
        report.notes.append(f"the images are of unlike sizes: training needs --size, as in --size {size}")
    if least < size:
        small = sum(min(h.width, h.height) < size for h in headers)
        report.notes.append(f"{small} images are smaller than {size}x{size} and would be enlarged")
    if report.plain:
        why = " (16-bit pictures with small values become black)" if any("I" in m for m in report.modes) else ""
        report.notes.append(f"{report.plain} images are of a single colour{why}")
    if report.count < 1000:
        report.notes.append(f"{report.count} images are few: a generator may learn them by heart")
    data, out = report.source, "--out runs/first"
    if report.sides or len(report.classes) == 2:
        report.fits.append(f"ganvas train cyclegan {data} --size {2 * size if middle >= 128 else size} {out}")
    if not report.sides:
        report.fits.append(f"ganvas train dcgan {data} --size {size} {out}")
        report.fits.append(f"ganvas train wgan_gp {data} --size {size} {out}")
    large = sum(min(h.width, h.height) >= 128 for h in headers)
    if not report.sides and 2 * large >= len(headers):  # tiles of 128 pixels, at the pictures' own resolution
        report.fits.append(f"ganvas train srresnet {data} --size 96 {out}")
    if not report.sides and all(1.9 * h.height <= h.width <= 2.1 * h.height for h in headers):
        report.notes.append(
            "all images are twice as wide as high: if they are A|B pairs, train them with a paired method"
        )
