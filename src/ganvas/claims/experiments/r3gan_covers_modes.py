"""R3GAN, section 2: relativistic pairs with two gradient penalties cover all modes."""

from __future__ import annotations

from functools import partial

from ganvas.claims.claim import claim
from ganvas.claims.kit import mixture
from ganvas.claims.kit.training import Comparison
from ganvas.core.schedules import Constant
from ganvas.methods import GAN, R3GAN

NETWORKS = {"G": mixture.G, "D": mixture.D}
BETAS = (0.0, 0.99)  # of Adam, as in the paper, for both arms

CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "r3gan": mixture.run(
                partial(R3GAN, gamma=Constant(0.1), **NETWORKS), draws=2, betas=BETAS
            ),
            "gan": [
                mixture.run(partial(GAN, **NETWORKS), lr, betas=BETAS) for lr in (3e-4, 1e-3, 3e-3)
            ],
        },
        controls=["gan"],
        measure=mixture.measure,
        chance=mixture.CHANCE,
        series=mixture.series,
        rank=lambda figures: -figures["modes"],
    ),
    plot=mixture.plot({"r3gan": "R3GAN", "gan": "loss of 2014"}),
)
