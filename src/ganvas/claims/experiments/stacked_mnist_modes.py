"""PacGAN, section 4.2: packing finds more of stacked MNIST's 1,000 modes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

import torch
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.data import place
from ganvas.claims.kit.packing import Packed
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run, rng
from ganvas.data import Feed, images
from ganvas.methods import DCGAN
from ganvas.metrics.features import extractor
from ganvas.metrics.mode_coverage import STACKED_SAMPLES, score_stacked_mnist, stacked_mnist
from ganvas.nets import dcgan

SIDE, TRIPLETS, PART = 32, 128_000, 500


@cache
def stacked() -> Feed:
    """Three random digits in the colors of an image, 128,000 images."""
    digits = images(place("mnist"), size=SIDE)
    raw = digits.raw()
    pixels, labels = torch.from_numpy(raw["x"][..., 0]), torch.from_numpy(raw["y"])
    x, _ = stacked_mnist(pixels, labels, TRIPLETS, rng.fold_in("triplets"))
    info = replace(digits.info, source="stacked MNIST", channels=3, count=TRIPLETS, classes=())
    return Feed(info, {"x": x.permute(0, 2, 3, 1).contiguous().numpy()})


def run(pack: int) -> Run:
    """A generator of 32-16-8 channels, a discriminator of an eighth of its width."""
    D = partial(dcgan.Discriminator, width=1)
    return Run(
        method=partial(
            DCGAN,
            G=partial(dcgan.Generator, width=8),
            D=partial(Packed, D, pack) if pack > 1 else D,
        ),
        data=stacked,
        optim={p: partial(Adam, lr=2e-4, betas=(0.5, 0.999)) for p in "GD"},
        batch=64,
        images=8_000 * 64,
    )


@torch.no_grad()
def measure(trained: Trained) -> dict[str, float]:
    """Modes found of 1,000 by 26,000 samples, and their reverse KL in nats."""
    judge = extractor("lenet-mnist")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        parts = (trained.model.sample(PART) for _ in range(STACKED_SAMPLES // PART))
        found = score_stacked_mnist(parts, lambda x: judge.with_logits(x)[1])
    return {"modes": found.found, "reverse_kl": found.reverse_kl}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The scores, and the modes gained by packing."""
    gained = arms["packed"]["modes"] - arms["single"]["modes"]
    return flat(arms) | {"packing_gains": gained}


def series(trained: Trained) -> dict[str, object]:
    """A row of samples."""
    return {"samples": plots.pixels(trained.model.sample(12))}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"single": run(1), "packed": run(2)},
        controls=["single"],
        measure=measure,
        figures=figures,
        series=series,
    ),
    plot=plots.pictures(
        {
            "one sample at once, modes": lambda s: s["single"]["samples"],
            "two samples at once, modes": lambda s: s["packed"]["samples"],
        },
        {
            "one sample at once, modes": "single_modes",
            "two samples at once, modes": "packed_modes",
        },
    ),
    ready=lambda: (stacked(), extractor("lenet-mnist")),
)
