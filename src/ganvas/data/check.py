"""Describe a data set before training on it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import get_args

import numpy as np

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import plural, shell_quoted
from ganvas.core.json_files import Json
from ganvas.data.decoding import decoding_threads, map_in_order
from ganvas.data.headers import most_common_channels, two_in_one, unequal
from ganvas.data.label_maps import note_on_labels
from ganvas.data.layouts import (
    CLASS_FOLDERS,
    by_name_only,
    find_images,
    find_sides,
    match,
    pairs_by_chance,
)
from ganvas.data.measured import Measured, is_measured, white_for, window_for
from ganvas.data.open_source import Source
from ganvas.data.pictures import AnyPart, Files, ImageSet, Selection, endings_summary, several
from ganvas.data.reductions import factor_of, upscalers
from ganvas.data.streaming.shards import Shards
from ganvas.media.decode import Header
from ganvas.media.samples import Broken, as_array
from ganvas.media.values import TYPES

NAMED = 10  # names of files that are printed before their number
FEW = 1000  # images: below this, a discriminator soon knows each one


@dataclass
class Report:
    """Description of a data set. All text is printable.

    source: its name
    layout: how its images lie there
    count: images that can be read
    parts, sides, classes: name -> images
    width, height: (least, median, most) in pixels
    modes: Pillow's mode -> images
    channels: channels that it is trained with
    pairs: pairs of the same name
    scale: how many times as large all second images of pairs are as the first; 0: they
        differ in this, or it is no whole number
    plain: images of a single color
    brightest: largest value of gray images of more than 8 bits; None: there are none
    measured: (type, least and largest value) of measurements; None: photographs
    others: ending -> files that are not images
    broken: "name: reason" of unreadable images
    unmatched: images without a partner of the same name
    duplicates: groups of files with the same pixels
    notes: further lines for the user
    fits: commands to run next, quoted for a shell
    problem: why nothing can be trained on it, else None
    """

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
    scale: int = 0
    plain: int = 0
    brightest: int | None = None
    measured: tuple[str, float, float] | None = None
    others: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    duplicates: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fits: list[str] = field(default_factory=list)
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether a model can be trained on it."""
        return self.problem is None

    def as_dict(self) -> dict[str, Json]:
        """All fields and `ok`, JSON-ready."""
        return dataclasses.asdict(self) | {"ok": self.ok}

    def lines(self) -> list[str]:
        """The description as lines of text."""
        out = [f"{self.source}: {self.layout}" if self.layout else self.source]
        if self.count:
            split = self.parts if len(self.parts) > 1 else {}
            pairs = f", {plural(self.pairs, 'pair')}" if self.pairs else ""
            out.append(f"images     {self.count}{_listed(split)}{pairs}")
        if self.sides:
            out.append("sides      " + ", ".join(f"{k}: {n}" for k, n in self.sides.items()))
        if self.classes:
            out.append(f"classes    {len(self.classes)}{_listed(self.classes)}")
        if self.width and self.height:
            for name, (low, mid, high) in (("width", self.width), ("height", self.height)):
                out.append(
                    f"{name:<10} {low} to {high}, median {mid:g}"
                    if low < high
                    else f"{name:<10} {low}"
                )
            modes = ", ".join(f"{m}: {n}" for m, n in self.modes.items())
            out.append(f"modes      {modes}; trained as {plural(self.channels, 'channel')}")
        if self.measured:
            kind, low, high = self.measured
            out.append(f"values     {kind}, {low:g} to {high:g}")
        if self.others:
            out.append(f"other      {sum(self.others.values())} ({endings_summary(self.others)})")
        out += _some("unreadable", self.broken, "skipped in training")
        out += _some("unmatched ", self.unmatched, "without a partner of the same name")
        if self.duplicates:
            again = sum(len(d) - 1 for d in self.duplicates)
            out += [f"duplicates {plural(again, 'image')} with the pixels of another"]
            out += [f"  {several(d, 5)}" for d in self.duplicates[:NAMED]]
            more = len(self.duplicates) - NAMED
            out += [f"  and {plural(more, 'more group')}"] if more > 0 else []
        out += [f"note       {n}" for n in self.notes]
        if self.problem:
            out.append(f"problem    {self.problem}")
        out += [f"run next   {c}" for c in self.fits]
        return out


def _listed(counts: dict[str, int]) -> str:
    return f" ({several([f'{k}: {n}' for k, n in counts.items()], 20)})" if counts else ""


def _some(title: str, names: Sequence[str], what: str) -> list[str]:
    """A line with the number of `names`, then some of them."""
    if not names:
        return []
    more = len(names) - NAMED
    return [
        f"{title} {len(names)}, {what}",
        *(f"  {n}" for n in names[:NAMED]),
        *([f"  and {more} more"] if more > 0 else []),
    ]


