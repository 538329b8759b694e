"""The Frechet distance between two sets of features, each taken for a Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """`|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^(1/2) C2 C1^(1/2))^(1/2))`: the squared 2-Wasserstein distance of two Gaussians
    (Dowson and Landau, 1982; as a measure of generators, over Inception's features: Heusel et al., 2017,
    arXiv:1706.08500).

    Means [dim] and covariances [dim, dim]. Computed in float64 with symmetric eigenvalues, on the subspace that C1
    occupies, so that covariances of fewer images than dimensions are no trouble. Never negative."""
    mean1, cov1, mean2, cov2 = (t.detach().to("cpu", torch.float64) for t in (mean1, cov1, mean2, cov2))
    values, vectors = torch.linalg.eigh((cov1 + cov1.T) / 2)
    present = values > values[-1].clamp(min=0) * len(values) * torch.finfo(torch.float64).eps
    root = vectors[:, present] * values[present].sqrt()  # C1 = root @ root.T
    middle = torch.linalg.eigvalsh(root.T @ ((cov2 + cov2.T) / 2) @ root)
    trace = torch.trace(cov1) + torch.trace(cov2) - 2 * middle.clamp(min=0).sqrt().sum()
    return max(float((mean1 - mean2).square().sum() + trace), 0.0)
