"""Pack a data set into shards: tar files that training reads while it goes on.

The command is `ganvas data pack`. Shards are WebDataset's: `000012.jpg` and
`000012.cls` (the number of its class), or `000012.a.png` and `000012.b.png` for pairs.
"""

from __future__ import annotations

import hashlib
import math
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, cast, get_args

import numpy as np

from ganvas.core import rng
from ganvas.core.errors import DataError, OutputError, UserError, printable
from ganvas.core.files import replacing, require_new_folder
from ganvas.core.guards import reason
from ganvas.data.decoding import decoding_threads, map_in_order
from ganvas.data.headers import unequal, unreadable
from ganvas.data.layouts import find_images, find_pairs, find_sides
from ganvas.data.open_source import Source
from ganvas.data.order import LANES
from ganvas.data.pictures import AnyPart, Files, ImageSet, Selection
from ganvas.data.streaming.index import NAME, Facts, Index, Part, Shard
from ganvas.data.streaming.members import LABEL
from ganvas.media.decode import Header, deep, read
from ganvas.media.samples import Broken, as_array, fit

SHARD_MB = 64  # size of a shard, about
PNG_LEVEL = 4  # of zlib: a sixth larger than 9 at most, in a fraction of the time


@dataclass
class Packed:
    """What was written.

    images: or pairs
    bytes: of all shards
    skipped: "name: reason" of images that cannot be decoded
    pairs: whether samples are pairs
    """

    images: int = 0
    shards: int = 0
    bytes: int = 0
    skipped: list[str] = field(default_factory=list)
    pairs: bool = False


class _File(NamedTuple):
    """An image, ready for a shard. bits and values are of what it stores."""

    ending: str
    data: bytes
    header: Header
    bits: int
    least: int
    most: int


def pack(
    source: Source,
    out: Path,
    *,
    size: tuple[int, int] | None = None,
    shard_mb: float = SHARD_MB,
    said: Callable[[int, int], None] = lambda done, total: None,
) -> Packed:
    """Write a data set as shards, with an index.

    Every image is decoded once; those that cannot be are left out. Images lie in the
    shards in an order that their number alone decides, so that each shard is a random
    part of the data. The same data give the same bytes. Folders A/ and B/ whose images
    match by name become pairs; class folders become labels.

    source: as of `ganvas.data.images`
    out: new or empty folder
    size: (height, width) that images are scaled and cropped to, and stored as PNG;
        None: files are stored as they are
    shard_mb: size of a shard in megabytes, about; their number is a multiple of 16
    said: called with the number of samples written and the total of a part

    Raises `UserError` for a source without usable images, and for folders A/ and B/
    that do not match, and `OutputError` if the shards cannot be written.
    """
    if not 0 < shard_mb <= 1 << 16:
        raise UserError(f"got shards of {shard_mb:g} MB; expected a size above 0, as in 64")
    require_new_folder(out)
    parts = _parts(source)
    try:
        return _packed(parts, out, size, shard_mb, said)
    except OSError as e:  # what cannot be read is no such error
        raise OutputError(
            f"{printable(out)} could not be written: {reason(e)}. Free some space, or choose "
            "another --out"
        ) from None


def _packed(
    parts: Sequence[Selection],
    out: Path,
    size: tuple[int, int] | None,
    shard_mb: float,
    said: Callable[[int, int], None],
) -> Packed:
    done = Packed(pairs="b" in parts[0].sets)
    classes = parts[0].sets["x"].classes if not done.pairs else ()
    facts: dict[Part, Facts] = {}
    shards: list[Shard] = []
    with replacing(out) as folder:
        folder.mkdir()
        for found in parts:
            sets = [found.sets[k] for k in ("a", "b")] if done.pairs else [found.sets["x"]]
            if not done.pairs and sets[0].classes != classes:
                raise DataError(
                    f"the {found.part} part of {found.title} has other classes than the "
                    f"{parts[0].part} part: give both the same class folders, or pack each alone"
                )
            writer = _Writer(folder, found.part, _shards_of(sets, size, shard_mb))
            _write_part(sets, size, writer, done.skipped, said)
            if not writer.shards:
                raise DataError(
                    f"none of the images of {found.title} can be read: {done.skipped[0]}"
                )
            facts[cast(Part, found.part)] = writer.facts(len(classes))
            shards += writer.shards
        done.images = sum(f.images for f in facts.values())
        done.shards, done.bytes = len(shards), sum(s.bytes for s in shards)
        index = Index(
            format="ganvas-shards-1",
            task="pairs" if done.pairs else "images",
            classes=list(classes),
            parts=facts,
            shards=shards,
        )
        (folder / NAME).write_text(index.text(), encoding="utf-8")
        if out.exists():  # empty, but not to be replaced on every system
            out.rmdir()
    return done


def _parts(source: Source) -> list[Selection]:
    """The parts of a source. Raises `UserError` for two unpaired domains."""
    parts: dict[str, Selection] = {}
    for part in get_args(AnyPart):
        if find_sides(source, part, alone=True) is None:
            found = find_images(source, part)
        else:
            try:
                found = find_pairs(source, part)
            except UserError as e:
                raise DataError(
                    f"{e} For two sets without pairs, pack each by itself, and train on both: "
                    "ganvas train cyclegan SHARDS_A,SHARDS_B"
                ) from None
        parts.setdefault(found.part, found)
    return list(parts.values())


