"""Pseudorandom order of an endless stream of images, as a function of the position."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ganvas.core import rng

LANES = 16  # shards, at most, that a batch is spread over


@lru_cache(maxsize=4)  # two streams, and two epochs if a batch spans them
def _permutation(count: int, seed: int) -> np.ndarray:
    return (
        np.random.Generator(np.random.Philox(seed))
        .permutation(count)
        .astype(np.uint32 if count < 1 << 32 else np.int64)
    )


def shuffled_indices(positions: np.ndarray, count: int, seed: int, stream: str) -> np.ndarray:
    """Positions of the endless shuffled stream -> indices below `count`."""
    epochs, within = np.divmod(positions.astype(np.int64), count)
    index = np.empty(len(positions), np.int64)
    for epoch in np.unique(epochs).tolist():
        here = epochs == epoch
        index[here] = _permutation(count, rng.fold_in(seed, "order", stream, epoch))[within[here]]
    return index


class _Epoch(NamedTuple):
    """How the shards of an epoch lie in lanes.

    shards: of each lane, in the order in which they are read
    starts: of each lane, number of its images before each of its shards
    lengths: images of each lane
    turns: lanes by length
    rounds: lengths in rising order, from 0
    before: positions of the epoch before a lane of `rounds` ends
    """

    shards: list[np.ndarray]
    starts: list[np.ndarray]
    lengths: np.ndarray
    rounds: np.ndarray
    before: np.ndarray


class LaneOrder:
    """The order of images in shards: shards are shuffled, and images within each shard.

    For an epoch, the shards are permuted by (seed, stream, epoch) and dealt out to
    lanes: 16, or the largest power of two that is not above the number of shards. The
    larger shards are dealt first, so that lanes hold nearly the same number of images;
    each lane keeps its shards in the order of the permutation. The images of a shard
    are permuted by (seed, stream, epoch, shard). Position after position, the epoch
    takes the next image of the next lane in turn that has images left. Every image thus
    comes once in an epoch, and a batch is mixed from one shard of each lane.

    Within a batch, images are sorted by lane, stably. If the batch is a multiple of the
    lanes and the nodes divide the lanes, each node then reads whole lanes, and each
    shard is read by one node in an epoch. Excepted are the last images of an epoch, if
    lanes differ in length: a neighbor may read these. `ganvas data pack` writes a
    multiple of 16 shards whose lengths differ by at most 1, so that lanes do, too.

    counts: images of each shard
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = np.array(counts, np.int64)
        self.first = np.cumsum(self.counts) - self.counts  # number of each shard's first image
        self.total = int(self.counts.sum())
        self.lanes = 1 << (min(LANES, len(counts)).bit_length() - 1)
        self._epoch = lru_cache(4)(self._dealt)
        self._images = lru_cache(4 * self.lanes)(_shuffled)

    def _dealt(self, seed: int, stream: str, epoch: int) -> _Epoch:
        order = _shuffled(len(self.counts), rng.fold_in(seed, "shards", stream, epoch))
        by_size = np.argsort(-self.counts[order], kind="stable")
        lanes = [order[np.sort(by_size[lane :: self.lanes])] for lane in range(self.lanes)]
        counts = [self.counts[shards] for shards in lanes]
        lengths = np.array([c.sum() for c in counts])
        rounds = np.concatenate([[0], np.sort(lengths)])
        active = np.arange(self.lanes, 0, -1)  # lanes that have images left, round after round
        before = np.concatenate([[0], np.cumsum(np.diff(rounds) * active)])
        return _Epoch(lanes, [np.cumsum(c) - c for c in counts], lengths, rounds, before)

    def places(
        self, positions: np.ndarray, seed: int, stream: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(epoch, lane, shard, place in the shard's permutation) of each position."""
        epochs, within = np.divmod(positions.astype(np.int64), self.total)
        lane, shard, place = (np.empty(len(positions), np.int64) for _ in range(3))
        for epoch in np.unique(epochs).tolist():
            here = np.flatnonzero(epochs == epoch)
            dealt = self._epoch(seed, stream, epoch)
            ended = np.searchsorted(dealt.before, within[here], "right") - 1  # lanes that are empty
            turn, nth = np.divmod(within[here] - dealt.before[ended], self.lanes - ended)
            turn += dealt.rounds[ended]
            for e in np.unique(ended).tolist():
                left = np.flatnonzero(dealt.lengths > dealt.rounds[e])
                lane[here[ended == e]] = left[nth[ended == e]]
            for own in np.unique(lane[here]).tolist():
                mine = lane[here] == own
                k = np.searchsorted(dealt.starts[own], turn[mine], "right") - 1
                shard[here[mine]] = dealt.shards[own][k]
                place[here[mine]] = turn[mine] - dealt.starts[own][k]
        return epochs, lane, shard, place

    def batch(
        self, cursor: int, rows: rng.Rows, seed: int, stream: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """(positions, images) of some rows of a batch: uint64 and int64, [rows].

        cursor: first position of the batch, which has `rows.total`
        """
        positions = np.arange(cursor, cursor + rows.total, dtype=np.uint64)
        places = self.places(positions, seed, stream)
        own = np.argsort(places[1], kind="stable")[rows.start : rows.stop]
        epochs, _, shards, at = (p[own] for p in places)
        index = np.empty(len(own), np.int64)
        for epoch, shard in sorted(set(zip(epochs.tolist(), shards.tolist()))):
            here = (epochs == epoch) & (shards == shard)
            key = rng.fold_in(seed, "shard", stream, epoch, shard)
            index[here] = self.first[shard] + self._images(int(self.counts[shard]), key)[at[here]]
        return positions[own], index

    def spans(self, cursor: int, n: int) -> bool:
        """Whether a batch has images of two epochs: nodes may read others' lanes."""
        return cursor // self.total != (cursor + n - 1) // self.total

    def following(self, positions: np.ndarray, seed: int, stream: str) -> list[int]:
        """The shards that the lanes of these positions read next."""
        epochs, lanes, shards, _ = self.places(positions, seed, stream)
        found = set()
        for epoch, lane, shard in set(zip(epochs.tolist(), lanes.tolist(), shards.tolist())):
            own = self._epoch(seed, stream, epoch).shards[lane].tolist()
            own += self._epoch(seed, stream, epoch + 1).shards[lane][:1].tolist()
            found.add(own[own.index(shard) + 1])
        return sorted(found)

    def some(self, n: int, seed: int, stream: str) -> np.ndarray:
        """`n` different images, from as few shards as hold them."""
        chosen: list[np.ndarray] = []
        for shard in _shuffled(len(self.counts), rng.fold_in(seed, "some", stream)).tolist():
            if n <= 0:
                break
            own = _shuffled(int(self.counts[shard]), rng.fold_in(seed, "some", stream, shard))[:n]
            chosen.append(self.first[shard] + own)
            n -= len(own)
        return np.concatenate(chosen)


def _shuffled(count: int, seed: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).permutation(count)


def hashed(positions: np.ndarray, key: int) -> np.ndarray:
    """64 random bits for each position.

    SplitMix64 (Steele et al., 2014), whose state is a counter.
    """
    with np.errstate(over="ignore"):
        z = np.uint64(key) + (positions + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def fraction(bits: np.ndarray) -> np.ndarray:
    """The lower 31 bits as numbers in [0, 1)."""
    return (bits & np.uint64(0x7FFFFFFF)).astype(np.float64) / 2.0**31
