"""Conditional GANs, section 4.1: a sample shows the class that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.classes import (
    confusion,
    digits_seen,
    judge_of_digits,
    samples_of_classes,
    spread,
)
from ganvas.claims.kit.training import Comparison, Trained
from ganvas.core import Batch, Method, Run
from ganvas.data import images
from ganvas.methods import CGAN, DCGAN
from ganvas.nets import dcgan as nets

EACH = 100  # samples of each class
NAMES = (*map(str, range(10)), "none")


def run(method: Callable[..., Method]) -> Run:
    """`cgan_dcgan` at half its side and half its width."""
    return Run(
        method=partial(
            method, G=partial(nets.Generator, width=16), D=partial(nets.Discriminator, width=16)
        ),
        data=partial(images, "digits", size=16),
        optim={p: partial(Adam, lr=2e-4, betas=(0.5, 0.999)) for p in "GD"},
        batch=64,
        images=150_000,
    )


@cache
def real() -> Batch:
    """The real digits."""
    feed = images("digits", size=16)
    return feed.fixed(feed.info.count)


def judged(trained: Trained) -> tuple[Tensor, Tensor, Tensor]:
    """(labels asked for, labels seen, samples)."""
    asked, x = samples_of_classes(trained, EACH)
    return asked, digits_seen(x, trained.seed), x


def measure(trained: Trained) -> dict[str, float]:
    """The shares of samples that are as asked, of real digits, and the variety."""
    asked, said, x = judged(trained)
    return {
        "asked_is_drawn": float((said == asked).float().mean()),
        "judge_accuracy": judge_of_digits(trained.seed).accuracy,
        "variety": spread(x, asked) / spread(real().x, real().y),
    }


def series(trained: Trained) -> dict[str, object]:
    """What the judge saw of what was asked for."""
    asked, said, _ = judged(trained)
    return {"confusion": confusion(asked, said, len(NAMES))}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"told": run(CGAN), "not_told": run(DCGAN)},
        controls=["not_told"],
        measure=measure,
        chance={"asked_is_drawn": 0.1},
        figures=lambda arms: {**arms["told"], "not_told": arms["not_told"]["asked_is_drawn"]},
        series=series,
    ),
    plot=plots.matrix("told.confusion", ("asked for", "seen by the judge"), NAMES),
)
