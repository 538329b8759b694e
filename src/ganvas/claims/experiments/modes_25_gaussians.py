"""25 Gaussians on a grid, under PacGAN's protocol: which methods find all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch.optim import Adam

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.core import Run, Samples, rng
from ganvas.core.schedules import LinearDecay
from ganvas.data import toy
from ganvas.engine.engine import Engine
from ganvas.methods import GAN, WGANGP
from ganvas.metrics.mode_coverage import SAMPLES, score_modes
from ganvas.nets import toy_points

POINTS = 300_000  # real ones drawn by each method, in batches of 100

# He's initialisation: from N(0, .02) and without batch norm all samples start at one point.
G = partial(toy_points.Generator, width=128, layers=3, norm=False, std=None)
# The paper's have 400 and 200 units, of 5 pieces.
D = partial(toy_points.Discriminator, units=128, pieces=2, std=None)


def _run(method: Any, lr: Mapping[str, float]) -> Run:
    return Run(
        method=partial(method, G=G, D=D),
        data=partial(toy.gaussian_grid_feed),
        optim={player: partial(Adam, lr=rate, betas=(0.5, 0.9)) for player, rate in lr.items()},
        batch=100,
        images=POINTS,
        lr=LinearDecay(start=POINTS // 2, end=POINTS),
    )


METHODS = {  # figures' prefix -> run; a further method is a line
    "gan": _run(GAN, {"G": 1e-3, "D": 1e-3}),
    "wgan_gp": _run(partial(WGANGP, g_batch=1, gp_weight=0.1), {"G": 2e-3, "D": 3e-3}),
}


def experiment(seed: int) -> Finding:
    figures, series = played(METHODS, seed)
    figures["wgan_gp_more_modes"] = figures["wgan_gp_modes"] - figures["gan_modes"]
    figures["wgan_gp_lower_kl"] = figures["gan_reverse_kl"] - figures["wgan_gp_reverse_kl"]
    return Finding(figures, series)


def played(methods: Mapping[str, Run], seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Every run trained from the seed: its figures by its prefix, and 500 of its samples."""
    figures: dict[str, float] = {}
    series: dict[str, Any] = {}
    for name, run in methods.items():
        samples = _trained(replace(run, seed=seed))
        modes = score_modes(samples, toy.gaussian_grid(), toy.GRID_SIGMA)
        figures |= {
            f"{name}_modes": modes.found,
            f"{name}_good": modes.good,
            f"{name}_reverse_kl": modes.reverse_kl,
        }
        figures[f"{name}_deviation"] = float(samples.flatten(1).std(0).mean())
        series[name] = [[round(v, 3) for v in point] for point in samples.flatten(1)[:500].tolist()]
    return figures, series


