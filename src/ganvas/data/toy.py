"""Toy data with a known ground truth: mixtures of Gaussians and pairs of languages.

Points in the plane are mixtures of Gaussians, to count the modes that a generator
finds. A point is an image of one pixel and two channels, [n, 2, 1, 1], so that every
method trains on points without changes. Unlike images, points are not scaled to [-1,
1]: the protocols below are in the papers' own coordinates.

In a pair of toy languages, one is the other under a substitution cipher, so that the
accuracy of a translation can be measured. A sentence is an image of one row,
[n, 1, 1, words of the sentence], whose gray levels are words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ganvas.core import Batch
from ganvas.core.errors import UserError, did_you_mean
from ganvas.core.rng import Rows, fold_in
from ganvas.data.feed import Feed, shuffled_indices
from ganvas.data.info import Info

GRID_SIGMA = 0.05  # standard deviation of each of the grid's modes
RING_SIGMA = 0.01  # of the ring's
COUNT = 100_000  # points of a training set


def gaussian_grid() -> Tensor:
    """Centers of the 25 Gaussians of the grid, {-4, -2, 0, 2, 4}^2: [25, 2].

    Each has a standard deviation of `GRID_SIGMA`. Lin et al., 2018 (PacGAN),
    arXiv:1712.04086, section 4.1 (2D-grid), after Srivastava et al., 2017 (VEEGAN),
    arXiv:1705.07761.
    """
    line = torch.arange(-4.0, 5.0, 2.0)
    return torch.cartesian_prod(line, line)


def gaussian_ring() -> Tensor:
    """Centers of the 8 Gaussians of the ring, on the unit circle: [8, 2].

    Each has a standard deviation of `RING_SIGMA`. PacGAN, section 4.1 (2D-ring). Papers
    differ here: other rings have a radius of 2 or a deviation of .02, so a figure on
    this ring compares only with figures on this ring.
    """
    angle = torch.arange(8) * (torch.pi / 4)
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def draw_mixture(centers: Tensor, sigma: float, n: int, seed: int) -> Tensor:
    """Draw n points [n, 2] of the equally weighted mixture of N(center, sigma^2 I).

    centers: [k, 2]
    sigma: standard deviation, 0 or more

    Raises `UserError` for other shapes and values.
    """
    if centers.ndim != 2 or centers.shape[1] != 2 or not len(centers):
        raise UserError(
            f"the centers of a mixture are [k, 2], at least one of them; got {list(centers.shape)}"
        )
    if n < 1 or sigma < 0:
        raise UserError(
            f"a mixture needs at least 1 point and a deviation of 0 or more; got {n} and {sigma}"
        )
    rng = np.random.default_rng(fold_in(seed, "mixture"))
    mode, noise = rng.integers(len(centers), size=n), rng.standard_normal((n, 2))
    return centers[torch.from_numpy(mode)].float() + torch.from_numpy(sigma * noise).float()


class Points:
    """A feed of points, with the contract of `ganvas.data.feed.Feed`.

    points: [N, 2]
    source: name for messages and records

    Batches hold `x`, float32 [n, 2, 1, 1]. `resolution` has no effect on one pixel.
    """

    def __init__(self, points: Tensor, source: str) -> None:
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise UserError(
                f"points in the plane are [N, 2], at least one of them; got {list(points.shape)}"
            )
        self._points = points.detach().to("cpu", torch.float32).contiguous()
        digest = hashlib.blake2b(self._points.numpy().tobytes(), digest_size=16).hexdigest()
        self.info = Info("images", source, "points", "train", 2, 1, 1, len(points), digest)

    def draw(
        self,
        cursor: int,
        n: int,
        *,
        seed: int,
        rows: Rows | None = None,
        resolution: int | None = None,
        device: torch.device | str | None = None,
    ) -> Batch:
        """Draw positions `cursor` to `cursor + n` of an endless stream: `Feed.draw`."""
        rows = rows or Rows(0, n, n)
        assert rows.total == n, f"rows of a batch of {rows.total}, but {n} were drawn"
        positions = np.arange(cursor + rows.start, cursor + rows.stop, dtype=np.uint64)
        return self._batch(shuffled_indices(positions, len(self._points), seed, "x"), device)

    def fixed(self, n: int, *, seed: int = 0, device: torch.device | str | None = None) -> Batch:
        """Different points, at most all, chosen by the seed.

        n: number of points
        """
        n = min(n, len(self._points))
        order = np.arange(n, dtype=np.uint64)
        return self._batch(
            shuffled_indices(order, len(self._points), fold_in(seed, "fixed"), "x"), device
        )

    def batches(
        self, size: int, limit: int | None = None, *, device: torch.device | str | None = None
    ) -> Iterator[Batch]:
        """Iterate over all points once, in their order."""
        stop = min(limit if limit is not None else len(self._points), len(self._points))
        for start in range(0, stop, size):
            yield self._batch(np.arange(start, min(start + size, stop)), device)

    def raw(self) -> dict[str, np.ndarray]:
        """The points, `x`: float32 [N, 2]."""
        return {"x": self._points.numpy()}

    def _batch(self, index: np.ndarray, device: torch.device | str | None) -> Batch:
        return Batch(x=self._points[torch.from_numpy(index)].view(-1, 2, 1, 1).to(device))


def gaussian_grid_feed(count: int = COUNT, sigma: float = GRID_SIGMA, seed: int = 0) -> Points:
    """`count` points of the 25 Gaussians (`gaussian_grid`), drawn once.

    PacGAN trains on 100,000.
    """
    return Points(
        draw_mixture(gaussian_grid(), sigma, count, seed),
        f"gaussian-grid, sigma {sigma:g}, seed {seed}",
    )


def gaussian_ring_feed(count: int = COUNT, sigma: float = RING_SIGMA, seed: int = 0) -> Points:
    """`count` points of the 8 Gaussians (`gaussian_ring`), drawn once.

    PacGAN trains on 100,000.
    """
    return Points(
        draw_mixture(gaussian_ring(), sigma, count, seed),
        f"gaussian-ring, sigma {sigma:g}, seed {seed}",
    )


# ---------------------------------------------------------------- languages

LANGUAGES = ("distinct", "ring", "uniform")


def bigrams(kind: str, words: int = 8) -> np.ndarray:
    """P(next word | word) of a toy language, [words, words].

    kind: "ring": the next word is k words further along a circle with a probability
        that halves with each k, so that only distances distinguish words, and a
        rotation of the circle changes nothing. "distinct": that ring, with each word
        more likely than the first by a factor of its own, up to 4, so that no other
        order of the words has the same statistics. "uniform": every word is equally
        likely after any other
    words: 2 to 128

    Raises `UserError` for other values.
    """
    if not 2 <= words <= 128:
        raise UserError(f"a toy language has 2 to 128 words, each a gray level; got {words}")
    if kind not in LANGUAGES:
        raise UserError(
            f"there is no toy language {kind!r}. {did_you_mean(kind, LANGUAGES)} "
            f"({', '.join(LANGUAGES)})"
        )
    if kind == "uniform":
        return np.full((words, words), 1 / words)
    chance = 0.5 ** ((np.arange(words) - np.arange(words)[:, None] - 1) % words)
    if kind == "distinct":
        chance = chance * np.linspace(1, 4, words)
    return chance / chance.sum(1, keepdims=True)


def cipher(words: int = 8, seed: int = 0) -> np.ndarray:
    """The true translation, [words]: word w of a is word `cipher[w]` of b."""
    return np.random.default_rng(fold_in(seed, "cipher")).permutation(words)


def languages(
    source: str = "distinct", *, size: int = 8, words: int = 8, count: int = 10_000, seed: int = 0
) -> Feed:
    """Sentences of `size` words in two languages, `count` of each, drawn independently.

    Batches hold `a` and `b`, [n, 1, 1, size]. Words are gray levels from -1 to 1, and
    `info.classes` names them.

    source: the kind of language, see `bigrams`; both have the same distribution of
        sentences after b is deciphered (`cipher`). The first word is drawn from the
        chain's stationary distribution
    size: words of a sentence, 2 or more
    words: see `bigrams`

    Raises `UserError` for other values.
    """
    if size < 2 or count < 1:
        raise UserError(
            f"a language needs sentences of at least 2 words, and one sentence; got {size} and "
            f"{count}"
        )
    chain = bigrams(source, words)
    levels = np.round(np.arange(words) * (255 / (words - 1))).astype(np.uint8)
    sides = {}
    for side in ("a", "b"):
        sentences = _draw_sentences(
            chain, count, size, np.random.default_rng(fold_in(seed, "sentences", side))
        )
        sentences = cipher(words, seed)[sentences] if side == "b" else sentences
        sides[side] = levels[sentences][:, None, :, None]
    digest = hashlib.blake2b(
        b"".join(s.tobytes() for s in sides.values()), digest_size=16
    ).hexdigest()
    names = tuple(map(str, range(words)))
    counts = dict.fromkeys(sides, count)
    return Feed(
        Info("domains", source, "toy languages", "train", 1, 1, size, count, digest, names, counts),
        sides,
    )


def _draw_sentences(
    chain: np.ndarray, count: int, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw sentences [count, size] of words from a Markov chain [words, words]."""
    rows = np.vstack([np.linalg.matrix_power(chain, 1 << 20)[0], chain]).cumsum(
        1
    )  # the stationary one first
    rows[:, -1] = 1.0
    sentences, row = np.empty((count, size), np.int64), np.zeros(count, np.int64)
    for t in range(size):
        sentences[:, t] = (rng.random(count)[:, None] >= rows[row]).sum(1)
        row = sentences[:, t] + 1
    return sentences
