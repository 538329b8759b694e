"""Pseudorandom order of an endless stream of images, as a function of the position."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ganvas.core import rng


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
