"""Sparse Transformer, section 7: sparse attention keeps the dense one's likelihood."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.letters import split
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run
from ganvas.core.schedules import WarmupCosine
from ganvas.data import Feed
from ganvas.methods import SparseTransformer
from ganvas.nets import sparse_transformer as nets

SIDE = 16  # pixels
LEVELS = 16
TESTED = 1_000  # held-out images
PART = 50  # images in one forward pass
IMAGES = 60_000
ARMS: dict[str, Sequence[nets.Pattern]] = {
    "strided": ["strided", "local"],
    "fixed": ["fixed"],
    "dense": ["dense"],
    "local": ["local"],
}


@cache
def letters() -> tuple[Feed, Feed]:
    """(1,000 of the shipped letters that are held out, all others)."""
    return split(SIDE, TESTED)


def data() -> Feed:
    """The part of the letters that is trained on."""
    return letters()[1]


def run(patterns: Sequence[str]) -> Run:
    """`sparse_transformer_small` with six layers of width 48, at 16 px."""
    return Run(
        method=partial(
            SparseTransformer,
            T=partial(
                nets.SparseTransformer,
                levels=LEVELS,
                width=48,
                layers=6,
                patterns=patterns,
                summary=4,
                dropout=0.0,
            ),
        ),
        data=data,
        optim={"T": partial(Adam, lr=2e-3)},
        batch=16,
        images=IMAGES,
        lr=WarmupCosine(warmup=3_000, end=IMAGES),
    )


@torch.no_grad()
def measure(trained: Trained) -> Figures:
    """Bits of a value of the held-out letters."""
    model: Any = trained.model
    held, nats = letters()[0], []
    for batch in held.batches(PART):
        values = model.values(batch.x)
        nats.append(float(cross_entropy(model.T(values).flatten(0, 1), values.flatten())))
    return {"bits": float(np.mean(nats)) / math.log(2)}


@cache
def pairs(pattern: nets.Pattern, side: int) -> int:
    """Keys that all queries of a gray image of that side see together."""
    return int(nets.pattern_mask(pattern, side**2, side, summary=4).sum())


def exponent(patterns: Sequence[nets.Pattern]) -> float:
    """By which power of the length the seen pairs grow from 16 to 32 px."""
    few, many = (sum(pairs(p, side) for p in patterns) for side in (16, 32))
    return math.log(many / few) / math.log(4)


def figures(arms: Mapping[str, Figures]) -> Figures:
    """Bits, and the gain of strided attention over local attention alone.

    kept: as a share of the gain of dense attention; 0 without a gain
    """
    local = arms["local"]["bits"]
    gain = {arm: max(local - found["bits"], 0.0) for arm, found in arms.items()}
    return {
        **flat(arms),
        "gain": gain["strided"],
        "kept": gain["strided"] / max(gain["dense"], 1e-6),
        "exponent": exponent(ARMS["strided"]),
        "dense_exponent": exponent(ARMS["dense"]),
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={name: run(patterns) for name, patterns in ARMS.items()},
        controls=["local"],
        measure=measure,
        chance={"bits": math.log2(LEVELS)},
        figures=figures,
    ),
    plot=plots.bars(
        {f"{arm}_bits": arm for arm in ARMS}, labels=["bits of a value, held-out letters"]
    ),
)
