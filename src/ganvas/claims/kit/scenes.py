"""Scenes of four colored letters, a small DCGAN of them, and its units."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np
from torch.optim import Adam

from ganvas.claims.kit.training import Trained
from ganvas.core import Run, rng
from ganvas.data import Feed, images
from ganvas.inference.model import Model
from ganvas.methods import DCGAN
from ganvas.nets import dcgan as nets

CELL, SIDE = 16, 32  # pixels of a letter and of a scene
SCENES = 20_000


@cache
def scenes() -> Feed:
    """Four letters of 16 px on black, each of them red, green or blue."""
    letters = images("letters", size=CELL, labels=False)
    ink = letters.raw()["x"][..., :1].astype(np.float32) / 255
    if ink.mean() > 0.5:
        ink = 1 - ink  # black on white
    draw = np.random.default_rng(rng.fold_in("scenes"))
    x = np.zeros((SCENES, SIDE, SIDE, 3), np.uint8)
    for down in (0, CELL):
        for across in (0, CELL):
            which = draw.integers(len(ink), size=SCENES)
            color = np.eye(3, dtype=np.float32)[draw.integers(3, size=SCENES)]
            cell = ink[which] * color[:, None, None]
            x[:, down : down + CELL, across : across + CELL] = (255 * cell).round()
    info = replace(letters.info, source="scenes of letters", channels=3, count=SCENES)
    return Feed(replace(info, height=SIDE, width=SIDE), {"x": x})


RUN = Run(
    method=partial(
        DCGAN, G=partial(nets.Generator, width=16), D=partial(nets.Discriminator, width=16)
    ),
    data=scenes,
    optim={p: partial(Adam, lr=4e-4, betas=(0.5, 0.999)) for p in "GD"},
    batch=64,
    images=100_000,
)


def as_model(trained: Trained) -> Model:
    """A trained method, or its untrained twin, as sampling takes it."""
    shape = {"channels": 3, "height": SIDE, "width": SIDE, "classes": 0}
    return Model(trained.model, {"shape": shape, "recipe": "dcgan"})
