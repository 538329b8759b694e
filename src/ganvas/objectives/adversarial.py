"""Adversarial losses: means over the scores of a batch.

Scores are logits of any shape. Means are in float32 or wider, whatever the networks ran
in.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from ganvas.core import distributed, rng
from ganvas.objectives.precision import wide


def bce(logits: Tensor, real: bool) -> Tensor:
    """Binary cross-entropy of logits: -E log σ(l) if `real`, else -E log(1 - σ(l))."""
    return F.softplus(-wide(logits) if real else wide(logits)).mean()


def discriminator_accuracy(d_real: Tensor, d_fake: Tensor) -> Tensor:
    """Discriminator accuracy, averaged over real and generated images.

    Logits above 0 mean real, below 0 generated.
    """
    return ((d_real > 0).float().mean() + (d_fake < 0).float().mean()) / 2


def mean_sign(d_real: Tensor) -> Tensor:
    """E sign D(x) over real images, ADA's measure of overfitting: 0 none, 1 all.

    Karras et al., 2020, arXiv:2006.06676, equation 1.
    """
    return d_real.detach().float().sign().mean()


def discriminator_log(d_real: Tensor, d_fake: Tensor) -> dict[str, Tensor]:
    """Log of a discriminator's turn: `discriminator_accuracy` and `mean_sign`."""
    return {"accuracy": discriminator_accuracy(d_real, d_fake), "sign": mean_sign(d_real)}


def relativistic(ahead: Tensor, behind: Tensor) -> Tensor:
    """Relativistic loss of pairs: -E log σ(a - b).

    Scores `ahead` should be larger than their partners `behind`, [N] each.
    Jolicoeur-Martineau, 2018, arXiv:1807.00734, in pairs (RpGAN).
    """
    return F.softplus(wide(behind) - wide(ahead)).mean()


def relativistic_average(ahead: Tensor, behind: Tensor) -> Tensor:
    """Relativistic average loss: scores `ahead` above the mean of `behind`, and back.

    -(E log σ(a - E b) + E log(1 - σ(b - E a))) / 2, with the means of the whole batch
    on all ranks. Jolicoeur-Martineau, 2018, arXiv:1807.00734, halved as in ESRGAN's
    code.
    """
    ahead, behind = wide(ahead), wide(behind)
    mean_ahead, mean_behind = (distributed.mean(scores.mean()) for scores in (ahead, behind))
    return (bce(ahead - mean_behind, True) + bce(behind - mean_ahead, False)) / 2


def lsgan(scores: Tensor, target: float) -> Tensor:
    """Least-squares loss E (D(x) - target)^2.

    Targets are 1 for real and 0 for generated images. arXiv:1611.04076, equation 2,
    without its 1/2.
    """
    return (wide(scores) - target).square().mean()


def by_name(loss: Literal["bce", "lsgan"], scores: Tensor, real: bool) -> Tensor:
    """The loss of this name, of scores that should be real's or generated images'."""
    return lsgan(scores, float(real)) if loss == "lsgan" else bce(scores, real)


def hinge(scores: Tensor, real: bool) -> Tensor:
    """D's hinge loss: E max(0, 1 - D(x)) if `real`, else E max(0, 1 + D(x)).

    The generator descends -E D(G(z)). Lim and Ye, 2017, arXiv:1705.02894; Tran et al.,
    2017, arXiv:1702.08896.
    """
    return F.relu(1 - wide(scores) if real else 1 + wide(scores)).mean()


def soft_hinge(scores: Tensor, real: bool, soften: float) -> Tensor:
    """`hinge` with a margin drawn from U(1 - soften, 1) for each score [N, k].

    As in the authors' code of Liu et al., 2021, arXiv:2101.04775.
    """
    margin = 1 - soften * rng.uniform(len(scores), *scores.shape[1:], device=scores.device)
    return F.relu(margin - wide(scores) if real else margin + wide(scores)).mean()
