"""Shards as image sets, and as the pixels and labels of a `Feed`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ganvas.core.json_files import Json
from ganvas.core.rng import Rows
from ganvas.data.pictures import half_of, halved
from ganvas.data.streaming.collection import Collection
from ganvas.data.streaming.index import NAME, parsed
from ganvas.data.streaming.store import Folder, Remote, Store, is_address
from ganvas.media import decode
from ganvas.media.decode import Header
from ganvas.media.samples import Broken, as_array, fit, to_channels


def is_shards(folder: Path) -> bool:
    """Whether a folder holds shards."""
    return (folder / NAME).is_file()


def shards_table(source: str | Path, white: int | None) -> Callable[[str], Shards | None]:
    """Shards in a folder or at an address: name of a part -> its images.

    Raises `UserError` for an index that cannot be read.
    """
    store: Store = Remote(str(source)) if is_address(str(source)) else Folder(Path(source))
    index = parsed(store.index(), f"{NAME} of {store.place}")

    def table(part: str) -> Shards | None:
        if not any(s.part == part for s in index.shards):
            return None
        return Shards(Collection(store, index, part), white)

    return table


@dataclass(frozen=True)
class Shards:
    """One side of the images in shards.

    white: see `ganvas.data.images`
    side: of pairs: 0 is A, 1 is B
    half: 0 or 1: the left or right half of each image; None: the whole
    """

    collection: Collection
    white: int | None
    side: int = 0
    half: int | None = None
    layout = "images in shards"

    def both(self) -> tuple[Shards, Shards]:
        """The two sides: of pairs, or the halves of A|B in one image."""
        if self.paired:
            return self, replace(self, side=1)
        return replace(self, half=0), replace(self, half=1)

    @property
    def paired(self) -> bool:
        """Whether the samples are pairs."""
        return len(self.collection.sides) == 2

    @property
    def smallest(self) -> tuple[int, int]:
        """(smallest height, smallest width) of all images, in pixels."""
        facts = self.collection.facts
        return facts.height[0], facts.width[0] // (1 if self.half is None else 2)

    @property
    def largest(self) -> tuple[int, int]:
        """(largest height, largest width) of all images, in pixels."""
        facts = self.collection.facts
        return facts.height[1], facts.width[1] // (1 if self.half is None else 2)

    @property
    def notes(self) -> list[str]:
        """Lines for the user."""
        shards = self.collection.shards
        return [f"{len(shards)} shards of {sum(s.bytes for s in shards) / 1e6:,.0f} MB in all"]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty for unlabeled images."""
        return () if self.paired else tuple(self.collection.index.classes)

    @property
    def labels(self) -> np.ndarray | None:
        """All labels, which reads every shard; -1 in broken ones."""
        return self._labels() if self.classes else None

    def _labels(self) -> np.ndarray:
        labels = np.full(len(self), -1, np.int64)
        for shard, first in enumerate(self.collection.order.first.tolist()):
            try:
                own = self.collection.opened(shard).members.labels
            except Broken:  # each of its images is reported as such
                continue
            labels[first : first + len(own)] = own
        return labels

    def __len__(self) -> int:
        return self.collection.facts.images

    def name(self, i: int) -> str:
        """The shard of the image and its number there."""
        return self.collection.name(i)

    def stamp(self) -> Json:
        """From the hashes of all shards."""
        digest = hashlib.blake2b(digest_size=16)
        for shard in self.collection.shards:
            digest.update(f"{shard.sha256} {shard.images}\n".encode())
        digest.update("\n".join(self.classes).encode())
        return ["shards", digest.hexdigest(), self.side, self.half]

    def header(self, i: int) -> Header:
        """As `ganvas.media.decode.read_header`. Raises `Broken`."""
        header = decode.read_header(self.file(i))
        return header if self.half is None else halved(header)

    def load(self, i: int) -> Image.Image:
        """As `ganvas.media.decode.read`. Raises `Broken`."""
        image = decode.read(self.file(i), white=self.white)
        if self.half is None:
            return image
        halved(Header(*image.size, image.mode, 0))
        return half_of(image, self.half)

    def deep(self, i: int) -> np.ndarray | None:
        """As `ganvas.media.decode.deep`. Raises `Broken`."""
        return decode.deep(self.file(i))

    def file(self, i: int) -> BytesIO:
        """The file that holds the image, in memory. Raises `Broken`."""
        return BytesIO(self.collection.contents(i, self.side))


class StreamedPixels:
    """Images of shards, decoded when they are indexed: what `Feed` uses of an array.

    sets: one, or the two sides of pairs, which are concatenated on the last axis
    size: (height, width) of the result
    channels: of each side
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, sets: Sequence[Shards], size: tuple[int, int], channels: int) -> None:
        self.sets, self.size, self.channels = sets, size, channels
        self.collection = sets[0].collection
        self.order = self.collection.order
        self.shape = (len(sets[0]), *size, channels * len(sets))
        self._pool = ThreadPoolExecutor(min(8, max(1, (os.cpu_count() or 1) // 2)), "ganvas-decode")
        self._shards: set[int] = set()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """uint8 [n, H, W, C] of the images `index`, int64 [n]."""
        out = np.empty((len(index), *self.shape[1:]), np.uint8)

        def fill(at: int) -> None:
            out[at] = self.collection.usable(int(index[at]), self._decoded)

        for _ in self._pool.map(fill, range(len(index))):
            pass
        return out

    def _decoded(self, i: int) -> np.ndarray:
        parts = [as_array(fit(to_channels(s.load(i), self.channels), self.size)) for s in self.sets]
        return np.concatenate(parts, 2) if len(parts) > 1 else parts[0]

    def batch(
        self, cursor: int, rows: Rows, seed: int, stream: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `LaneOrder.batch`. It opens the shards of the batch and the next ones."""
        positions, index = self.order.batch(cursor, rows, seed, stream)
        shards = {self.collection.place(i)[0] for i in index.tolist()}
        if shards - self._shards:
            self.collection.open_ahead(sorted(shards))
            if self.order.spans(cursor, rows.total):
                shards = set()  # the next batch opens ahead: this one may have others' lanes
            else:
                self.collection.open_ahead(self.order.following(positions, seed, stream))
        self._shards = shards
        return positions, index


class StreamedLabels:
    """Labels of images in shards, to be read after the images' pixels.

    share: share of the images that have a label
    """

    def __init__(self, shards: Shards) -> None:
        facts = shards.collection.facts
        self.collection, self.share = shards.collection, sum(facts.labels) / facts.images

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """int64 [n] of the images `index`, int64 [n]; -1 without."""
        return np.array([self.collection.label(i) for i in index.tolist()], np.int64)
