"""Wasserstein GAN, section 4.2: the critic's loss tells how good the samples are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache, partial
from statistics import median
from typing import cast

import torch
from matplotlib.figure import Figure
from torch.optim import Adam

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.claims.kit.quality import Quality, rank_correlation
from ganvas.claims.kit.training import train
from ganvas.core import Run, Samples
from ganvas.data import images
from ganvas.engine.engine import Engine
from ganvas.methods import DCGAN, WGANGP
from ganvas.nets import dcgan as nets

READINGS = 25  # of each run, evenly spaced
COUNT = 1024  # images of each kind for the estimate without training
WARM_UP = 3  # not judged: the critic starts from nothing and its estimate rises
DIGITS = partial(images, "digits", size=16)
GENERATORS: Mapping[str, Mapping[str, float]] = {
    "standard": {"width": 16},
    "narrow": {"width": 2},
    "no batch norm": {"width": 16, "norm": False},
    "one latent": {"width": 16, "latent": 1},
}


def wgan(generator: Mapping[str, float]) -> Run:
    """300 generator steps of 5 critic batches; the critic has no batch norm."""
    return Run(
        method=partial(
            WGANGP,
            G=partial(nets.Generator, **{"latent": 32, **generator}),
            D=partial(nets.Discriminator, width=16, norm=False),
            g_batch=1,
        ),
        data=DIGITS,
        optim={p: partial(Adam, lr=lr, betas=(0.5, 0.9)) for p, lr in (("G", 2e-4), ("D", 1e-3))},
        batch=64,
        images=300 * 5 * 64,
    )


# The paper's control: DCGAN with its discriminator, which has batch norm.
GAN = Run(
    method=partial(
        DCGAN,
        G=partial(nets.Generator, latent=32, width=16),
        D=partial(nets.Discriminator, width=16),
    ),
    data=DIGITS,
    optim={p: partial(Adam, lr=2e-4, betas=(0.5, 0.999)) for p in "GD"},
    batch=64,
    images=1000 * 64,
)


@cache
def quality() -> Quality:
    """The distance to the real digits."""
    return Quality(DIGITS())


def read(engine: Engine, logged: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The estimate and the distance of the samples.

    The estimate is the median over the steps since the last reading, as in the paper.
    """
    jsd = math.log(2) - median(logged["D/loss"]) / 2  # a lower bound
    w = median(logged.get("D/wasserstein", [jsd]))
    return {"estimate": w, "frechet": quality()(engine.model())}


def curves(run: Run, seed: int, name: str) -> dict[str, list[float]]:
    """The readings of a run after the warm-up, a list for each figure.

    `untrained` is the estimate of the critic's initial weights, on 1,024 images of each
    kind.
    """
    initial = train(run, seed, steps=False)
    D, real = cast(DCGAN | WGANGP, initial.model).D, initial.feed.fixed(COUNT).x

    @torch.no_grad()
    def both(engine: Engine, logged: Mapping[str, Sequence[float]]) -> dict[str, float]:
        fake = cast(Samples, engine.model()).sample(COUNT)
        untrained = float(D(real).mean() - D(fake).mean())
        return {**read(engine, logged), "untrained": untrained}

    readings = train(run, seed, name=name, readings=READINGS, read=both).readings[WARM_UP:]
    return {key: [r[key] for r in readings] for key in readings[0]}


def spearman(found: Mapping[str, Sequence[float]]) -> float:
    """Rank correlation of the estimate with the distance."""
    return rank_correlation(found["estimate"], found["frechet"])


def experiment(seed: int) -> Finding:
    """Correlate estimates with distances over the readings of all generators."""
    runs = {name: curves(wgan(g), seed, name) for name, g in GENERATORS.items()}
    control = curves(GAN, seed, "gan")
    pooled = {key: [v for run in runs.values() for v in run[key]] for key in control}
    figures = {
        "wasserstein_spearman": spearman(pooled),
        "one_run_spearman": spearman(runs["standard"]),
        "jensen_shannon_spearman": spearman(control),
        "jensen_shannon_gain": control["frechet"][0] / control["frechet"][-1],
    }
    nulls = {
        "untrained": rank_correlation(pooled["untrained"], pooled["frechet"]),
        "elapsed time": rank_correlation([-n for n in pooled["images"]], pooled["frechet"]),
        "the loss of 2014": figures["jensen_shannon_spearman"],
    }
    return Finding(
        figures,
        {**runs, "gan": control},
        {name: {**figures, "wasserstein_spearman": value} for name, value in nulls.items()},
    )


def plot(figure: Figure, seeds: Seeds) -> None:
    """Distance against estimate: all generators of WGAN-GP, and the loss of 2014."""
    left, right = figure.subplots(1, 2)
    for s in seeds:
        for i, name in enumerate(GENERATORS):
            found, label = s["series"][name], name if s is seeds[0] else None
            left.loglog(found["estimate"], found["frechet"], f".C{i}", label=label)
        right.semilogy(s["series"]["gan"]["estimate"], s["series"]["gan"]["frechet"], ".-")
    left.set(xlabel="critic's estimate of W", ylabel="Fréchet distance", title="WGAN-GP")
    right.set(xlabel="D's estimate of the JSD", title="the loss of 2014")
    left.legend(fontsize="small")


CLAIM = claim(__name__, experiment=experiment, plot=plot)
