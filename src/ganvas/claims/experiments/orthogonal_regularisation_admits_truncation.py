"""BigGAN, section 3.1: orthogonally regularized, truncated samples do not saturate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.cifar import cifar, fid
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run, rng
from ganvas.core.schedules import PerStep
from ganvas.methods import BigGAN
from ganvas.nets import biggan

TRUNCATION = 0.1
SATURATED = 0.99  # of the largest possible pixel
SAMPLES = 1_000
LEARNED = 60.0  # largest FID of samples that counts; noise has several hundreds
ADAM = partial(Adam, lr=2e-4, betas=(0.0, 0.999), eps=1e-8)


def run(weight: float) -> Run:
    """`biggan_cifar` with hierarchical latents, as in the section."""
    network: dict[str, Any] = {"width": 64, "attention": [], "init": "orthogonal"}
    return Run(
        method=partial(
            BigGAN,
            G=partial(biggan.Generator, latent=120, shared=128, **network),
            D=partial(biggan.Discriminator, **network),
            n_critic=2,
            ortho_weight=weight,
            sigma_every=0,
        ),
        data=cifar,
        optim={"G": ADAM, "D": ADAM},
        batch=128,
        images=20_000 * 2 * 128,
        ema=PerStep(0.9999, start=1_000),
    )


@torch.no_grad()
def measure(trained: Trained) -> Figures:
    """How much larger the share of saturated pixels is if z is truncated.

    1, the largest possible, if the generator has not learned: noise does not saturate.
    """
    distance = fid()(trained.model)
    excess = saturation(trained, TRUNCATION) - saturation(trained, 2.0)
    return {"excess": excess if distance <= LEARNED else 1.0, "fid": distance}


def saturation(trained: Trained, truncation: float) -> float:
    """Share of the pixels of 1,000 samples that are as bright or dark as can be."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        z = trained.model.latent(SAMPLES)
        x = trained.model.truncated(z, truncation)
    return float((x.abs() > SATURATED).float().mean())


def figures(arms: Mapping[str, Figures]) -> Figures:
    """How much less truncated samples saturate with the regularization."""
    return {
        "less": arms["without"]["excess"] - arms["with"]["excess"],
        **{f"{arm}_{k}": v for arm, found in arms.items() for k, v in found.items()},
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"with": run(1e-4), "without": run(0.0)},
        controls=["without"],
        measure=measure,
        figures=figures,
        device="cuda",
    ),
    plot=plots.bars(
        {"with_excess": "regularized", "without_excess": "not"},
        {"with_fid": "regularized", "without_fid": "not"},
        labels=("saturated pixels, truncation 0.1 less 2", "FID, not truncated"),
    ),
    ready=fid,
)
