"""Pictures decoded once into flat uint8 files, which later runs map into memory.

An entry is a folder named after everything that decides its contents: the listing (names, sizes, times) and the
options. It is built under another name and renamed when complete, so a killed process leaves nothing that could be
taken for an entry, and two processes that build the same one do not meet. Whoever opens an entry computes its
fingerprint again, so that one damaged bit is noticed and the entry is built anew."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

import numpy as np
import pydantic

from ganvas.core.environment import memory
from ganvas.core.errors import UserError, printable
from ganvas.core.guards import abandoned, open_regular, plural, reason, require_memory, warn
from ganvas.data.arrays import Arrays
from ganvas.data.downloads import cache_dir
from ganvas.data.pictures import Pictures, several
from ganvas.media.decode import Header
from ganvas.media.samples import Broken, as_array, fit, to_channels

VERSION = 1  # of the decoding: raise it when the same file would give other pixels
IN_MEMORY = 1 << 30  # bytes; what is smaller is held in memory
MANY = 2000  # pictures from which on a progress bar is worth its lines
NAMED = 20  # images that cannot be read are named, up to so many

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """How pictures are stored. `size` (height, width) or None: their own; `channels` None: what most of them have;
    `least`: what is smaller counts as enlarged, None: what is smaller than `size`; `white`: that they were opened with."""

    size: tuple[int, int] | None
    channels: int | None = None
    least: tuple[int, int] | None = None
    white: int | None = None


@dataclass(frozen=True)
class Stored:
    """Decoded pictures by stream: uint8 [N, H, W, C], in memory or mapped. Where a stream joins two sets (pairs),
    theirs lie one behind the other on the last axis. `skipped`: the first names of `count` that cannot be read."""

    pixels: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]  # int64 [N], of the streams that have any
    fingerprint: str
    skipped: tuple[str, ...]
    count: int
    enlarged: int

    def named(self) -> str:
        return _named(self.skipped, self.count)


class _Entry(pydantic.BaseModel):
    """entry.json. `streams`: name -> how many sets of pictures lie behind one another on its last axis; `sum`: of all
    the other fields."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid")

    streams: dict[str, Annotated[int, pydantic.Field(ge=1, le=2)]]
    labels: list[str]
    fingerprint: str
    skipped: list[str]
    skipped_count: Annotated[int, pydantic.Field(ge=0)]
    enlarged: Annotated[int, pydantic.Field(ge=0)]
    sum: str = ""

    def summed(self) -> str:
        return hashlib.blake2b(self.model_dump_json(exclude={"sum"}).encode(), digest_size=16).hexdigest()


class _Damaged(Exception):
    """The message says what is wrong with an entry."""


