"""How many modes of a known distribution a generator has found."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas.errors import UserError

SAMPLES = 2500  # that PacGAN's protocol draws of a mixture
REACH = 3.0  # deviations from its centre within which a sample is good


class Modes(NamedTuple):
    """`found` of `total` modes hold a good sample; `good`: the share of samples that are good; `reverse_kl`: of the samples'
    modes against equal shares, in nats; `counts`: good samples by mode, in the order of the centres."""

    found: int
    total: int
    good: float
    reverse_kl: float
    counts: tuple[int, ...]


def score_modes(samples: Tensor, centres: Tensor, sigma: float) -> Modes:
    """The protocol of Lin et al., 2018 (PacGAN), arXiv:1712.04086, section 4.1, which draws 2,500 samples.

    samples [n, dim], or [n, dim, 1, 1] as a generator of points gives them; centres [k, dim]; `sigma`: the standard deviation
    of every mode. A sample is good (the paper: of high quality) within 3 sigma of the nearest centre; a mode is found where it
    is the nearest of at least one good sample. The reverse KL is `sum_k p_k log(p_k K)`, where p are the shares of all
    samples, good or not, by their nearest centre: 0 where all modes get equally many, log K where one gets all. (The
    authors' released code counts good samples only.) A sample that is not finite is not good and in no mode's share."""
    x = samples.detach().flatten(1).to("cpu", torch.float64)
    centres = centres.detach().to("cpu", torch.float64)
    if x.ndim != 2 or not len(x) or centres.ndim != 2 or x.shape[1] != centres.shape[1]:
        raise UserError(
            f"samples [n, dim] and centres [k, dim] of one dimension are needed; got {list(samples.shape)} and "
            f"{list(centres.shape)}"
        )
    if sigma <= 0:
        raise UserError(f"the deviation of a mode must be above 0; got {sigma}")
    finite = x.isfinite().all(1)
    distance, mode = torch.cdist(x[finite], centres).min(1)
    counts = torch.bincount(mode[distance < REACH * sigma], minlength=len(centres))
    shares = torch.bincount(mode, minlength=len(centres)) / max(len(mode), 1)
    return Modes(
        found=int((counts > 0).sum()),
        total=len(centres),
        good=float(counts.sum()) / len(x),
        reverse_kl=_against_uniform(shares) if len(mode) else math.inf,
        counts=tuple(counts.tolist()),
    )


def _against_uniform(p: Tensor) -> float:
    """KL(p || uniform) in nats."""
    p = p.double()
    return max(float(torch.special.xlogy(p, p * len(p)).sum()), 0.0)
