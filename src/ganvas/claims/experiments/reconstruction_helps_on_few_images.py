"""FastGAN, section 3.2: a discriminator that reconstructs overfits later."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import numpy as np
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import overfitting, plots
from ganvas.claims.kit.letters import split
from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run
from ganvas.core.schedules import HalfLife
from ganvas.data import Feed
from ganvas.engine.engine import Engine
from ganvas.methods import FastGAN
from ganvas.nets import fastgan

FEW = 200  # images that are trained on
READINGS = 16
LAST = 3  # readings whose mean is the end of a run
COUNT = 200  # images of a comparison of scores


@cache
def letters() -> tuple[Feed, Feed]:
    """(200 of the shipped letters, all others)."""
    return split(32, FEW)


def data() -> Feed:
    """The part of the letters that is trained on."""
    return letters()[0]


@cache
def quality() -> Quality:
    """Distance from letters that no run was trained on."""
    return Quality(letters()[1])


def read(engine: Engine, logged: Mapping[str, list[float]]) -> Figures:
    """Distance, and how far D overfits."""
    return overfitting.read(engine, letters(), quality(), COUNT)


def measure(trained: Trained) -> Figures:
    """Means over the last readings."""
    return {
        name: float(np.mean(trained.curve(name)[-LAST:])) for name in ("frechet", "overfitting")
    }


def figures(arms: Mapping[str, Figures]) -> Figures:
    """The distance without reconstruction over that with it."""
    return {
        **flat(arms),
        "gain": arms["plain"]["frechet"] / arms["reconstructs"]["frechet"],
        "overfits_less": arms["plain"]["overfitting"] - arms["reconstructs"]["overfitting"],
    }


def run(reconstruction_weight: float) -> Run:
    """`fastgan_small` at 32 px and half of its width, without augmentation."""
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            FastGAN,
            G=partial(fastgan.Generator, width=8, latent=64),
            D=partial(fastgan.Discriminator, width=8, decoder_width=8),
            reconstruction_weight=reconstruction_weight,
        ),
        data=data,
        optim={"D": adam, "G": adam},
        batch=8,
        images=40_000,
        ema=HalfLife(images=2_000),
    )


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"reconstructs": run(1.0), "plain": run(0.0)},
        controls=["plain"],
        measure=measure,
        figures=figures,
        series=overfitting.series,
        readings=READINGS,
        read=read,
    ),
    plot=plots.curves(
        {
            ("reconstructs", "frechet"): "D reconstructs",
            ("plain", "frechet"): "D only judges",
        },
        {
            ("reconstructs", "overfitting"): "D reconstructs",
            ("plain", "overfitting"): "D only judges",
        },
        labels=overfitting.LABELS,
    ),
)
