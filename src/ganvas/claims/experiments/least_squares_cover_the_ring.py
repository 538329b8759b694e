"""LSGAN: least squares cover a ring on which the loss of 2014 collapses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from matplotlib.figure import Figure

from ganvas.claims.claim import Seeds, claim
from ganvas.claims.kit import mixture
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Method, Run, Shape
from ganvas.data import toy
from ganvas.methods import GAN, LSGAN
from ganvas.metrics.mode_coverage import score_modes

RATES = (3e-4, 1e-3, 3e-3)  # of both arms; the best counts
NETWORKS = {"G": mixture.G, "D": mixture.D}
TITLES = {"lsgan": "least squares", "gan": "loss of 2014"}


def run(method: Callable[[Shape], Method], lr: float) -> Run:
    """10,000 steps on the ring of 8 Gaussians."""
    return replace(mixture.run(method, lr), data=partial(toy.gaussian_ring_feed))


def measure(trained: Trained) -> Figures:
    """Modes found of 8, share of good samples, reverse KL in nats."""
    modes = score_modes(mixture.samples(trained), toy.gaussian_ring(), toy.RING_SIGMA)
    return {"modes": modes.found, "good": modes.good, "reverse_kl": modes.reverse_kl}


def figures(arms: Mapping[str, Figures]) -> Figures:
    """All measures, and the modes that least squares find beyond the loss of 2014."""
    return {**flat(arms), "more_modes": arms["lsgan"]["modes"] - arms["gan"]["modes"]}


def plot(figure: Figure, seeds: Seeds) -> None:
    """Samples of the arms with the first seed, over the modes."""
    panels = figure.subplots(1, len(TITLES))
    for axes, (arm, title) in zip(panels, TITLES.items(), strict=True):
        axes.plot(*toy.gaussian_ring().T, "o", color="0.85", markersize=14)
        axes.plot(*zip(*seeds[0]["series"][arm]["points"], strict=True), ".", markersize=3)
        modes = ", ".join(f"{s['figures'][f'{arm}_modes']:.0f}" for s in seeds)
        axes.set(
            xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal", title=f"{title}: {modes} modes"
        )


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "lsgan": [run(partial(LSGAN, **NETWORKS), lr) for lr in RATES],
            "gan": [run(partial(GAN, **NETWORKS), lr) for lr in RATES],
        },
        controls=["gan"],
        measure=measure,
        figures=figures,
        series=mixture.series,
        rank=lambda figures: -figures["modes"],
    ),
    plot=plot,
)
