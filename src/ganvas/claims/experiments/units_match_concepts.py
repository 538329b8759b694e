"""GAN Dissection, section 4: units match concepts, and removing them removes these."""

from __future__ import annotations

from statistics import fmean
from typing import Literal

import torch
from torch import Tensor

from ganvas.claims.claim import Finding, claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.scenes import RUN, as_model
from ganvas.claims.kit.training import train
from ganvas.evaluation import causal
from ganvas.evaluation.dissection import Dissection, LayerUnits, dissect
from ganvas.inference.model import Model
from ganvas.metrics.concepts import rules

COLORS = rules(["red", "green", "blue"])
SAMPLES = 500  # that units are compared on
EDITED = 128  # samples that units are removed from, and inserted into
COUNTS = (0, 1, 2, 4, 8)  # units removed
MANY = 4  # units whose removal and insertion is judged
FIRST, MIDDLE = 0, 1  # layers: of 4x4 and of 8x8 places
LEAST = 0.005  # of the pixels, below which a color is not there

Kind = Literal["own", "other", "random"]


def removed(model: Model, of: LayerUnits, orders: list[list[int]], seed: int) -> Tensor:
    """The share of each color left without units [orders, counts, colors]."""
    left = causal.removal(model, of.layer, orders, COUNTS, COLORS, n=EDITED, seed=seed)
    return left / left[:, :1].clamp(min=1e-9)


def effect(model: Model, of: LayerUnits, color: int, order: list[int], seed: int) -> float:
    """How much of a place shows a color by the first units of an order, inserted."""
    units = order[:MANY]
    return causal.insertion(model, of, color, units, COLORS, n=EDITED, seed=seed).effect


def share_matched(of: LayerUnits) -> float:
    """The share of a layer's units that match a color beyond chance."""
    return float(of.beyond_chance().any(1).float().mean())


def swapped(of: LayerUnits) -> LayerUnits:
    """The units against the colors of other images, and these as their chance level."""
    return of._replace(found=of.chance, chance=of.found)


def measure(model: Model, found: Dissection, kind: Kind, seed: int) -> dict[str, float]:
    """The figures of a generator, with each color's own units or others in their place.

    kind: "own": the units that match a color best; "other": those of the next color;
        "random": any units; matches of the last two are with other images' colors
    """
    of = found.layers[MIDDLE]
    colors = range(len(COLORS.names))
    random = causal.random_orders(of.layer.units, seed)
    own = [of.ranked(c) for c in colors]
    orders = {
        "own": own,
        "other": own[1:] + own[:1],
        "random": causal.random_orders(of.layer.units, seed + 1, len(own)),
    }[kind]
    layers = [f if kind == "own" else swapped(f) for f in found.layers]
    first, middle, last = (share_matched(layers[i]) for i in (FIRST, MIDDLE, -1))
    matched = {"first_matched": first, "middle_matched": middle, "last_matched": last}
    if not bool((found.shares > LEAST).all()):  # nothing to remove
        nothing = dict.fromkeys(("removed", "beyond_random", "beyond_others", "inserted"), 0.0)
        return {**nothing, "rise": 1.0, **matched, "more_in_middle": middle - first}
    left = removed(model, of, orders, seed)
    judged = left[list(colors), :, list(colors)]  # of color c after its order [colors, counts]
    by_chance = removed(model, of, random, seed).mean((0, 2))
    at = COUNTS.index(MANY)
    others = fmean(float(left[c, at, k]) for c in colors for k in colors if k != c)
    inserted = fmean(effect(model, of, c, orders[c], seed) for c in colors)
    inserted_by_chance = fmean(
        effect(model, of, c, order, seed) for c in colors for order in random
    )
    return {
        "removed": float(1 - judged[:, at].mean()),
        "beyond_random": float((by_chance - judged.mean(0))[1:].min()),
        "beyond_others": others - float(judged[:, at].mean()),
        "inserted": inserted - inserted_by_chance,
        "rise": float(judged.mean(0).diff().max()),
        **matched,
        "more_in_middle": middle - first,
    }


def experiment(seed: int) -> Finding:
    """Train, dissect, remove, insert; other units and an untrained twin are nulls."""
    trained = train(RUN, seed)
    model, twin = as_model(trained), as_model(train(RUN, seed, steps=False))
    found, of_twin = (dissect(m, COLORS, n=SAMPLES, seed=seed) for m in (model, twin))
    of = found.layers[MIDDLE]
    colors = range(len(COLORS.names))
    left = removed(model, of, [of.ranked(c) for c in colors], seed)
    random = removed(model, of, causal.random_orders(of.layer.units, seed), seed)
    series = {
        "own": {
            "units": list(COUNTS),
            "color": left[list(colors), :, list(colors)].mean(0),
            "others": torch.stack([left[c, :, k] for c in colors for k in colors if k != c]).mean(
                0
            ),
        },
        "random": {"units": list(COUNTS), "color": random.mean((0, 2))},
    }
    return Finding(
        measure(model, found, "own", seed),
        series,
        {
            "untrained": measure(twin, of_twin, "own", seed),
            "random": measure(model, found, "random", seed),
            "other": measure(model, found, "other", seed),
        },
    )


CLAIM = claim(
    __name__,
    experiment=experiment,
    plot=plots.curves(
        {
            ("own", "color"): "a color, its own units removed",
            ("own", "others"): "the other colors",
            ("random", "color"): "a color, random units removed",
        },
        labels=["share of the color that is left"],
        x="units",
    ),
)