def _shards_of(sets: Sequence[ImageSet], size: tuple[int, int] | None, mb: float) -> list[int]:
    """Samples of each shard: a multiple of `LANES` shards, of nearly equal lengths."""
    count = len(sets[0])
    total = 0.0
    for image_set in sets:
        if size is None and isinstance(image_set, Files):
            total += sum(e.size for e in image_set.entries)
        else:  # files that are not there yet: PNG of about two bytes a pixel
            height, width = size or _first_size(image_set)
            total += count * height * width * 2
    shards = min(count, LANES * math.ceil(total / (mb * 1e6 * LANES)))
    return [count // shards + (i < count % shards) for i in range(shards)]


def _first_size(image_set: ImageSet) -> tuple[int, int]:
    """(height, width) of the first of a few images that can be read."""
    for i in range(min(len(image_set), 100)):
        with suppress(Broken):
            header = image_set.header(i)
            return header.height, header.width
    return 64, 64


def _write_part(
    sets: Sequence[ImageSet],
    size: tuple[int, int] | None,
    writer: _Writer,
    skipped: list[str],
    said: Callable[[int, int], None],
) -> None:
    count, labels = len(sets[0]), sets[0].labels if len(sets) == 1 else None
    order = np.random.Generator(np.random.Philox(rng.fold_in("pack", count))).permutation(count)

    def stored(i: int) -> list[_File] | Broken:
        files = []
        for image_set in sets:
            try:
                files.append(_stored(image_set, i, size))
            except Broken as e:
                return unreadable(image_set, i, e)
        if len(files) == 2 and unequal(files[0].header, files[1].header):
            return Broken(f"{sets[0].name(i)}: its partner has another shape")
        return files

    threads = decoding_threads(sets)
    with writer:
        for n, (i, files) in enumerate(
            zip(order.tolist(), map_in_order(stored, order, "packing", threads))
        ):
            if isinstance(files, Broken):
                skipped.append(str(files))
            else:
                writer.add(files, None if labels is None else int(labels[i]))
            said(n + 1, count)


def _stored(image_set: ImageSet, i: int, size: tuple[int, int] | None) -> _File:
    """The file of an image as a shard holds it. Raises `Broken`."""
    if size is None and isinstance(image_set, Files) and image_set.half is None:
        name = image_set.entries[i].name
        data, ending = image_set.tree.contents(name), os.path.splitext(name)[1].lower()
        image, wide = read(BytesIO(data)), deep(BytesIO(data))
    else:
        image, wide, ending = image_set.load(i), None, ".png"
        image = image if size is None else fit(image, size)
        buffer = BytesIO()
        image.save(buffer, "PNG", compress_level=PNG_LEVEL)
        data = buffer.getvalue()
    pixels = as_array(image) if wide is None else wide
    header = Header(image.width, image.height, image.mode, as_array(image).shape[2])
    bits = 8 if wide is None else 16
    return _File(ending, data, header, bits, int(pixels.min()), int(pixels.max()))


class _Writer:
    """Writer of the shards of a part.

    folder: for the shards
    lengths: samples of each shard; the last is shorter if samples are left out
    """

    def __init__(self, folder: Path, part: str, lengths: Sequence[int]) -> None:
        self.folder, self.part, self.lengths = folder, part, lengths
        self.shards: list[Shard] = []
        self._tar: tarfile.TarFile | None = None
        self._samples = self._count = 0
        self._labels: Counter[int] = Counter()
        self._channels: Counter[str] = Counter()
        self._extremes: np.ndarray | None = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._count:
            self._finish()
        elif self._tar is not None:
            self._tar.close()

    def add(self, files: Sequence[_File], label: int | None) -> None:
        """Append a sample: the file of an image, or of both sides of a pair."""
        if self._tar is None:
            self._path = self.folder / f"{self.part}-{len(self.shards):06d}.tar"
            self._tar = tarfile.TarFile(self._path, "w", format=tarfile.USTAR_FORMAT)
        key = f"{self._samples:09d}"
        for side, file in zip(("",) if len(files) == 1 else (".a", ".b"), files):
            self._member(f"{key}{side}{file.ending}", file.data)
            w, h = file.header.width, file.header.height
            own = np.array([-w, w, -h, h, -file.least, file.most, file.bits])
            self._extremes = own if self._extremes is None else np.maximum(self._extremes, own)
        self._channels[str(max(f.header.channels for f in files))] += 1
        if label is not None and label >= 0:
            self._member(f"{key}.{LABEL}", str(label).encode())
            self._labels[label] += 1
        self._samples += 1
        self._count += 1
        if self._count == self.lengths[len(self.shards)]:
            self._finish()

    def _member(self, name: str, data: bytes) -> None:
        assert self._tar is not None
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self._tar.addfile(info, BytesIO(data))

    def _finish(self) -> None:
        assert self._tar is not None
        self._tar.close()
        with self._path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.shards.append(
            Shard.model_validate(
                {
                    "name": self._path.name,
                    "part": self.part,
                    "bytes": self._path.stat().st_size,
                    "sha256": sha256,
                    "images": self._count,
                }
            )
        )
        self._tar, self._count = None, 0

    def facts(self, classes: int) -> Facts:
        """What the images are like, which have labels below `classes`."""
        assert self._extremes is not None
        w, wide, h, high, least, most, bits = self._extremes.tolist()
        return Facts.model_validate(
            {
                "images": self._samples,
                "labels": [self._labels[i] for i in range(classes)],
                "width": (-w, wide),
                "height": (-h, high),
                "channels": dict(sorted(self._channels.items())),
                "bits": bits,
                "values": (-least, most),
            }
        )
