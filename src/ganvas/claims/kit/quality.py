"""Distance of a model's samples from the data, and rank correlation of two curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganvas.core import Samples, rng
from ganvas.data import Feed
from ganvas.metrics.features import extractor, feature_statistics
from ganvas.metrics.frechet import frechet_distance

PART = 128  # images in one forward pass


class Quality:
    """Fréchet distance between `count` samples of a model and as many real images.

    Over random-conv-v1, which needs no weights; it is not FID. The real images and the
    noise are the same each time, so that two readings differ by their models alone.
    Samples smaller than the data, of networks that have yet to grow, are enlarged by
    repeating pixels. Features are computed on the CPU.

    feed: the real images
    features: another extractor
    """

    def __init__(self, feed: Feed, count: int = 1024, features: str = "random-conv-v1") -> None:
        self.extractor, self.count, self.side = extractor(features), count, feed.info.height
        self.real = feature_statistics(self.extractor, feed.fixed(count).x.split(PART))

    @torch.no_grad()
    def __call__(self, model: object) -> float:
        """The distance of a method that samples, in evaluation mode."""
        generator = cast(Samples, model)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(rng.fold_in("quality"))
            fake = [self._whole(generator.sample(PART)).cpu() for _ in range(self.count // PART)]
        return self.of(fake)

    def of(self, batches: Sequence[Tensor]) -> float:
        """The same of images [n, C, H, W] in [-1, 1], in any number of batches."""
        return frechet_distance(*self.real, *feature_statistics(self.extractor, batches))

    def _whole(self, x: Tensor) -> Tensor:
        return interpolate(x, size=self.side, mode="nearest") if x.shape[-1] < self.side else x


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation, -1 to 1; 0 if one of the two never changes.

    Equal values share the mean of their ranks.
    """

    def ranks(values: Sequence[float]) -> np.ndarray:
        _, inverse, counts = np.unique(
            np.asarray(values, float), return_inverse=True, return_counts=True
        )
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    a, b = (r - r.mean() for r in (ranks(x), ranks(y)))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0
