"""GAN Dissection, section 4.3: without the units of artifacts, samples are better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from statistics import fmean

from ganvas.claims.claim import Finding, claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.scenes import RUN, as_model, scenes
from ganvas.claims.kit.training import train
from ganvas.core import rng
from ganvas.evaluation import artifacts, causal
from ganvas.inference.units import layers
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import extractor
from ganvas.metrics.suite import filled

REAL, SAMPLES = 4_000, 500  # images of a distance
RANDOM = 4  # orders of the units that are given the same choice

Ranked = Mapping[str, Sequence[int]]


@cache
def real() -> FeatureSet:
    """Features of real scenes."""
    x = scenes().fixed(REAL).x
    return filled(FeatureSet(extractor("random-conv-v1"), "real"), x.split(250))


def gain(found: artifacts.Artifacts) -> float:
    """The share of the distance that is gone without the units."""
    return 1 - found.after / found.before


def untrained_gain(seed: int) -> float:
    """`gain` by the units of a generator's initial weights."""
    model = as_model(train(RUN, seed, steps=False))
    worst = artifacts.by_activation(model, layers(model), real(), n=SAMPLES, seed=seed)
    return gain(artifacts.find(model, layers(model), real(), n=SAMPLES, seed=seed, ranked=worst))


def experiment(seed: int) -> Finding:
    """Choose layer and number of units by each ranking; judge on new samples."""
    model = as_model(train(RUN, seed))
    found = layers(model)
    worst = artifacts.by_activation(model, found, real(), n=SAMPLES, seed=seed)
    orders: dict[str, Ranked] = {
        "worst": worst,
        "best": {name: units[::-1] for name, units in worst.items()},
    }
    for i in range(RANDOM):
        orders[f"random_{i}"] = {
            layer.name: causal.random_orders(layer.units, rng.fold_in(seed, i), 1)[0]
            for layer in found
        }
    judged = {
        name: artifacts.find(model, found, real(), n=SAMPLES, seed=seed, ranked=order)
        for name, order in orders.items()
    }
    gains = {name: gain(result) for name, result in judged.items()}
    random = fmean(gains[f"random_{i}"] for i in range(RANDOM))
    others = fmean(gains[f"random_{i}"] for i in range(1, RANDOM))
    untrained = untrained_gain(seed)
    figures = {
        "gain": gains["worst"],
        "random_gain": random,
        "best_gain": gains["best"],
        "beyond_random": gains["worst"] - random,
        "before": judged["worst"].before,
        "after": judged["worst"].after,
        "units": float(len(judged["worst"].units)),
    }
    return Finding(
        figures,
        {"gains": gains},
        {
            "untrained": {"gain": untrained, "beyond_random": untrained - random},
            "random": {"gain": gains["random_0"], "beyond_random": gains["random_0"] - others},
            "best": {"gain": gains["best"], "beyond_random": gains["best"] - random},
        },
    )


CLAIM = claim(
    __name__,
    experiment=experiment,
    plot=plots.bars(
        {
            "gain": "active in the worst samples",
            "random_gain": "random units",
            "best_gain": "active in the best samples",
        },
        labels=["share of the distance gone"],
    ),
)
