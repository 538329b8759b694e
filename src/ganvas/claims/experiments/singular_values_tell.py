"""BigGAN, section 4.1 and appendix F: singular values of G show a collapse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.cifar import cifar
from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run
from ganvas.data import Feed
from ganvas.engine.engine import Engine
from ganvas.methods import BigGAN
from ganvas.nets import biggan
from ganvas.nets.spectral import singular_values

READINGS = 40
COLLAPSED = 2.0  # distance at the end over the least one
FEW = 10  # one image in so many


@cache
def tenth() -> Feed:
    """A tenth of CIFAR-10, the same for every seed."""
    whole = cifar()
    raw = whole.raw()
    chosen = np.random.default_rng(0).permutation(len(raw["x"]))[: len(raw["x"]) // FEW]
    info = replace(whole.info, count=len(chosen))
    return Feed(info, {"x": raw["x"][chosen]}, raw["y"][chosen])


@cache
def quality() -> Quality:
    """Distance from all of CIFAR-10."""
    return Quality(cifar())


def run(data: Callable[[], Feed]) -> Run:
    """`biggan_cifar` for 100,000 updates of G at constant rates, four of D for each."""
    adam = partial(Adam, lr=2e-4, betas=(0.0, 0.999), eps=1e-8)
    network: dict[str, Any] = {"width": 64, "attention": [], "init": "normal"}
    return Run(
        method=partial(
            BigGAN,
            G=partial(biggan.Generator, latent=128, shared=0, split=False, **network),
            D=partial(biggan.Discriminator, **network),
            n_critic=4,
            ortho_weight=0.0,
            standing=0,
            sigma_every=0,
        ),
        data=data,
        optim={"G": adam, "D": adam},
        batch=50,
        images=100_000 * 4 * 50,
    )


def read(engine: Engine, logged: Mapping[str, list[float]]) -> Figures:
    """The distance, and the largest singular value of each layer of G, unnormalized."""
    sigmas = singular_values(engine.method.get_submodule("G"), 1)
    return {"frechet": quality()(engine.model()), **{k: float(v) for k, v in sigmas.items()}}


def measure(trained: Trained) -> Figures:
    """How far the run has fallen from its best, and the singular values at its end."""
    last = trained.readings[-1]
    sigmas = {k: v for k, v in last.items() if k.startswith("sigma0/")}
    return {"collapse": collapse(trained.curve("frechet")), **sigmas}


def collapse(frechet: Sequence[float]) -> float:
    """Distance at the end (median of the last three readings) over the least one."""
    return float(np.median(frechet[-3:]) / min(frechet))


def figures(arms: Mapping[str, Figures]) -> Figures:
    """Singular values of the collapsed run over those of the other at the same step.

    growth: of the layer in which it is largest; 0 if nothing collapsed
    """
    few, every = arms["few"], arms["every"]
    ratios = {k: few[k] / every[k] for k in few if k.startswith("sigma0/")}
    return {
        "growth": max(ratios.values()) if few["collapse"] >= COLLAPSED else 0.0,
        "first_layer": ratios["sigma0/input"],
        "collapse": few["collapse"],
        "calm": every["collapse"],
    }


def series(trained: Trained) -> dict[str, object]:
    """Distance, singular value of the first layer, and the largest, by reading."""
    names = [k for k in trained.readings[0] if k.startswith("sigma0/")]
    return {
        "images": trained.curve("images"),
        "frechet": trained.curve("frechet"),
        "first": trained.curve("sigma0/input"),
        "largest": [max(r[k] for k in names) for r in trained.readings],
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"few": run(tenth), "every": run(cifar)},
        controls=["every"],
        measure=measure,
        figures=figures,
        series=series,
        readings=READINGS,
        read=read,
        device="cuda",
    ),
    plot=plots.curves(
        {("few", "frechet"): "a tenth of the data", ("every", "frechet"): "all data"},
        {
            ("few", "largest"): "a tenth, largest of G's layers",
            ("every", "largest"): "all data, largest",
            ("few", "first"): "a tenth, first layer",
            ("every", "first"): "all data, first layer",
        },
        labels=("Fréchet distance", "sigma0"),
        log=True,
    ),
    ready=cifar,
)
