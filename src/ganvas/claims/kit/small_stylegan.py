"""What the claims about styles share: a StyleGAN of digits that does not grow."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from torch.optim import Adam

from ganvas.claims.kit.quality import Quality
from ganvas.core import Method, Run
from ganvas.core.schedules import HalfLife
from ganvas.data import images
from ganvas.engine.engine import Engine
from ganvas.methods import StyleGAN
from ganvas.nets import progan, stylegan

SIDE = 16  # pixels
WIDTHS = [32, 32, 16]  # channels at 4, 8 and 16 px
ADAM = partial(Adam, lr=2e-3, betas=(0.0, 0.99), eps=1e-8)
COUNT = 512  # samples of a distance

STYLEGAN = Run(
    method=partial(
        StyleGAN,
        G=partial(stylegan.Generator, latent=32, style=32, mapping=8, widths=WIDTHS),
        D=partial(progan.ProgressiveDiscriminator, widths=WIDTHS, blur=True),
        start=SIDE,
        r1_weight=1.0,
    ),
    data=partial(images, "digits", size=SIDE),
    optim={"G": ADAM, "D": ADAM},
    batch=32,
    images=40_000,
    ema=HalfLife(images=2_000),
)


def trained(run: Run, seed: int) -> tuple[Method, dict[str, float]]:
    """The model of `run` at its end, and the Frechet distances (`Quality`) at `first`, after a twentieth, and `last`."""
    engine: Any = Engine(replace(run, seed=seed), run.data())
    quality = Quality(engine.feed, COUNT)
    found = {}
    for name, until in (("first", run.images // 20), ("last", run.images)):
        while engine.clock.images < until:
            engine.step()
        found[name] = quality(engine.model())
    return engine.model(), found
