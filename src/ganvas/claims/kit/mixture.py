"""Runs on the 25 Gaussians of PacGAN, and the modes that their samples cover."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from matplotlib.figure import Figure
from torch.optim import Adam

from ganvas.claims.claim import Seeds
from ganvas.claims.kit.plots import Plot
from ganvas.claims.kit.training import Trained
from ganvas.core import Method, Run, Shape, rng
from ganvas.core.schedules import LinearDecay
from ganvas.data import toy
from ganvas.metrics.mode_coverage import SAMPLES, score_modes
from ganvas.nets import toy_points

BATCH = 256
# Points spread evenly over the square of the modes, which know nothing of them.
CHANCE = {"modes": 23.0, "good": 0.026, "reverse_kl": 0.0}
# He's initialization: from N(0, .02) without batch norm all samples start at one point.
G = partial(toy_points.Generator, width=128, layers=3, norm=False, std=None)
D = partial(toy_points.Discriminator, units=128, pieces=2, std=None)


def run(
    method: Callable[[Shape], Method],
    lr: float = 1e-3,
    *,
    steps: int = 10_000,
    draws: int = 1,
    betas: tuple[float, float] = (0.5, 0.9),
) -> Run:
    """A run with a rate that falls to 0 over the second half.

    steps: updates of the generator
    draws: batches of real points in each step
    """
    images = steps * BATCH * draws
    return Run(
        method=method,
        data=partial(toy.gaussian_grid_feed),
        optim={p: partial(Adam, lr=lr, betas=betas) for p in "GD"},
        batch=BATCH,
        images=images,
        lr=LinearDecay(start=images // 2, end=images),
    )


@torch.no_grad()
def samples(trained: Trained) -> torch.Tensor:
    """The 2,500 samples of PacGAN's protocol, [n, 2]."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        return trained.model.sample(SAMPLES).flatten(1)


def measure(trained: Trained) -> dict[str, float]:
    """Modes found of 25, share of good samples, reverse KL in nats."""
    modes = score_modes(samples(trained), toy.gaussian_grid(), toy.GRID_SIGMA)
    return {"modes": modes.found, "good": modes.good, "reverse_kl": modes.reverse_kl}


def series(trained: Trained) -> dict[str, object]:
    """500 of the samples."""
    return {"points": samples(trained)[:500]}


def plot(arms: dict[str, str]) -> Plot:
    """Samples of arms {name: title} with the first seed, over the modes."""

    def draw(figure: Figure, seeds: Seeds) -> None:
        centers = toy.gaussian_grid()
        panels = figure.subplots(1, len(arms), squeeze=False)[0]
        for axes, (arm, title) in zip(panels, arms.items(), strict=True):
            axes.plot(*centers.T, "o", color="0.85", markersize=14)
            axes.plot(*zip(*seeds[0]["series"][arm]["points"], strict=True), ".", markersize=3)
            modes = ", ".join(f"{s['figures'][f'{arm}_modes']:.0f}" for s in seeds)
            axes.set(xlim=(-5, 5), ylim=(-5, 5), aspect="equal", title=f"{title}: {modes} modes")

    return draw
