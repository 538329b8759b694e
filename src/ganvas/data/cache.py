"""Cache of decoded images: flat files that later runs map into memory.

An entry is a folder. Its name is a hash of everything that decides its contents: the
file index (names, sizes, times) and the options. It is built under another name and
renamed when complete, so that a killed process leaves no incomplete entry, and two
processes can build the same entry. Opening an entry computes its fingerprint again: one
damaged bit is detected, and the entry is built anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np
import pydantic

from ganvas.core.environment import memory
from ganvas.core.errors import DataError, UserError
from ganvas.core.guards import abandoned, open_regular, reason, require_memory, warn
from ganvas.data.decoding import decoding_threads, map_in_order
from ganvas.data.downloads import cache_dir
from ganvas.data.headers import (
    common_size,
    most_common_channels,
    some_names,
    unreadable,
    usable_headers,
)
from ganvas.data.measured import WithValues
from ganvas.data.pictures import ImageSet
from ganvas.media.samples import Broken, as_array, covering, fit, to_channels
from ganvas.media.values import Values

VERSION = 2  # raise it when the same file gives other pixels, or an entry another form
IN_MEMORY = 1 << 30  # bytes up to which an entry is held in memory, not mapped
KINDS = ("uint8", "uint16", "float32")  # of pixels
NAMED = 20  # names of unreadable images that an entry stores


@dataclass(frozen=True)
class Options:
    """How images are stored.

    size: (height, width); None: their own
    channels: 1, 3 or 4; None: see `most_common_channels`
    least: (height, width) below which an image counts as enlarged; None: `size`
    white: the value that the images were opened with, see `ganvas.data.images`
    values: type and range of measurements; None: photographs
    """

    size: tuple[int, int] | None
    channels: int | None = None
    least: tuple[int, int] | None = None
    white: int | None = None
    values: Values | None = None

    @property
    def stored(self) -> np.dtype:
        """Of an entry's pixels."""
        return np.dtype(np.uint8) if self.values is None else self.values.stored


@dataclass(frozen=True)
class Stored:
    """Decoded images by stream.

    pixels: uint8 [N, H, W, C] (measurements: `Values.stored`), in memory or mapped; the
        two sets of a stream of pairs are concatenated on the last axis
    labels: int64 [N], of the streams that have labels
    fingerprint: hash of all pixels and labels
    skipped: "name: reason" of the first `NAMED` unreadable images
    count: number of unreadable images
    enlarged: number of images that were smaller than their size
    """

    pixels: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    fingerprint: str
    skipped: tuple[str, ...]
    count: int
    enlarged: int

    def named(self) -> str:
        """Some names of unreadable images and the number of the others."""
        return some_names(self.skipped, self.count)


class _Entry(pydantic.BaseModel):
    """The contents of entry.json.

    streams: name -> number of image sets that are concatenated on its last axis
    sum: checksum of all other fields
    """

    model_config = pydantic.ConfigDict(strict=True, extra="forbid")

    streams: dict[str, Annotated[int, pydantic.Field(ge=1, le=2)]]
    labels: list[str]
    fingerprint: str
    skipped: list[str]
    skipped_count: Annotated[int, pydantic.Field(ge=0)]
    enlarged: Annotated[int, pydantic.Field(ge=0)]
    sum: str = ""

    def checksum(self) -> str:
        """Checksum of all fields but `sum`."""
        return hashlib.blake2b(
            self.model_dump_json(exclude={"sum"}).encode(), digest_size=16
        ).hexdigest()


class _Damaged(Exception):
    """An entry is damaged. The message is the reason."""


def load_or_decode(
    streams: Mapping[str, Sequence[ImageSet]], options: Options, title: str
) -> Stored:
    """Decode every stream to one size and one number of channels, through the cache.

    streams: name -> one image set, or several of equal length whose i-th images belong
        together
    title: name of the source for messages

    Unreadable images are skipped and named. If the cache cannot be written, the images
    are decoded into memory. Raises `UserError` if no image can be read, or if sizes
    differ and `options` has none.
    """
    stamps = {k: [p.stamp() for p in sets] for k, sets in streams.items()}
    stamp = [VERSION, options.size, options.channels, options.least, stamps]
    stamp += [options.white] if options.white is not None else []
    stamp += [[*options.values]] if options.values is not None else []
    key = hashlib.blake2b(json.dumps(stamp).encode(), digest_size=16).hexdigest()
    folder = cache_dir() / "decoded" / key
    try:
        entry = _open(folder)
        if entry is not None:
            return entry
    except _Damaged as e:
        warn(f"the decoded images in {folder} are damaged ({e}) and are decoded again")
    writing = folder.with_name(f"{key}.{uuid.uuid4().hex}.tmp")
    try:
        writing.mkdir(parents=True)
        _sweep(folder.parent)
        _build(streams, options, title, writing)
        for _ in range(2):
            try:
                writing.rename(folder)
                break
            except OSError:  # another process was first, or an entry was damaged
                with suppress(_Damaged):
                    if (entry := _open(folder)) is not None:
                        return entry
                shutil.rmtree(folder, ignore_errors=True)
        if (entry := _open(folder)) is not None:
            return entry
        problem = "the written files are gone"
    except OSError as e:
        problem = reason(e)
    except _Damaged as e:
        problem = f"the written files read back differently: {e}"
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    warn(
        f"the cache folder {cache_dir()} cannot be written ({problem}), so the images are decoded "
        "into memory, and again by the next run; make room there, or set GANVAS_CACHE to another "
        "folder"
    )
    return _build(streams, options, title, None)


