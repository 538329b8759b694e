"""StyleGAN2, section 3.2: the penalty makes paths shorter at the same distance."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.letters import quality, stylegan2_of_letters
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import rng
from ganvas.metrics.ppl import path_length
from ganvas.objectives.penalties import path_lengths

PATHS = 2_000
EPS = 1e-2  # of a path: single precision still tells its ends apart
COUNT = 512  # Jacobians
ALIKE = 1.15  # largest ratio of distances at which path lengths are compared


def measure(trained: Trained) -> Figures:
    """Path length, mean and spread of the Jacobian's, and distance.

    length: perceptual path length in w with squared differences of pixels
    uneven: standard deviation of |J_w^T y| over its mean, what the penalty is about
    """
    path = path_length(
        trained.model,
        squared_difference,
        PATHS,
        space="w",
        eps=EPS,
        batch=200,
        seed=trained.seed,
    )
    lengths = jacobian_lengths(trained)
    return {
        "length": path.value,
        "uneven": float(lengths.std() / lengths.mean()),
        "frechet": quality()(trained.model),
    }


def squared_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean over pixels, [N]: like LPIPS a squared length, and it needs no weights."""
    return (a.double() - b.double()).square().mean((1, 2, 3))


def jacobian_lengths(trained: Trained) -> Tensor:
    """|J_w^T y| of random styles, [N]."""
    model = trained.model
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "jacobians"))
        w = model.styles(model.latent(COUNT)).detach().requires_grad_()
        return path_lengths(model.synthesize, w).detach()


def figures(arms: Mapping[str, Figures]) -> Figures:
    """Lengths without the penalty over those with it; 0 if the distance is larger."""
    on, off = arms["penalized"], arms["plain"]
    alike = on["frechet"] <= ALIKE * off["frechet"]
    return {
        "shorter": off["length"] / on["length"] if alike else 0.0,
        "evener": off["uneven"] / on["uneven"] if alike else 0.0,
        "alike": on["frechet"] / off["frechet"],
        **{f"{arm}_{k}": v for arm, found in arms.items() for k, v in found.items()},
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "penalized": stylegan2_of_letters(100_000, pl_weight=2.0),
            "plain": stylegan2_of_letters(100_000, pl_weight=0.0),
        },
        controls=["plain"],
        measure=measure,
        figures=figures,
    ),
    plot=plots.bars(
        {"penalized_length": "penalized", "plain_length": "plain"},
        {"penalized_uneven": "penalized", "plain_uneven": "plain"},
        {"penalized_frechet": "penalized", "plain_frechet": "plain"},
        labels=("path length in w", "deviation of |J y| / mean", "Fréchet distance"),
    ),
)
