"""What the claims that train read off a run: how far its samples are from the data, and how two curves rise together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganvas.core import rng
from ganvas.metrics.features import extractor, feature_statistics
from ganvas.metrics.frechet import frechet_distance

PART = 128  # images in one forward pass


class Quality:
    """The Frechet distance (over random-conv-v1, which needs no weights; it is not FID) between `count` samples of a model
    and as many real images of its feed; 0 is best. The same real images and the same noise each time, so that two readings
    differ by their models alone. Samples smaller than the data, of networks that have yet to grow, are enlarged by
    repeating pixels.
    """

    def __init__(self, feed: Any, count: int = 1024) -> None:
        self.extractor, self.count, self.side = extractor("random-conv-v1"), count, feed.info.height
        self.real = feature_statistics(self.extractor, feed.fixed(count).x.split(PART))

    @torch.no_grad()
    def __call__(self, model: Any) -> float:
        """`model`: a method that samples, in evaluation mode. Leaves torch's generator as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(rng.fold_in("quality"))
            fake = [self._whole(model.sample(PART)) for _ in range(self.count // PART)]
        return frechet_distance(*self.real, *feature_statistics(self.extractor, fake))

    def _whole(self, x: Tensor) -> Tensor:
        return interpolate(x, size=self.side, mode="nearest") if x.shape[-1] < self.side else x


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's: Pearson's correlation of the ranks, equal values sharing the mean of theirs. -1 to 1; 0 where one of the
    two never changes, for then it tells nothing of the other.
    """

    def ranks(values: Sequence[float]) -> np.ndarray:
        _, inverse, counts = np.unique(
            np.asarray(values, float), return_inverse=True, return_counts=True
        )
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    a, b = (r - r.mean() for r in (ranks(x), ranks(y)))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0
