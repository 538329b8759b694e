"""CoGAN, section 5.1: tied layers draw the same digit in both domains, though no pair was ever seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from torch.optim import Adam

from ganvas import draw
from ganvas.claims.claim import Check, Claim, Finding
from ganvas.core import Run
from ganvas.data import images
from ganvas.data.feed import Feed, Info
from ganvas.engine.engine import Engine
from ganvas.methods import CoGAN
from ganvas.nets import cogan as nets

SIDE = 28
PAIRS = 1000  # sampled for the figures
SHOWN = 16  # of the plot
GAMES = {"coupled": (4, 3), "unshared": (0, 0)}  # tied layers of G and of D


def outlines(x: Tensor) -> Tensor:
    """Digits [N, 1, H, W] in [-1, 1] -> where they become brighter or darker: their dilation by 3x3 less themselves, four times
    as strong, in [-1, 1]."""
    x = (x + 1) / 2
    return (4 * (max_pool2d(x, 3, 1, 1) - x)).clamp(0, 1) * 2 - 1


def digits_and_outlines() -> Feed:
    """One half of scikit-learn's digits, and the outlines of the other: the same split for every seed."""
    everything = images("digits", size=SIDE)
    pixels = everything.raw()["x"]
    pixels = pixels[np.random.default_rng(0).permutation(len(pixels))]
    half = len(pixels) // 2
    others = torch.from_numpy(pixels[half : 2 * half]).movedim(-1, 1).float() / 127.5 - 1
    sides = {"a": pixels[:half], "b": ((outlines(others) + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).numpy()}
    info = Info(
        task="domains",
        source="digits and outlines of other digits",
        layout="two arrays",
        part="train",
        channels=1,
        height=SIDE,
        width=SIDE,
        count=half,
        fingerprint=everything.info.fingerprint,
        counts={k: len(p) for k, p in sides.items()},
    )
    return Feed(info, sides)


def _run(tied: tuple[int, int], seed: int) -> Run:
    """`cogan` at a quarter of the generators' width."""
    adam = partial(Adam, lr=5e-4, betas=(0.5, 0.999), weight_decay=5e-4)
    return Run(
        method=partial(
            CoGAN,
            G=partial(nets.Generators, widths=(256, 128, 64, 32), tied=tied[0]),
            D=partial(nets.Discriminators, tied=tied[1]),
        ),
        data=digits_and_outlines,
        optim={"G": adam, "D": adam},
        batch=32,
        images=1000 * 32,
        seed=seed,
    )