def _sweep(folder: Path) -> None:
    """Remove the partial entries that killed processes left more than a day ago."""
    for old in abandoned(folder):
        shutil.rmtree(old, ignore_errors=True)


def _open(folder: Path) -> Stored | None:
    """Open an entry, or return None if there is none. Raises `_Damaged`."""
    try:
        with open_regular(folder / "entry.json") as file:
            text = file.read()
    except OSError:
        return None
    try:
        entry = _Entry.model_validate_json(text)
        if entry.sum != entry.checksum():
            raise _Damaged("entry.json has a wrong checksum or none")
        if any(os.path.basename(k) != k for k in entry.streams) or set(entry.labels) - set(
            entry.streams
        ):
            raise _Damaged("entry.json names files that an entry does not have")
        pixels = {k: np.load(folder / f"{k}.npy", mmap_mode="r") for k in entry.streams}
        labels = {k: np.load(folder / f"{k}.labels.npy") for k in entry.labels}
        if any(
            p.dtype.name not in KINDS or p.ndim != 4 or p.shape[3] % entry.streams[k]
            for k, p in pixels.items()
        ):
            raise _Damaged("its arrays have a wrong shape or type")
        if any(y.dtype != np.int64 or y.shape != (len(pixels[k]),) for k, y in labels.items()):
            raise _Damaged("its labels are not one for each image")
        small = sum(p.nbytes for p in pixels.values()) <= min(IN_MEMORY, memory() // 4)
        pixels = {k: np.array(p) if small else p for k, p in pixels.items()}
        digest = hashlib.blake2b(digest_size=16)
        for k, p in pixels.items():
            digest_rows(digest, p)
            _digest_rest(digest, k, labels.get(k), p.shape, entry.streams[k])
    except _Damaged:
        raise
    except Exception as e:  # absent or cut short: numpy and JSON raise many kinds
        raise _Damaged(reason(e)) from None
    if digest.hexdigest() != entry.fingerprint:
        raise _Damaged("its pixels or labels have a wrong checksum")
    return Stored(
        pixels, labels, entry.fingerprint, tuple(entry.skipped), entry.skipped_count, entry.enlarged
    )


def digest_rows(digest: hashlib.blake2b, pixels: np.ndarray) -> None:
    """Hash `pixels`, 16 MiB at a time, so that a mapped array is not loaded whole."""
    step = max(1, (16 << 20) // max(1, math.prod(pixels.shape[1:])))
    for start in range(0, len(pixels), step):
        digest.update(np.ascontiguousarray(pixels[start : start + step]).data)


def _digest_rest(
    digest: hashlib.blake2b, stream: str, labels: np.ndarray | None, shape: Sequence[int], sets: int
) -> None:
    """Hash the labels, name and shape of a stream, after its pixels."""
    if labels is not None:
        digest.update(labels.astype("<i8").tobytes())
    digest.update(json.dumps([stream, shape[0], *shape[1:3], shape[3] // sets]).encode())


# ---------------------------------------------------------------- building an entry


def _build(
    streams: Mapping[str, Sequence[ImageSet]], options: Options, title: str, folder: Path | None
) -> Stored:
    """Decode all streams into files of `folder`; None: into memory."""
    skipped: list[str] = []
    usable: dict[str, np.ndarray] = {}
    sizes: Counter[tuple[int, int]] = Counter()
    depths: Counter[int] = Counter()
    for k, sets in streams.items():
        usable[k] = np.zeros(len(sets[0]), bool)
        for i, header in enumerate(usable_headers(sets, skipped)):
            if header is not None:
                usable[k][i] = True
                sizes[header.width, header.height] += 1
                depths[header.channels] += 1
    if not sizes:
        raise UserError(
            f"none of the images of {title} can be read: {some_names(skipped, len(skipped))}"
        )
    size = options.size or common_size(sizes, title)
    channels = options.channels or (
        max(depths) if options.values is not None else most_common_channels(depths)
    )
    least = options.least or size
    pixels, labels, digest, enlarged_count = {}, {}, hashlib.blake2b(digest_size=16), 0
    for k, sets in streams.items():
        file = (folder / f"{k}.npy").open("wb") if folder else None
        row, most = (*size, channels * len(sets)), int(usable[k].sum())
        if file is None:
            require_memory(
                most * math.prod(row) * options.stored.itemsize,
                f"{title}, decoded,",
                "make room in the cache folder",
            )
        writer = _Writer(file, row, most, options.stored)
        decoded = usable[k].copy()

        def decode(i: int, sets: Sequence[ImageSet] = sets) -> tuple[np.ndarray, bool] | Broken:
            parts, enlarged = [], False
            for image_set in sets:
                if options.values is not None and isinstance(image_set, WithValues):
                    try:
                        stored = options.values.to_stored(image_set.values(i))
                    except (Broken, DataError) as e:
                        return unreadable(image_set, i, Broken(str(e)))
                    enlarged |= stored.shape[1] < least[1] or stored.shape[0] < least[0]
                    parts.append(covering(stored, size))
                    continue
                try:
                    image = image_set.load(i)
                except Broken as e:
                    return unreadable(image_set, i, e)
                enlarged |= image.width < least[1] or image.height < least[0]
                parts.append(as_array(fit(to_channels(image, channels), size)))
            return np.concatenate(parts, 2) if len(parts) > 1 else parts[0], enlarged

        threads = decoding_threads(sets) if options.values is None else 1
        try:
            numbers = np.flatnonzero(usable[k])
            for i, result in zip(
                numbers, map_in_order(decode, numbers, f"decoding {title}", threads)
            ):
                if isinstance(result, Broken):
                    skipped.append(str(result))
                    decoded[i] = False
                    continue
                digest.update(writer.add(result[0]))
                enlarged_count += result[1]
            if not decoded.any():
                why = some_names(skipped, len(skipped)) or "empty"
                raise UserError(f"side {k} of {title} has no image that can be read: {why}")
            pixels[k] = writer.done()
        finally:
            if file:
                file.close()
        if sets[0].labels is not None:
            labels[k] = np.asarray(sets[0].labels, np.int64)[decoded]
        _digest_rest(digest, k, labels.get(k), (int(decoded.sum()), *row), len(sets))
    some = tuple(sorted(skipped)[:NAMED])
    result = Stored(pixels, labels, digest.hexdigest(), some, len(skipped), enlarged_count)
    if folder:
        for k, y in labels.items():
            np.save(folder / f"{k}.labels.npy", y)
        entry = _Entry(
            streams={k: len(streams[k]) for k in pixels},
            labels=list(labels),
            fingerprint=result.fingerprint,
            skipped=list(some),
            skipped_count=len(skipped),
            enlarged=enlarged_count,
        )
        entry.sum = entry.checksum()
        (folder / "entry.json").write_text(entry.model_dump_json(), encoding="utf-8")
    return result


class _Writer:
    """Writer of an .npy file whose number of images is known only at the end.

    file: None: collect the images in memory
    row: [H, W, C] of an image
    most: largest number of images
    kind: of their numbers
    """

    def __init__(
        self, file: BinaryIO | None, row: tuple[int, int, int], most: int, kind: np.dtype
    ) -> None:
        self.file, self.row, self.kind, self.count = file, row, kind, 0
        self.rows = None if file else np.empty((most, *row), kind)
        self._header(most)

    def _header(self, count: int) -> None:
        if self.file:  # numpy pads headers, so that the first axis can shrink in place
            shape = {"descr": self.kind.str, "fortran_order": False, "shape": (count, *self.row)}
            np.lib.format.write_array_header_1_0(self.file, shape)

    def add(self, row: np.ndarray) -> bytes:
        """Append an image [H, W, C]. Returns its bytes."""
        data = row.tobytes()
        if self.file:
            self.file.write(data)
        else:
            assert self.rows is not None
            self.rows[self.count] = row
        self.count += 1
        return data

    def done(self) -> np.ndarray:
        """Finish the file. Returns the images of memory; else an empty array."""
        if self.rows is not None:
            return self.rows[: self.count]
        assert self.file is not None
        self.file.flush()
        end = self.file.tell()
        self.file.seek(0)
        self._header(self.count)
        assert end == self.file.tell() + self.count * self.kind.itemsize * math.prod(self.row), (
            "the header must keep its length"
        )
        self.file.flush()
        os.fsync(self.file.fileno())
        return np.empty(0, np.uint8)  # opened again from the folder
