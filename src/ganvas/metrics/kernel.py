"""The kernel distance: a maximum mean discrepancy, unbiased at any number of images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_CHUNK = 2048  # rows of a kernel matrix held at once


class KernelDistance(NamedTuple):
    """`value`: over all images. `low`, `high`: its 95% confidence interval. `subset_mean`, `subset_std`: over random
    subsets of `subset_size`, as the distance is usually published."""

    value: float
    low: float
    high: float
    subset_mean: float
    subset_std: float
    subset_size: int


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate of MMD^2 between features x [n, dim] and y [m, dim] with the kernel `(x.y / dim + 1)^3`
    (Binkowski et al., 2018, arXiv:1801.01401, equation 4 and section 3). Zero on average, and so as often negative as
    positive, where both come from one distribution."""
    x, y = x.detach().to(torch.float64), y.detach().to(torch.float64)
    n, m = len(x), len(y)
    assert min(n, m) > 1, "an unbiased estimate needs two images on either side"
    within = _sum(x, x, others=True) / (n * (n - 1)) + _sum(y, y, others=True) / (m * (m - 1))
    return within - 2 * _sum(x, y) / (n * m)


def _sum(x: Tensor, y: Tensor, others: bool = False) -> float:
    """The kernel's sum over all pairs; `others`: without the pairs of an image with itself."""
    dim = x.shape[1]
    total = sum(float((part @ y.T / dim + 1).pow(3).sum()) for part in x.split(_CHUNK))
    return total - float((x.square().sum(1) / dim + 1).pow(3).sum()) if others else total


def kernel_distance_interval(
    x: Tensor, y: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> KernelDistance:
    """`kernel_distance` with its confidence interval, from `subsets` random subsets of `size` (at most half) of either
    side.

    The subsets, drawn without replacement, are a delete-d jackknife (Shao and Wu, 1989): with a share f of the images
    in each, the variance of the whole set's value is f / (1 - f) times the variance of the subsets' values."""
    share = min(0.5, size / max(len(x), len(y)))
    n, m = max(int(len(x) * share), 2), max(int(len(y) * share), 2)
    rng = np.random.default_rng(seed)
    values = [
        kernel_distance(x[rng.choice(len(x), n, replace=False)], y[rng.choice(len(y), m, replace=False)])
        for _ in range(subsets)
    ]
    value, mean, std = kernel_distance(x, y), float(np.mean(values)), float(np.std(values, ddof=1))
    half = 1.96 * std * (share / (1 - share)) ** 0.5
    return KernelDistance(value, value - half, value + half, mean, std, n)
