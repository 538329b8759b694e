"""PacGAN, section 4.1: a discriminator of several samples at once finds more modes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ganvas.claims.claim import claim
from ganvas.claims.kit import mixture
from ganvas.claims.kit.packing import Packed
from ganvas.claims.kit.training import Comparison, Figures, flat
from ganvas.core import Run
from ganvas.methods import GAN

PACKED = {"packed2": 2, "packed4": 4}


def run(pack: int) -> Run:
    """The loss of 2014 with `pack` samples at once."""
    D = partial(Packed, mixture.D, pack) if pack > 1 else mixture.D
    return mixture.run(partial(GAN, G=mixture.G, D=D), steps=15_000)


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The scores, and the modes gained by packing."""
    gained = {f"{arm}_gains": arms[arm]["modes"] - arms["gan"]["modes"] for arm in PACKED}
    return flat(arms) | gained


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"gan": run(1)} | {arm: run(pack) for arm, pack in PACKED.items()},
        controls=["gan"],
        measure=mixture.measure,
        figures=figures,
        series=mixture.series,
    ),
    plot=mixture.plot({"gan": "not packed", "packed2": "2 packed", "packed4": "4 packed"}),
)
