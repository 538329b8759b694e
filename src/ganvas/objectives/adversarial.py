"""Adversarial losses: means over a batch's scores (logits, any shape), in float32 or wider, whatever the networks ran in."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from ganvas.objectives.precision import wide


def bce(logits: Tensor, real: bool) -> Tensor:
    """Cross entropy with the logits' sigmoid: -E log σ(l) where they should say real, else -E log(1 - σ(l))."""
    return F.softplus(-wide(logits) if real else wide(logits)).mean()


def discriminator_accuracy(d_real: Tensor, d_fake: Tensor) -> Tensor:
    """The share of images that logits put on the right side of 0, real and generated counted alike."""
    return ((d_real > 0).float().mean() + (d_fake < 0).float().mean()) / 2


def mean_sign(d_real: Tensor) -> Tensor:
    """E sign D(x) over real images, by which ADA tells overfitting: 0 none, 1 all.

    Karras et al., 2020, arXiv:2006.06676, equation 1.
    """
    return d_real.detach().float().sign().mean()


def discriminator_log(d_real: Tensor, d_fake: Tensor) -> dict[str, Tensor]:
    """What a discriminator's turn logs of its logits: `accuracy` (`told_apart`) and `sign`."""
    return {"accuracy": discriminator_accuracy(d_real, d_fake), "sign": mean_sign(d_real)}


def relativistic(ahead: Tensor, behind: Tensor) -> Tensor:
    """-E log σ(a - b): scores `ahead` should be larger than their partners `behind`, [N] each. Jolicoeur-Martineau, 2018,
    arXiv:1807.00734, in pairs (RpGAN)."""
    return F.softplus(wide(behind) - wide(ahead)).mean()


def lsgan(scores: Tensor, target: float) -> Tensor:
    """E (D(x) - target)^2, with targets 1 for real and 0 for fake. arXiv:1611.04076, equation 2, without its 1/2."""
    return (wide(scores) - target).square().mean()


def by_name(loss: Literal["bce", "lsgan"], scores: Tensor, real: bool) -> Tensor:
    """The loss of this name, of scores that should say real or generated."""
    return lsgan(scores, float(real)) if loss == "lsgan" else bce(scores, real)


def hinge(scores: Tensor, real: bool) -> Tensor:
    """D's loss: E max(0, 1 - D(x)) where it should say real, else E max(0, 1 + D(x)).

    The generator descends -E D(G(z)). Lim and Ye, 2017, arXiv:1705.02894; Tran et al.,
    2017, arXiv:1702.08896.
    """
    return F.relu(1 - wide(scores) if real else 1 + wide(scores)).mean()
