"""Terms of variational autoencoders: sums over an image, means over the batch.

In float32 or wider.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ganvas.core import rng
from ganvas.objectives.precision import wide


def reparameterised(q: Tensor) -> Tensor:
    """Sample z = mean + exp(log variance / 2) ε, ε ~ N(0, I).

    q [N, 2, latent]: means and log variances -> z [N, latent]. arXiv:1312.6114, section
    2.4.
    """
    mean, log_var = q.unbind(1)
    return mean + (log_var / 2).exp() * rng.normal(*mean.shape, device=q.device)


def kl_to_normal(q: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, I)), averaged over the batch.

    q [N, 2, latent]: means and log variances. arXiv:1312.6114, appendix B.
    """
    mean, log_var = wide(q).unbind(1)
    return ((log_var.exp() + mean.square() - 1 - log_var) / 2).sum(1).mean()


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-E log p(x) of x [N, ...] in [-1, 1] as probabilities (x + 1) / 2 of white."""
    nll = F.binary_cross_entropy_with_logits(wide(logits), (wide(x) + 1) / 2, reduction="none")
    return nll.flatten(1).sum(1).mean()


def gaussian_nll(mean: Tensor, x: Tensor, sigma: float = 1.0) -> Tensor:
    """-E log N(x; mean, sigma^2 I) of x [N, ...], without its constant."""
    return (wide(mean) - wide(x)).square().flatten(1).sum(1).mean() / (2 * sigma**2)
