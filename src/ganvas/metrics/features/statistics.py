"""Means and covariances of features, of a stream of any length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.metrics.features.base import Extractor


class Statistics(NamedTuple):
    """Of features, in float64: `mean` [dim], `cov` [dim, dim] (divided by N - 1)."""

    mean: Tensor
    cov: Tensor


class Moments:
    """Streaming mean and covariance in float64 and constant memory.

    (Chan, Golub and LeVeque, 1979.) `count`, `mean` [dim] and `scatter` [dim, dim], the
    sum of outer products around the mean, are its state.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self.scatter = torch.zeros(dim, dim, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Add features [N, dim]."""
        x = features.detach().to("cpu", torch.float64)
        n = len(x)
        if not n:
            return
        mean, total = x.mean(0), self.count + n
        x = x - mean
        shift = mean - self.mean
        self.scatter += x.T @ x + torch.outer(shift, shift) * (self.count * n / total)
        self.mean += shift * (n / total)
        self.count = total

    def statistics(self) -> Statistics:
        """Mean [dim] and unbiased covariance [dim, dim] so far, in float64.

        Raises `UserError` for fewer than 2 images.
        """
        if self.count < 2:
            raise UserError(f"a covariance needs at least 2 images; got {self.count}")
        return Statistics(self.mean, self.scatter / (self.count - 1))


def feature_statistics(extractor: Extractor, batches: Iterable[Tensor]) -> Statistics:
    """Mean and covariance of the features of batches [N, C, H, W] in [-1, 1]."""
    moments = Moments(extractor.dim)
    for images in batches:
        moments.add(extractor(images))
    return moments.statistics()