def check(source: Source) -> Report:
    """Read every image of `source` and describe the data set.

    A defective data set is described, not raised.
    """
    given = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    report = Report(",".join(printable(os.fspath(s)) for s in given))
    founds: list[Selection] = []
    try:
        for part in get_args(AnyPart):
            found = _find(source, part)
            if found.part not in [f.part for f in founds]:
                founds.append(found)
    except UserError as e:
        report.problem = str(e)
        return report
    report.others = dict(founds[0].others.most_common())
    report.layout = founds[0].layout
    report.notes = list(founds[0].notes)
    extremes: list[tuple[float, float]] = []
    headers: list[Header] = []
    science = any(is_measured(images) for found in founds for images in found.sets.values())
    paired, partial = "a" in founds[0].sets, False
    seen: dict[bytes, list[str]] = {}
    for found in founds:
        for side, image_set in found.sets.items():
            image_set = Measured(image_set) if science else image_set
            readable = _read(image_set, report, seen, extremes)
            headers += readable
            report.parts[found.part] = report.parts.get(found.part, 0) + len(readable)
            if side != "x":
                report.sides[side] = report.sides.get(side, 0) + len(readable)
            if side == "x" and image_set.labels is not None:
                known = image_set.labels[image_set.labels >= 0]
                counts = np.bincount(known, minlength=len(image_set.classes)).tolist()
                partial = partial or len(known) < len(image_set.labels)
                for c, n in zip(image_set.classes, counts, strict=True):
                    report.classes[c] = report.classes.get(c, 0) + n
        if "a" in found.sets:
            paired &= _pair(found, report, science)
    report.count = len(headers)
    report.duplicates = [names for names in seen.values() if len(names) > 1]
    if not headers:
        report.problem = f"none of the images can be read: {several(report.broken, 5)}"
        return report
    for axis in ("width", "height"):
        values = [getattr(h, axis) for h in headers]
        setattr(report, axis, (min(values), median(values), max(values)))
    report.modes = dict(Counter(h.mode for h in headers).most_common())
    depths = Counter(h.channels for h in headers)
    report.channels = depths.most_common(1)[0][0] if science else most_common_channels(depths)
    if extremes:
        low, high = min(e[0] for e in extremes), max(e[1] for e in extremes)
        if science:
            report.measured = headers[0].mode, low, high
        else:
            report.brightest = int(high)
    _advise(report, headers, ",".join(map(shell_quoted, given)), founds[0], paired, partial)
    return report


def _find(source: Source, part: AnyPart) -> Selection:
    return find_sides(source, part, alone=True) or find_images(source, part)


def _read(
    image_set: ImageSet,
    report: Report,
    seen: dict[bytes, list[str]],
    extremes: list[tuple[float, float]],
) -> list[Header]:
    """Decode all images of a set. Returns the headers of those that can be read.

    report: receives the unreadable images and the number of images of a single color
    seen: receives names by hash of the pixels
    extremes: receives the least and largest value of each image of more than 8 bits
    """

    def measure(i: int) -> tuple[Header, bytes, bool, tuple[float, float] | None] | Broken:
        try:
            header = image_set.header(i)
            if isinstance(image_set, Measured) and header.mode not in TYPES:
                raise Broken(f"holds {header.mode}; expected one of {', '.join(TYPES)}")
            image, wide = image_set.load(i), image_set.deep(i)
            if wide is not None and wide.dtype.kind == "f" and not np.isfinite(wide).all():
                raise Broken("has NaN or infinite values: replace them")
        except Broken as e:
            return Broken(f"{image_set.name(i)}: {printable(e)}")
        digest = hashlib.blake2b(f"{image.mode}{image.size}".encode(), digest_size=16)
        pixels = as_array(image) if wide is None else wide
        digest.update(np.ascontiguousarray(pixels).data)
        extreme = None if wide is None else (float(wide.min()), float(wide.max()))
        return header, digest.digest(), bool((pixels == pixels[0, 0]).all()), extreme

    headers = []
    for i, result in enumerate(
        map_in_order(
            measure, range(len(image_set)), "reading images", decoding_threads([image_set])
        )
    ):
        if isinstance(result, Broken):
            report.broken.append(str(result))
        else:
            headers.append(result[0])
            report.plain += result[2]
            extremes += [] if result[3] is None else [result[3]]
            seen.setdefault(result[1], []).append(image_set.name(i))
    return headers


