"""Letters: StyleGAN2 of them at 16 px, few of them to train on, and two styles."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.kit.quality import Quality
from ganvas.core import Run
from ganvas.core.schedules import HalfLife
from ganvas.data import Feed, cache_dir, domains
from ganvas.data import images as data
from ganvas.data.prepare.letters import make
from ganvas.methods import StyleGAN2
from ganvas.nets import stylegan2

WIDTHS = [32, 32, 16]  # channels at 4, 8 and 16 px
LETTERS = partial(data, "letters", size=16, labels=False)
PENALTY_EVERY = 4  # steps from one penalty of path lengths to the next


def stylegan2_of_letters(images: int, pl_weight: float) -> Run:
    """pl_weight: of the penalty of path lengths; 0: none."""
    share = PENALTY_EVERY / (PENALTY_EVERY + 1)
    adam = partial(Adam, lr=2e-3 * share, betas=(0.0, 0.99**share), eps=1e-8)
    return Run(
        method=partial(
            StyleGAN2,
            G=partial(stylegan2.Generator, latent=32, style=32, mapping=4, widths=WIDTHS),
            D=partial(stylegan2.Discriminator, widths=WIDTHS),
            r1_weight=1.0,
            pl_weight=pl_weight,
            pl_every=PENALTY_EVERY,
        ),
        data=LETTERS,
        optim={"G": adam, "D": adam},
        batch=32,
        images=images,
        ema=HalfLife(images=2_000),
    )


@cache
def quality() -> Quality:
    """Distance from the letters."""
    return Quality(LETTERS())


class Styles(NamedTuple):
    """Letters with and without serifs.

    feed: domain a has serifs, b has none; of no letter are both there
    serifs: letters of other families than those of `feed`, [N, 1, H, W] in [-1, 1]
    distance: of images from letters without serifs, of other families, too
    """

    feed: Feed
    serifs: Tensor
    distance: Quality


@cache
def serif_and_sans(size: int) -> Styles:
    """Letters of families with and without serifs, rendered once into the cache.

    size: side in pixels

    Raises `UserError` if the packages of the fonts are missing.
    """
    folder = cache_dir() / "claims" / f"serif-sans-{size}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            made = Path(place) / "letters"
            make(made, size, domains="serif,sans")
            made.rename(folder)
    held = {
        side: data(folder / part / side, size=size, channels=1, labels=False)
        for side, part in (("A", "test"), ("B", "val"))
    }
    return Styles(
        domains(folder, size=size, channels=1, flip=False),
        next(held["A"].batches(held["A"].info.count)).x,
        Quality(held["B"], held["B"].info.count),
    )


def split(size: int, few: int) -> tuple[Feed, Feed]:
    """(`few` of the letters in gray, all others), the same for every seed.

    size: side in pixels
    """
    whole = data("letters", size=size, labels=False)
    x = whole.raw()["x"]
    order = np.random.default_rng(0).permutation(len(x))
    chosen, others = x[order[:few]], x[order[few:]]
    return (
        Feed(replace(whole.info, count=len(chosen)), {"x": chosen}),
        Feed(replace(whole.info, count=len(others)), {"x": others}),
    )