def stored(streams: Mapping[str, Sequence[Pictures]], options: Options, title: str) -> Stored:
    """The pictures of every stream, decoded to one size and one number of channels, from the cache or into it.

    A stream is one set of pictures, or several of equal length whose i-th belong together. Pictures that cannot be
    read are skipped and named. Where the cache cannot be written, they are decoded into memory. Raises `UserError` where
    none can be read, or where sizes differ and none was asked for."""
    stamps = {k: [p.stamp() for p in sets] for k, sets in streams.items()}
    stamp = [VERSION, options.size, options.channels, options.least, stamps]
    stamp += [options.white] if options.white is not None else []
    key = hashlib.blake2b(json.dumps(stamp).encode(), digest_size=16).hexdigest()
    folder = cache_dir() / "decoded" / key
    try:
        found = _open(folder)
        if found is not None:
            return found
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
                    if (found := _open(folder)) is not None:
                        return found
                shutil.rmtree(folder, ignore_errors=True)
        if (found := _open(folder)) is not None:
            return found
        problem = "what was written there is gone"
    except OSError as e:
        problem = reason(e)
    except _Damaged as e:
        problem = f"what was written there reads back otherwise: {e}"
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    warn(
        f"the cache folder {cache_dir()} cannot be written ({problem}), so the images are decoded into memory, and again "
        "by the next run; make room there, or set GANVAS_CACHE to another folder"
    )
    return _build(streams, options, title, None)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left more than a day ago."""
    for old in abandoned(folder):
        shutil.rmtree(old, ignore_errors=True)


def _open(folder: Path) -> Stored | None:
    """A complete entry; None: there is none. Raises `_Damaged` where what is there is not what was written."""
    try:
        with open_regular(folder / "entry.json") as file:
            text = file.read()
    except OSError:
        return None
    try:
        entry = _Entry.model_validate_json(text)
        if entry.sum != entry.summed():
            raise _Damaged("entry.json has another checksum than its own, or none")
        if any(os.path.basename(k) != k for k in entry.streams) or set(entry.labels) - set(entry.streams):
            raise _Damaged("entry.json names other files than an entry has")
        pixels = {k: np.load(folder / f"{k}.npy", mmap_mode="r") for k in entry.streams}
        labels = {k: np.load(folder / f"{k}.labels.npy") for k in entry.labels}
        if any(p.dtype != np.uint8 or p.ndim != 4 or p.shape[3] % entry.streams[k] for k, p in pixels.items()):
            raise _Damaged("its arrays are of another shape")
        if any(y.dtype != np.int64 or y.shape != (len(pixels[k]),) for k, y in labels.items()):
            raise _Damaged("its labels are not one for each image")
        small = sum(p.nbytes for p in pixels.values()) <= min(IN_MEMORY, memory() // 4)
        held = {k: np.array(p) if small else p for k, p in pixels.items()}
        digest = hashlib.blake2b(digest_size=16)
        for k, p in held.items():
            _digest_rows(digest, p)
            _digest_rest(digest, k, labels.get(k), p.shape, entry.streams[k])
    except _Damaged:
        raise
    except Exception as e:  # absent, cut short, or anything that numpy's and JSON's readers trip over
        raise _Damaged(reason(e)) from None
    if digest.hexdigest() != entry.fingerprint:
        raise _Damaged("its pixels or labels have another checksum")
    return Stored(held, labels, entry.fingerprint, tuple(entry.skipped), entry.skipped_count, entry.enlarged)


def _digest_rows(digest: hashlib.blake2b, pixels: np.ndarray) -> None:
    """Some MiB at a time, so that a mapped array need not be held."""
    step = max(1, (16 << 20) // max(1, math.prod(pixels.shape[1:])))
    for start in range(0, len(pixels), step):
        digest.update(np.ascontiguousarray(pixels[start : start + step]).data)


def _digest_rest(
    digest: hashlib.blake2b, stream: str, labels: np.ndarray | None, shape: Sequence[int], sets: int
) -> None:
    """What belongs to a stream's fingerprint after its pixels."""
    if labels is not None:
        digest.update(labels.astype("<i8").tobytes())
    digest.update(json.dumps([stream, shape[0], *shape[1:3], shape[3] // sets]).encode())


# ---------------------------------------------------------------- building an entry


def _build(streams: Mapping[str, Sequence[Pictures]], options: Options, title: str, folder: Path | None) -> Stored:
    """Decode everything, into files of `folder` or, without one, into memory."""
    skipped: list[str] = []
    usable: dict[str, np.ndarray] = {}
    sizes: Counter[tuple[int, int]] = Counter()
    depths: Counter[int] = Counter()
    for k, sets in streams.items():
        usable[k] = np.zeros(len(sets[0]), bool)
        for i, header in enumerate(_usable(sets, skipped)):
            if header is not None:
                usable[k][i] = True
                sizes[header.width, header.height] += 1
                depths[header.channels] += 1
    if not sizes:
        raise UserError(f"none of the images of {title} can be read: {_named(skipped, len(skipped))}")
    size = options.size or _common_size(sizes, title)
    channels = options.channels or most_common_channels(depths)
    least = options.least or size
    pixels, labels, digest, enlarged = {}, {}, hashlib.blake2b(digest_size=16), 0
    for k, sets in streams.items():
        file = (folder / f"{k}.npy").open("wb") if folder else None
        row, most = (*size, channels * len(sets)), int(usable[k].sum())
        if file is None:
            require_memory(most * math.prod(row), f"{title}, decoded,", "make room in the cache folder")
        writer = _Writer(file, row, most)
        kept = usable[k].copy()

        def decode(i: int, sets: Sequence[Pictures] = sets) -> tuple[np.ndarray, bool] | Broken:
            parts, grown = [], False
            for pictures in sets:
                try:
                    image = pictures.load(i)
                except Broken as e:
                    return _unreadable(pictures, i, e)
                grown |= image.width < least[1] or image.height < least[0]
                parts.append(as_array(fit(to_channels(image, channels), size)))
            return np.concatenate(parts, 2) if len(parts) > 1 else parts[0], grown

        try:
            numbers = np.flatnonzero(usable[k])
            for i, got in zip(numbers, in_order(decode, numbers, f"decoding {title}", _threads(sets))):
                if isinstance(got, Broken):
                    skipped.append(str(got))
                    kept[i] = False
                    continue
                digest.update(writer.add(got[0]))
                enlarged += got[1]
            if not kept.any():
                why = _named(skipped, len(skipped)) or "empty"
                raise UserError(f"side {k} of {title} has no image that can be read: {why}")
            pixels[k] = writer.done()
        finally:
            if file:
                file.close()
        if sets[0].labels is not None:
            labels[k] = np.asarray(sets[0].labels, np.int64)[kept]
        _digest_rest(digest, k, labels.get(k), (int(kept.sum()), *row), len(sets))
    some = tuple(sorted(skipped)[:NAMED])
    result = Stored(pixels, labels, digest.hexdigest(), some, len(skipped), enlarged)
    if folder:
        for k, y in labels.items():
            np.save(folder / f"{k}.labels.npy", y)
        entry = _Entry(
            streams={k: len(streams[k]) for k in pixels},
            labels=list(labels),
            fingerprint=result.fingerprint,
            skipped=list(some),
            skipped_count=len(skipped),
            enlarged=enlarged,
        )
        entry.sum = entry.summed()
        (folder / "entry.json").write_text(entry.model_dump_json(), encoding="utf-8")
    return result


def _unreadable(pictures: Pictures, i: int, e: Broken) -> Broken:
    return Broken(f"{pictures.name(i)}: {printable(e)}")


def _named(skipped: Sequence[str], count: int) -> str:
    """Some names of images that cannot be read, and how many more there are."""
    some = sorted(skipped)[:10]
    return ", ".join(some) + (f" and {count - len(some)} more" if count > len(some) else "")


class _Writer:
    """Rows of an .npy file whose number is known only at the end, in constant memory; or a list of them."""

    def __init__(self, file: BinaryIO | None, row: tuple[int, int, int], most: int) -> None:
        self.file, self.row, self.count = file, row, 0
        self.rows = None if file else np.empty((most, *row), np.uint8)
        self._header(most)

    def _header(self, count: int) -> None:
        if self.file:  # numpy pads headers so that the first axis may shrink in place
            shape = {"descr": "|u1", "fortran_order": False, "shape": (count, *self.row)}
            np.lib.format.write_array_header_1_0(self.file, shape)

    def add(self, row: np.ndarray) -> bytes:
        data = row.tobytes()
        if self.file:
            self.file.write(data)
        else:
            assert self.rows is not None
            self.rows[self.count] = row
        self.count += 1
        return data

    def done(self) -> np.ndarray:
        if self.rows is not None:
            return self.rows[: self.count]
        assert self.file is not None
        self.file.flush()
        end = self.file.tell()
        self.file.seek(0)
        self._header(self.count)
        assert end == self.file.tell() + self.count * int(np.prod(self.row)), "the header must keep its length"
        self.file.flush()
        os.fsync(self.file.fileno())
        return np.empty(0, np.uint8)  # opened again from the folder


def _usable(sets: Sequence[Pictures], skipped: list[str]) -> Iterator[Header | None]:
    """One header for each picture or row of pictures: the first one's size, and the channels that hold all. None, and
    a line in `skipped`, where one cannot be read. Raises `UserError` where the pictures of a row are of unlike
    shapes."""

    def headers(i: int) -> list[Header] | Broken:
        found = []
        for p in sets:
            try:
                found.append(p.header(i))
            except Broken as e:
                return _unreadable(p, i, e)
        return found

    unlike = []
    for i, got in enumerate(in_order(headers, range(len(sets[0])), "reading headers", _threads(sets))):
        if isinstance(got, Broken):
            skipped.append(str(got))
            yield None
            continue
        if len(got) > 1 and unequal(*got):
            unlike.append(" and ".join(f"{p.name(i)} ({h.width}x{h.height})" for p, h in zip(sets, got)))
        yield got[0]._replace(channels=max(h.channels for h in got))
    if unlike:
        raise UserError(
            f"{plural(len(unlike), 'pair')} of two shapes: {several(unlike)}. Both pictures of a pair must have the same "
            "ratio of width to height; crop them, or train on them unpaired."
        )


def unequal(a: Header, b: Header) -> bool:
    """Whether two pictures cannot lie on one another, even scaled: their ratios of sides differ by more than 2%."""
    return abs(a.width * b.height - b.width * a.height) > 0.02 * a.width * b.height


def most_common_channels(counts: Counter[int]) -> int:
    """`counts`: channels -> pictures. 1 where all are gray, 4 where more than half have alpha, else 3."""
    if set(counts) == {1}:
        return 1
    return 4 if counts[4] * 2 > counts.total() else 3


def _common_size(counts: Counter[tuple[int, int]], title: str) -> tuple[int, int]:
    sizes = sorted(counts)
    if len(sizes) > 1:
        some = several([f"{w}x{h}" for w, h in sizes], 5)
        raise UserError(
            f"the images of {title} have {len(sizes)} different sizes ({some}): say which one to train at, "
            "as in --size 64"
        )
    return sizes[0][1], sizes[0][0]


def _threads(sets: Sequence[Pictures]) -> int:
    """Decoding lets go of Python's lock; pictures that lie in memory already are not worth the threads."""
    return 1 if isinstance(sets[0], Arrays) else min(8, os.cpu_count() or 1)


def in_order(work: Callable[[int], T], items: range | np.ndarray, title: str, threads: int) -> Iterator[T]:
    """`work` of every item, in their order, with no more results waiting than the threads need. A progress bar on
    stderr where there are many."""
    blocks = (list(map(int, items[i : i + 16])) for i in range(0, len(items), 16))
    with _progress(title, len(items)) as advance:
        if threads == 1 or len(items) <= 64:
            for block in blocks:
                yield from map(work, block)
                advance(len(block))
            return
        pool = ThreadPoolExecutor(threads)
        try:
            waiting: deque[Future[list[T]]] = deque()
            for block in blocks:
                waiting.append(pool.submit(lambda block: [work(i) for i in block], block))
                if len(waiting) > 2 * threads:
                    done = waiting.popleft().result()
                    yield from done
                    advance(len(done))
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _progress(title: str, count: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if count <= MANY or not console.is_terminal:
        yield lambda n: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=count)
        yield lambda n: bar.advance(task, n)
