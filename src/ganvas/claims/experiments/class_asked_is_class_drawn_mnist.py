"""Conditional GANs, section 4.1, on the paper's own digits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.classes import confusion, samples_of_classes, spread
from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Comparison, Trained
from ganvas.core import Method, Run
from ganvas.data import Feed, images
from ganvas.data.pictures import Part
from ganvas.methods import CGAN, DCGAN
from ganvas.metrics.features import extractor
from ganvas.nets import dcgan as nets

EACH = 100  # samples of each class
REAL = 10_000  # images that the judge and the variety are compared with


@cache
def mnist(part: Part = "train") -> Feed:
    """MNIST at 32 px."""
    return images(place("mnist"), size=32, part=part)


def run(method: Callable[..., Method]) -> Run:
    """DCGAN's networks of width 16, with the paper's batches of 100."""
    return Run(
        method=partial(
            method, G=partial(nets.Generator, width=16), D=partial(nets.Discriminator, width=16)
        ),
        data=mnist,
        optim={p: partial(Adam, lr=2e-4, betas=(0.5, 0.999)) for p in "GD"},
        batch=100,
        images=800_000,
    )


def digits(x: Tensor) -> Tensor:
    """The digits [N] that the judge sees in images [N, 1, H, W]."""
    return extractor("lenet-mnist").with_logits(x)[1].argmax(1)


def measure(trained: Trained) -> dict[str, float]:
    """The shares of samples that are as asked, of real digits, and the variety."""
    asked, x = samples_of_classes(trained, EACH)
    real, test = mnist().fixed(REAL), mnist("test").fixed(REAL)
    return {
        "asked_is_drawn": float((digits(x) == asked).float().mean()),
        "judge_accuracy": float((digits(test.x) == test.y).float().mean()),
        "variety": spread(x, asked) / spread(real.x, real.y),
    }


def series(trained: Trained) -> dict[str, object]:
    """Counts of the digits seen, a row for each digit asked for."""
    asked, x = samples_of_classes(trained, EACH)
    return {"confusion": confusion(asked, digits(x), 10)}


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
    plot=plots.matrix("told.confusion", ("asked for", "seen by the judge"), "0123456789"),
    ready=lambda: (mnist(), extractor("lenet-mnist")),
)
