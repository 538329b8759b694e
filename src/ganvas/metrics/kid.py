"""Kernel distance (KID): maximum mean discrepancy, unbiased at any sample size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_CHUNK = 256  # rows of a kernel matrix held at once: more would leave the processor's cache


class KernelDistance(NamedTuple):
    """Kernel distance over all images (`value`), its interval and its subsets.

    low, high: its 95% confidence interval. `subset_mean`, `subset_std`: over random
    subsets of `subset_size`, as the distance is usually published.
    """

    value: float
    low: float
    high: float
    subset_mean: float
    subset_std: float
    subset_size: int


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased estimate of MMD^2 between features x [n, dim] and y [m, dim].

    The kernel is `(x.y / dim + 1)^3` (Binkowski et al., 2018, arXiv:1801.01401,
    equation 4 and section 3). Zero on average, and so as often negative as positive,
    if both come from one distribution.
    """
    assert min(len(x), len(y)) > 1, "an unbiased estimate needs two images on either side"
    return float(_distances(x, y, _members(len(x), []), _members(len(y), []))[0])


def kernel_distance_interval(
    x: Tensor, y: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> KernelDistance:
    """`kernel_distance` with its 95% confidence interval.

    From `subsets` random subsets of `size` (at most half) of either set.

    The subsets, drawn without replacement, are a delete-d jackknife (Shao and Wu,
    1989): with a share f of the images in each, the variance of the whole set's value
    is f / (1 - f) times the variance of the subsets' values.
    """
    share = min(0.5, size / max(len(x), len(y)))
    n, m = max(int(len(x) * share), 2), max(int(len(y) * share), 2)
    rng = np.random.default_rng(seed)
    drawn = [
        (rng.choice(len(x), n, replace=False), rng.choice(len(y), m, replace=False))
        for _ in range(subsets)
    ]
    value, *values = _distances(
        x, y, _members(len(x), [i for i, _ in drawn]), _members(len(y), [i for _, i in drawn])
    ).tolist()
    mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
    half = 1.96 * std * (share / (1 - share)) ** 0.5
    return KernelDistance(value, value - half, value + half, mean, std, n)


def _members(n: int, subsets: list[np.ndarray]) -> Tensor:
    """Membership of n images in the whole set and in each subset, 0 or 1.

    [n, 1 + subsets]; column 0 is the whole set.
    """
    members = torch.zeros(n, 1 + len(subsets), dtype=torch.float64)
    members[:, 0] = 1
    for column, indices in enumerate(subsets, 1):
        members[torch.from_numpy(indices), column] = 1
    return members


def _distances(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor) -> Tensor:
    """The distance of every set of images that the columns of `in_x` and `in_y` name.

    The kernel of two images is computed once, however many of the sets they belong to.
    """
    x, y = x.detach().to("cpu", torch.float64), y.detach().to("cpu", torch.float64)
    n, m = in_x.sum(0), in_y.sum(0)
    between = torch.zeros(in_x.shape[1], dtype=torch.float64)
    for i in range(0, len(x), _CHUNK):
        rows = slice(i, i + _CHUNK)
        between += (in_x[rows] * (_kernel(x[rows], y) @ in_y)).sum(0)
    return (
        _within(x, in_x) / (n * (n - 1)) + _within(y, in_y) / (m * (m - 1)) - 2 * between / (n * m)
    )


def _within(x: Tensor, members: Tensor) -> Tensor:
    """For every set, the kernel's sum over its pairs of unlike images."""
    total = -(members * (x.square().sum(1, keepdim=True) / x.shape[1] + 1).pow(3)).sum(
        0
    )  # an image with itself
    for i in range(0, len(x), _CHUNK):
        here, later = slice(i, i + _CHUNK), slice(i + _CHUNK, None)
        weighted = _kernel(x[here], x[here]) @ members[here]
        if i + _CHUNK < len(x):  # the matrix is symmetric
            weighted += 2 * _kernel(x[here], x[later]) @ members[later]
        total += (members[here] * weighted).sum(0)
    return total


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)
