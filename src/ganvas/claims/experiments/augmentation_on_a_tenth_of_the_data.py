"""DiffAugment, section 4: augmentation improves samples of a tenth of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

import numpy as np
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import overfitting, plots
from ganvas.claims.kit.letters import split
from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run
from ganvas.core.schedules import HalfLife
from ganvas.data import Feed, images
from ganvas.engine.engine import Engine
from ganvas.methods import DCGAN
from ganvas.nets import dcgan
from ganvas.nets.augment import DiffAugment

READINGS = 20
LAST = 3  # readings whose mean is the end of a run
COUNT = 512  # images of a comparison of scores


@cache
def letters() -> tuple[Feed, Feed]:
    """(a tenth of the shipped letters, all others)."""
    return split(16, every().info.count // 10)


def few() -> Feed:
    """The part of the letters that is trained on."""
    return letters()[0]


def every() -> Feed:
    """All letters at 16 px."""
    return images("letters", size=16, labels=False)


@cache
def quality() -> Quality:
    """Distance from letters that no run on a tenth was trained on."""
    return Quality(letters()[1])


def read(engine: Engine, logged: Mapping[str, list[float]]) -> Figures:
    """Distance, and how far D overfits."""
    return overfitting.read(engine, letters(), quality(), COUNT)


def measure(trained: Trained) -> Figures:
    """Figures of a run from its readings."""
    return end(trained.curve("frechet"), trained.curve("overfitting"))


def end(frechet: list[float], overfitting: list[float]) -> Figures:
    """Means over the last readings, and the distance over the least mean of as many."""
    means = np.convolve(frechet, np.ones(LAST) / LAST, "valid")
    return {
        "frechet": float(means[-1]),
        "worse": float(means[-1] / means.min()),
        "overfitting": float(np.mean(overfitting[-LAST:])),
    }


def figures(arms: Mapping[str, Figures]) -> Figures:
    """The distance without augmentation over that with it."""
    return {
        "gain": arms["plain"]["frechet"] / arms["augmented"]["frechet"],
        "overfits_less": arms["plain"]["overfitting"] - arms["augmented"]["overfitting"],
        **{f"{arm}_{k}": v for arm, found in arms.items() for k, v in found.items()},
    }


PLAIN = Run(
    method=partial(
        DCGAN, G=partial(dcgan.Generator, width=16), D=partial(dcgan.Discriminator, width=16)
    ),
    data=few,
    optim={p: partial(Adam, lr=2e-4, betas=(0.5, 0.999)) for p in "GD"},
    batch=64,
    images=500_000,
    ema=HalfLife(images=5_000),
)

CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "augmented": replace(PLAIN, augment=DiffAugment),
            "plain": PLAIN,
            "all_data": replace(PLAIN, data=every),
        },
        controls=["plain"],
        measure=measure,
        figures=figures,
        series=overfitting.series,
        readings=READINGS,
        read=read,
    ),
    plot=plots.curves(
        {
            ("augmented", "frechet"): "a tenth, augmented",
            ("plain", "frechet"): "a tenth",
            ("all_data", "frechet"): "all data",
        },
        {
            ("augmented", "overfitting"): "a tenth, augmented",
            ("plain", "overfitting"): "a tenth",
        },
        labels=overfitting.LABELS,
    ),
)