def _trained(run: Run) -> torch.Tensor:
    """2,500 samples [n, 2, 1, 1] of the trained generator."""
    engine = Engine(run, run.data())
    while engine.clock.images < run.images:
        engine.step()
    model: Any = engine.model()
    assert isinstance(model, Samples)
    torch.manual_seed(rng.fold_in(run.seed, "samples"))
    with torch.no_grad():
        return model.sample(SAMPLES)


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    """500 samples of each method for the first seed, over the centres; all seeds' counts in the titles."""
    centres = toy.gaussian_grid()
    methods = seeds[0]["series"]
    for axes, name in zip(figure.subplots(1, len(methods), squeeze=False)[0], methods, strict=True):
        x, y = zip(*methods[name], strict=True)
        axes.plot(centres[:, 0], centres[:, 1], "o", color="0.8", markersize=14)
        axes.plot(x, y, ".", markersize=3)
        found, good = (
            [s["figures"][f"{name}_{what}"] for s in seeds] for what in ("modes", "good")
        )
        axes.set(xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
        axes.set_title(
            f"{name}: {fmean(found):.1f} of 25 modes, {fmean(good):.1%} good\n(means of {len(seeds)} seeds)"
        )


CLAIM = Claim(
    name="modes-25-gaussians",
    paper="Lin, Khetan, Fanti and Oh, 2018, PacGAN, arXiv:1712.04086; Gulrajani et al., 2017, arXiv:1704.00028",
    section="section 4.1 and table 1; of the latter section 4 and figure 2",
    sentence="Trained on 25 Gaussians, the GAN of 2014 leaves modes out; with a Wasserstein critic under a gradient penalty "
    "the generator finds them.",
    experiment=experiment,
    experiment_in_words="PacGAN's 2D-grid: 25 Gaussians of deviation 0.05 on {-4, -2, 0, 2, 4}^2, 2,500 samples, good within "
    "3 deviations of a centre, a mode found by one good sample. GAN and WGAN-GP (5 critic steps, a penalty of 0.1 as for "
    "points in its authors' code) with the same networks (generator 3 x 128, ReLU; discriminator 3 x 128 maxout of 2; He's "
    "initialisation), each on "
    "300,000 real points in batches of 100: 3,000 and 600 generator steps, the rate falling to 0 over the second half. The "
    "paper's run is 130 times as long (40 million points) on larger networks with batch norm. A caution: noise spread evenly "
    "over the square finds 23 modes with 2.6% good samples and a reverse KL near 0, so a count of modes means little where "
    "few samples are good. Tried while the sizes were chosen, with a seed that is not among those reported, and with as much "
    "compute each: a penalty of 10 (the critic hardly moves), 1, 2 and 5 critic steps, averaged weights, batch norm, wider "
    "networks; GAN ended with 15 to 17 modes and 4% to 15% good samples, WGAN-GP with 16 to 24 modes and 2% to 6%. All this, "
    "and a first record of 10 seeds, was with weights from N(0, .02): 3 of the 20 generators then gave a single point from "
    "start to end, which lay in the middle Gaussian and counted as one mode with 100% good samples. That record was "
    "withdrawn, the initialisation changed and the figures gan_deviation and wgan_gp_deviation added; no bound was moved.",
    figures_in_words={
        f"{name}_deviation": f"standard deviation of the samples of {name}, the mean of both coordinates (of the data 2.83): "
        "near 0, the generator has collapsed to a point"
        for name in METHODS
    }
    | {
        "wgan_gp_more_modes": "modes that wgan_gp finds beyond those that gan finds, of 25",
        "wgan_gp_lower_kl": "reverse KL divergence of gan less that of wgan_gp",
        "wgan_gp_good": "share of good samples of wgan_gp",
    },
    checks=(
        Check(
            "wgan_gp_more_modes",
            ">",
            0.0,
            "the claim is that it finds more; the mean, for GAN's count varies by several from seed to seed",
            over="mean",
        ),
        Check(
            "wgan_gp_lower_kl",
            ">",
            0.0,
            "more modes of which one gets most samples would be no cure; the mean, as above",
            over="mean",
        ),
        Check(
            "wgan_gp_good",
            ">=",
            0.5,
            "every method of the paper's table has nine good samples in ten; with fewer than half, modes may be found by "
            "chance. Set knowing that no run tried at this size came near",
            over="mean",
        ),
    ),
    paper_figures={
        "GAN": "17.3 ± 0.8 modes, 94.8 ± 0.7% good, reverse KL 0.70 ± 0.07",
        "ALI": "24.1 ± 0.4 modes, 95.7 ± 0.6% good, reverse KL 0.14 ± 0.03",
        "PacGAN2": "23.8 ± 0.7 modes, 91.3 ± 0.8% good, reverse KL 0.13 ± 0.04",
        "PacGAN3": "24.6 ± 0.4 modes, 94.2 ± 0.4% good, reverse KL 0.06 ± 0.02",
        "PacGAN4": "24.8 ± 0.2 modes, 93.6 ± 0.6% good, reverse KL 0.04 ± 0.01",
        "protocol": "mean ± standard error of 10 trials; WGAN-GP is not in that table",
    },
    plot=plot,
    seeds=10,
    minutes=17,
)
