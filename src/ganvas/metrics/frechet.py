"""Fréchet distance between two sets of features, and its bias at few images.

Each set is approximated by a Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """Squared 2-Wasserstein distance of two Gaussians.

    `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^(1/2) C2 C1^(1/2))^(1/2))` (Dowson and Landau,
    1982; as a measure of generators, over Inception's features: Heusel et al., 2017,
    arXiv:1706.08500).

    Means [dim] and covariances [dim, dim]. Computed in float64 with symmetric
    eigenvalues, on the subspace that C1 occupies, so that covariances of fewer images
    than dimensions are no trouble. Never negative.
    """
    mean1, cov1, mean2, cov2 = (
        t.detach().to("cpu", torch.float64) for t in (mean1, cov1, mean2, cov2)
    )
    values, vectors = torch.linalg.eigh((cov1 + cov1.T) / 2)
    present = values > values[-1].clamp(min=0) * len(values) * torch.finfo(torch.float64).eps
    root = vectors[:, present] * values[present].sqrt()  # C1 = root @ root.T
    middle = torch.linalg.eigvalsh(root.T @ ((cov2 + cov2.T) / 2) @ root)
    trace = torch.trace(cov1) + torch.trace(cov2) - 2 * middle.clamp(min=0).sqrt().sum()
    return max(float((mean1 - mean2).square().sum() + trace), 0.0)


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [dim] and covariance [dim, dim] of features [N, dim]."""
    return features.mean(0), features.T.cov()


def subset_distances(x: Tensor, y: Tensor, shares: Sequence[float], seed: int = 0) -> list[float]:
    """Distances between random subsets of features x [n, dim] and y [m, dim].

    One for each of `shares`, the fraction of either set (0.5: half of each, drawn
    without replacement).
    """
    rng = np.random.default_rng(seed)

    def part(features: Tensor, share: float) -> tuple[Tensor, Tensor]:
        chosen = rng.permutation(len(features))[: max(round(len(features) * share), 2)]
        return moments(features[chosen].double())

    return [frechet_distance(*part(x, share), *part(y, share)) for share in shares]


SHARES = tuple(1 / inverse for inverse in np.linspace(1, 3, 10).tolist())


def extrapolated(x: Tensor, y: Tensor, seed: int = 0) -> float:
    """Fréchet distance extrapolated to infinitely many images.

    Its bias falls as 1 / N, so the intercept of a line through the distances of
    subsets, over 1 / N, is free of it (Chong and Forsyth, 2020, arXiv:1911.07023,
    section 3.1).

    There only the generated images are varied and the real ones' bias stays; here both
    sides shrink in proportion (to a third, in ten steps), and both go. May fall below
    zero, by its own noise, if the distance is near it. Means nothing if the
    smallest subset has hardly more images than there are dimensions: the bias is no
    line there.
    """
    distances = subset_distances(x, y, SHARES, seed)
    return float(np.polyfit([1 / share for share in SHARES], distances, 1)[1])
