"""WGAN-GP, section 4: the penalized critic's generator finds all of 25 Gaussians."""

from __future__ import annotations

from functools import partial

from ganvas.claims.claim import claim
from ganvas.claims.kit import mixture
from ganvas.claims.kit.training import Comparison
from ganvas.methods import GAN, WGANGP

STEPS = 6_000  # updates of the generator
# lambda .1: the authors' code for points.
WGAN_GP = partial(WGANGP, G=mixture.G, D=mixture.D, g_batch=1, gp_weight=0.1)

CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "wgan_gp": mixture.run(WGAN_GP, steps=STEPS, draws=5),
            "gan": [
                mixture.run(partial(GAN, G=mixture.G, D=mixture.D), lr, steps=STEPS)
                for lr in (3e-4, 1e-3, 3e-3)
            ],
        },
        controls=["gan"],
        measure=mixture.measure,
        chance=mixture.CHANCE,
        series=mixture.series,
        rank=lambda figures: -figures["modes"],
    ),
    plot=mixture.plot({"wgan_gp": "WGAN-GP", "gan": "loss of 2014"}),
)