def _pair(found: Selection, report: Report, science: bool) -> bool:
    """Whether the images of both sides all form pairs, by name and of equal shapes.

    science: whether they are measurements, whose files may hold several images

    If none do, they are two domains; if some do, the report names the others.
    """
    a, b = found.sets["a"], found.sets["b"]
    if isinstance(a, Shards):
        report.pairs += len(a)
        return True
    if not (isinstance(a, Files) and isinstance(b, Files)):
        return False
    try:
        one, other, unmatched = match(a, b)
    except UserError as e:
        report.notes.append(str(e))
        return False
    if not len(one):
        return False
    report.pairs += len(one)
    report.unmatched += unmatched
    report.notes += by_name_only(found, one)
    differing = []
    factors: set[int] = set()
    left, right = (Measured(one), Measured(other)) if science else (one, other)
    if len(left) != len(right):
        report.notes.append("stacks of pairs have different lengths, which cannot be trained on")
        return False
    for i in range(len(left)):
        try:
            factors.add(factor_of(left.header(i), right.header(i)) or 0)
            if unequal(left.header(i), right.header(i)):
                differing.append(f"{left.name(i)} and {right.name(i)}")
        except Broken:  # the report has it already
            continue
    report.scale = factors.pop() if len(factors) == 1 else 0
    if differing:
        report.notes.append(
            f"{plural(len(differing), 'pair')} of two shapes, which cannot be trained on: "
            f"{several(differing, 5)}"
        )
    return not unmatched and not differing


def _advise(
    report: Report,
    headers: Sequence[Header],
    data: str,
    found: Selection,
    paired: bool,
    partial: bool,
) -> None:
    """Add notes, and commands that fit the data set and run as they are printed.

    data: its path, quoted for a shell
    paired: whether every image of two sides has a partner
    partial: whether only some images have a label
    """
    sides = [min(h.width, h.height) for h in headers]
    assert report.width is not None
    assert report.height is not None
    middle = min(report.width[1], report.height[1])
    size = _power(middle, 32, 64)
    sizes_differ = report.width[0] != report.width[2] or report.height[0] != report.height[2]
    if sizes_differ:
        report.notes.append(
            f"the images have different sizes: each is scaled and cropped to that of the recipe, "
            f"or to --size, as in --size {size}"
        )
    if small := sum(side < size for side in sides):
        report.notes.append(f"{plural(small, 'image')} smaller than {size}x{size}, to be enlarged")
    if report.plain:
        report.notes.append(f"{plural(report.plain, 'image')} of a single color")
    more = ""
    if report.measured is not None:
        note, more = window_for(*report.measured, len(report.modes))
        report.notes.append(note)
    white = white_for(report.brightest)
    if white is not None:
        report.notes.append(
            f"the images of more than 8 bits use at most {report.brightest:,} of 65,535 and would "
            f"be {'nearly black' if white < 1 << 13 else 'dark'}: --set data.white={white} makes "
            "that value white"
        )
        more = f" --set data.white={white}"
    if report.count < FEW:
        few = "is one image" if report.count == 1 else "are few images"
        report.notes.append(f"{report.count:,} {few}, which a generator may learn by heart")
    halves = not report.sides and two_in_one(headers)

    def fits(method: str, size: int, settings: str = "") -> None:
        report.fits.append(
            f"ganvas train {method} {data} --size {size}{settings}{more} --out runs/first"
        )

    files = all(isinstance(image_set, Files) for image_set in found.sets.values())
    two = found.layout == CLASS_FOLDERS and len(report.classes) == 2 and not partial
    halves = halves and files and not two
    enlarging = upscalers(report.scale, sides) if "," in data else []
    for suggestion in enlarging:
        fits(*suggestion)
    maybe_labels = paired and not enlarging and report.measured is None
    if maybe_labels and (labels := note_on_labels(found.sets)):
        report.notes.append(labels)
    if not enlarging and (paired or (halves and report.measured is None)):
        side = _power(middle, 32, 256)  # the U-Net halves its images down to one pixel
        fits("pix2pix", side, f" --set G.depth={side.bit_length() - 1}" if side < 256 else "")
    if halves:
        report.notes.append(
            "all images are twice as wide as high: if they are A|B pairs, pix2pix learns B from A, "
            "and A from B with --set data.direction=b2a"
        )
    if report.sides or two:
        fits("cyclegan", 2 * size if middle >= 128 else size)
    if pairs_by_chance(found):
        report.fits.reverse()  # cyclegan first
    if partial:
        fits("s3gan_small", size, " --set data.labeled=1")
    if not report.sides and 1 < report.count < FEW and report.channels == 3:
        fits("fastgan_small", 64)
    if not report.sides:
        fits("dcgan", size)
        fits("wgan_gp", size)
    large = sum(side >= 128 for side in sides)  # for tiles at their own resolution
    if not report.sides and 2 * large >= len(headers):
        fits("srresnet", 96)


def _power(side: float, least: int, most: int) -> int:
    """The largest power of two up to `side`, within bounds."""
    return max(least, min(most, 1 << (int(side).bit_length() - 1)))
