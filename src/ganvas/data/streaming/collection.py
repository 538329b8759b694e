"""The shards of a part: opened when they are needed, replaced where they are broken."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from typing import TypeVar

import numpy as np

from ganvas.core.errors import DataError, printable
from ganvas.core.guards import reason, warn
from ganvas.data.order import LANES, LaneOrder
from ganvas.data.streaming.index import Index, Shard
from ganvas.data.streaming.members import Members, scan
from ganvas.data.streaming.store import Store
from ganvas.media.samples import Broken

OPEN = 3 * LANES  # shards that stay open: those of a batch, the next ones, and others
AHEAD = 4  # threads that open the next shards
NAMED = 20  # broken shards and images that are named
T = TypeVar("T")


class _OpenShard:
    """A verified shard, which threads may read at the same time."""

    def __init__(self, file: BufferedReader, members: Members) -> None:
        self.members, self._file, self._lock = members, file, threading.Lock()
        weakref.finalize(self, file.close)

    def contents(self, sample: int, side: int) -> bytes | None:
        """The bytes of an image's file; None if the shard was closed meanwhile."""
        with self._lock:
            if self._file.closed:
                return None
            self._file.seek(int(self.members.starts[sample, side]))
            return self._file.read(int(self.members.sizes[sample, side]))

    def close(self) -> None:
        with self._lock:
            self._file.close()


class Collection:
    """The shards of one part of a set, for any number of threads.

    A shard that is broken is named once on stderr and replaced by the next whole shard
    of the part; an image that cannot be decoded by the next image of its shard. What
    takes its place depends on the data alone, so that resumed runs and other ranks do
    the same. With `strict`, both are errors.
    """

    def __init__(self, store: Store, index: Index, part: str) -> None:
        self.store, self.index, self.strict = store, index, False
        self.shards: list[Shard] = [s for s in index.shards if s.part == part]
        self.facts = index.parts[self.shards[0].part]
        self.order = LaneOrder([s.images for s in self.shards])
        self.sides = ("a", "b") if index.task == "pairs" else ("",)
        largest = max(s.bytes for s in self.shards)
        self._most_open = max(self.order.lanes, min(OPEN, store.limit // largest - 1))
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()
        self._broken: dict[int, str] = {}
        self._unreadable: set[int] = set()
        self._named: set[str] = set()
        self._lock = threading.Lock()
        self._opening = [threading.Lock() for _ in range(LANES)]
        self._pool = ThreadPoolExecutor(AHEAD, "ganvas-shards")
        self._soon: set[int] = set()

    def place(self, i: int) -> tuple[int, int]:
        """(shard, number in the shard) of image `i`."""
        shard = int(np.searchsorted(self.order.first, i, "right")) - 1
        return shard, i - int(self.order.first[shard])

    def opened(self, shard: int) -> _OpenShard:
        """A shard, verified. Raises `Broken`, and `UserError` if no server answers."""
        with self._opening[shard % LANES]:
            with self._lock:
                if shard in self._broken:
                    raise Broken(self._broken[shard])
                if shard in self._open:
                    self._open.move_to_end(shard)
                    return self._open[shard]
            one = self._verified(shard)
            with self._lock:
                self._open[shard] = one
                extra = len(self._open) - self._most_open
                old = [self._open.popitem(last=False)[1] for _ in range(extra)]
            for other in old:
                other.close()
            return one

    def _verified(self, shard: int) -> _OpenShard:
        described, classes = self.shards[shard], len(self.index.classes)
        try:
            file = self.store.open(described)
            try:
                return _OpenShard(file, scan(file, described.images, classes, self.sides))
            except OSError as e:
                file.close()
                raise Broken(f"cannot be read ({reason(e)})") from None
            except BaseException:
                file.close()
                raise
        except Broken as e:
            with self._lock:
                self._broken[shard] = str(e)
            raise

    def open_ahead(self, shards: Iterable[int]) -> None:
        """Open shards in the background, if there is room for them beside a batch's.

        Errors come when the shards are read.
        """
        if self._most_open < 2 * self.order.lanes:
            return
        with self._lock:
            new = [s for s in shards if s not in self._open and s not in self._soon]
            self._soon.update(new)
        for shard in new:
            self._pool.submit(self._try, shard)

    def _try(self, shard: int) -> None:
        try:
            self.opened(shard)
        except Exception:
            return  # raised again, and reported, by whoever needs the shard
        finally:
            with self._lock:
                self._soon.discard(shard)

    def contents(self, i: int, side: int) -> bytes:
        """The file of image `i`. Raises `Broken`."""
        shard, sample = self.place(i)
        while True:
            data = self.opened(shard).contents(sample, side)
            if data is not None:
                return data

    def usable(self, i: int, load: Callable[[int], T]) -> T:
        """`load` of image `i`, or of the image that takes its place.

        Raises `DataError` if there is none, and with `strict`.
        """
        for image in self._candidates(i):
            try:
                return load(image)
            except Broken as e:
                self._unreadable.add(image)
                self._report(f"{self.name(image)} cannot be read: {e}", 1)
        raise DataError(f"no shard of {self.store.place} has an image that can be read")

    def label(self, i: int) -> int:
        """The label of image `i`, -1 without, after `usable` has loaded the image."""
        shard, sample = self.place(next(self._candidates(i)))
        return int(self.opened(shard).members.labels[sample])

    def _candidates(self, i: int) -> Iterator[int]:
        """Image `i` and those that take its place, but none known to be unreadable."""
        shard, sample = self.place(i)
        for k in range(len(self.shards)):
            other = (shard + k) % len(self.shards)
            count, first = self.shards[other].images, int(self.order.first[other])
            try:
                self.opened(other)
            except Broken as e:
                self._report(f"the shard {self.shards[other].name} is broken: it {e}", count)
                continue
            for j in range(count):
                image = first + (sample + j) % count
                if image not in self._unreadable:
                    yield image

    def name(self, i: int) -> str:
        """The shard of image `i` and its number there."""
        shard, sample = self.place(i)
        return f"{self.shards[shard].name}: image {sample}"

    def _report(self, problem: str, images: int) -> None:
        if self.strict:
            raise DataError(
                f"{problem}. Copy the shard again; only a training without strict does without it"
            )
        with self._lock:
            new = problem not in self._named and len(self._named) < NAMED
            many = len(self._named) + 1
            if new:
                self._named.add(problem)
        if new:
            place = "its place" if images == 1 else f"the place of its {images:,} images"
            more = "; further ones are not named" if many == NAMED else ""
            warn(f"{printable(problem)}. Others take {place} ({many} so far{more})")
