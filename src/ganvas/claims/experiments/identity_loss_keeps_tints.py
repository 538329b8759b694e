"""CycleGAN, section 5.2, figure 9: without the identity loss, tints change."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.data import place
from ganvas.claims.kit.domains import as_tensor, two_domains
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import Feed, images
from ganvas.methods import CycleGAN
from ganvas.nets import image_to_image, patchgan

SIDE, TEST = 64, 80
IMAGES = 3_000  # of either domain
LEVELS = 127.5  # gray levels of 255 in a difference of 1


@cache
def flowers() -> tuple[Feed, tuple[Tensor, Tensor]]:
    """Roses and tulips to train on, and held out: [TEST, 3, SIDE, SIDE] each."""
    kinds, prints = [], []
    for kind in ("rose", "tulip"):
        found = images(str(Path(place("flowers")) / kind), size=SIDE, labels=False)
        pixels = found.raw()["x"]
        kinds.append(pixels[np.random.default_rng(0).permutation(len(pixels))])
        prints.append(found.info.fingerprint)
    a, b = kinds
    feed = two_domains("roses and tulips", a[TEST:], b[TEST:], "-".join(prints))
    return feed, (as_tensor(a[:TEST]), as_tensor(b[:TEST]))


def run(identity_weight: float) -> Run:
    """CycleGAN at a quarter of its width."""
    adam = partial(Adam, lr=4e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            CycleGAN,
            G=partial(image_to_image.ResNetGenerator, width=16, blocks=4),
            D=partial(patchgan.PatchDiscriminator, width=16, layers=2),
            identity_weight=identity_weight,
        ),
        data=lambda: flowers()[0],
        optim={"G": adam, "D": adam},
        batch=4,
        images=IMAGES,
        lr=LinearDecay(start=IMAGES // 2, end=IMAGES),
    )


@torch.no_grad()
def translated(trained: Trained) -> list[tuple[Tensor, Tensor]]:
    """(inputs, translations) of the held-out flowers, in both directions."""
    pairs = zip("ba", flowers()[1], strict=True)
    model = trained.model
    return [(x, torch.cat([model.translate(p, to=to) for p in x.split(20)])) for to, x in pairs]


def change(x: Tensor, made: Tensor) -> dict[str, float]:
    """How translations differ from their inputs [N, 3, H, W], in gray levels of 255.

    Returns:
    tint: mean absolute difference of an image's mean colors
    rest: mean absolute difference of pixels after the mean colors are taken off
    """
    difference = (made - x) * LEVELS
    tint = difference.mean((2, 3), keepdim=True)
    return {"tint": float(tint.abs().mean()), "rest": float((difference - tint).abs().mean())}


def measure(trained: Trained) -> dict[str, float]:
    """The changes, means of both directions."""
    ways = [change(*way) for way in translated(trained)]
    return {name: fmean(way[name] for way in ways) for name in ways[0]}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The changes of both arms, and the ratios without over with the identity loss."""
    found = {f"{arm}_{name}": v for arm, scores in arms.items() for name, v in scores.items()}
    for name in ("tint", "rest"):
        found[f"{name}_ratio"] = arms["no_identity"][name] / arms["identity"][name]
    return found


def series(trained: Trained) -> dict[str, object]:
    """Small roses and what becomes of them."""
    x, made = translated(trained)[0]
    return {"input": plots.pixels(x, 10, side=32), "made": plots.pixels(made, 10, side=32)}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"identity": run(0.5), "no_identity": run(0.0)},
        controls=["no_identity"],
        measure=measure,
        figures=figures,
        series=series,
    ),
    plot=plots.pictures(
        {
            "roses": lambda s: s["identity"]["input"],
            "as tulips, with the identity loss; change of mean colors": lambda s: s["identity"][
                "made"
            ],
            "without it": lambda s: s["no_identity"]["made"],
        },
        {
            "as tulips, with the identity loss; change of mean colors": "identity_tint",
            "without it": "no_identity_tint",
        },
    ),
    ready=flowers,
)
