"""Measures of nearest neighbors: precision and recall, memorization, duplicates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ganvas.core.errors import UserError

CHUNK = 256  # rows of a distance matrix held at once: more would leave the processor's cache


class Fidelity(NamedTuple):
    """Shares; `density` may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def fidelity(real: Tensor, fake: Tensor, k: int = 5) -> Fidelity:
    """Precision, recall, density and coverage of generated features.

    Precision and recall: Kynkaanniemi et al., 2019, arXiv:1904.06991; density and
    coverage: Naeem et al., 2020, arXiv:2002.09797. Features real [n, dim] and fake [m,
    dim].

    An image's ball reaches to its k-th nearest neighbor on its own side, border
    included. Precision: the share of fakes in some real image's ball. Recall: of real
    images in some fake's. Density: in how many real balls a fake lies on average,
    divided by k. Coverage: the share of real images whose ball holds a fake.
    """
    if min(len(real), len(fake)) <= k:
        raise UserError(
            f"neighbors of rank {k} need more than {k} images on either side; got {len(real)} and "
            f"{len(fake)}"
        )
    real, fake, origin = real.double(), fake.double(), real.double().mean(0)
    real, fake = (
        real - origin,
        fake - origin,
    )  # distances are differences of large numbers if the origin is far away
    real_radius, fake_radius = _radius(real, k), _radius(fake, k)
    in_real_balls = torch.zeros(len(fake), dtype=torch.long)
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for i in range(0, len(fake), CHUNK):
        distance = squared_distances(fake[i : i + CHUNK], real)
        inside = distance <= real_radius
        in_real_balls[i : i + CHUNK] = inside.sum(1)
        covered |= inside.any(0)
        recalled |= (distance <= fake_radius[i : i + CHUNK, None]).any(0)
    return Fidelity(
        precision=(in_real_balls > 0).double().mean().item(),
        recall=recalled.double().mean().item(),
        density=in_real_balls.double().mean().item() / k,
        coverage=covered.double().mean().item(),
    )


def nearest(samples: Tensor, training: Tensor, k: int = 3) -> tuple[Tensor, Tensor]:
    """The k nearest training images of each sample, nearest first.

    A model that memorizes training images shows by distances near 0.

    samples, training: features [n, dim] and [m, dim]

    Returns (distances [n, k], indices [n, k]); k is at most m.
    """
    k = min(k, len(training))
    samples, training = samples.double(), training.double()
    origin = training.mean(0)
    found = [
        squared_distances(part - origin, training - origin).topk(k, largest=False).indices
        for part in samples.split(CHUNK)
    ]
    indices = torch.cat(found)
    exact = [
        (part[:, None] - training[i]).norm(dim=2)
        for part, i in zip(samples.split(CHUNK), found, strict=True)
    ]
    return torch.cat(exact), indices


def duplicates(samples: Tensor, threshold: float) -> list[tuple[int, int, float]]:
    """Pairs (i, j, distance) of samples [n, dim] within `threshold`, closest first.

    The birthday paradox (Arora and Zhang, 2017, arXiv:1706.08224): if half of all
    draws of n samples hold a duplicate, the generator makes about n^2 different images.
    The threshold is yours to set, by looking at the pairs.
    """
    x = samples.double()
    pairs = []
    for start in range(0, len(x), CHUNK):
        distances = squared_distances(x[start : start + CHUNK], x).sqrt()
        close = (distances <= threshold * (1 + 1e-6)).nonzero()
        for i, j in (close + torch.tensor([start, 0])).tolist():
            distance = float((x[i] - x[j]).norm()) if i < j else float("inf")
            if distance <= threshold:
                pairs.append((i, j, distance))
    return sorted(pairs, key=lambda pair: pair[2])


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances [n, m]; zero up to rounding is zero, so that copies match."""
    scale = x.square().sum(1, keepdim=True) + y.square().sum(1)
    distance = torch.addmm(scale, x, y.T, alpha=-2)
    return distance.masked_fill_(distance < scale.mul_(1e-13), 0.0)


def _radius(x: Tensor, k: int) -> Tensor:
    """Squared distance to the k-th nearest other row, [n]."""
    radii = []
    for start in range(0, len(x), CHUNK):
        distance = squared_distances(x[start : start + CHUNK], x)
        rows = torch.arange(len(distance))
        distance[rows, rows + start] = torch.inf
        radii.append(
            distance.topk(k, dim=1, largest=False).values[:, -1]
        )  # several times as fast as kthvalue
    return torch.cat(radii)
