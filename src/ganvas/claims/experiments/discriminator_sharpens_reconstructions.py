"""VQGAN, appendix A: an autoencoder with a discriminator from the start or later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from math import log
from statistics import fmean

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import facades, plots, super_resolution
from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run
from ganvas.data import Feed, images
from ganvas.methods import AutoencoderKL
from ganvas.nets.latent_autoencoder import KLAutoencoder
from ganvas.nets.patchgan import PatchDiscriminator

SIDE, TEST = 64, 200
IMAGES, WARM_UP = 60_000, 40_000
BACKBONE = "squeeze-caffe"  # of LPIPS, in training and as the measure


@cache
def flowers() -> tuple[Feed, Feed]:
    """(photographs to train on, `TEST` others), the same for every seed."""
    whole = images(place("flowers"), size=SIDE, flip=False, labels=False)
    x = whole.raw()["x"]
    order = np.random.default_rng(0).permutation(len(x))
    test, train = x[order[:TEST]], x[order[TEST:]]
    return (
        Feed(replace(whole.info, count=len(train)), {"x": train}),
        Feed(replace(whole.info, count=len(test)), {"x": test}),
    )


def training() -> Feed:
    """The photographs to train on."""
    return flowers()[0]


def run(start: int) -> Run:
    """`autoencoder_kl_small` with LPIPS; `start`: images before the game."""
    adam = partial(Adam, lr=5e-4, betas=(0.5, 0.9))
    return Run(
        method=partial(
            AutoencoderKL,
            AE=partial(KLAutoencoder, widths=[32, 64, 64], blocks=1),
            D=partial(PatchDiscriminator, width=32, layers=2, norm="batch"),
            start=start,
            lpips=BACKBONE,
        ),
        data=training,
        optim={"AE": adam, "D": adam},
        batch=12,
        images=IMAGES,
    )


@cache
def real() -> Tensor:
    """The test images in [-1, 1]."""
    return flowers()[1].fixed(TEST).x


@torch.no_grad()
def reconstructed(trained: Trained) -> Tensor:
    """Reconstructions of the test images."""
    parts = [trained.model.translate(x) for x in real().split(25)]
    return torch.cat(parts).clamp(-1, 1)


@torch.no_grad()
def measure(trained: Trained) -> dict[str, float]:
    """Power of fine detail over that of the images, LPIPS, and absolute error."""
    made, perceptual = reconstructed(trained), super_resolution.perceptual()
    pairs = zip(made.split(25), real().split(25), strict=True)
    return {
        "detail": facades.energy(made) / facades.energy(real()),
        "lpips": fmean(float(d) for a, b in pairs for d in perceptual(a, b).flatten()),
        "l1": float((made - real()).abs().mean()),
    }


def _off(detail: float) -> float:
    """How far a ratio is from 1: by no detail at all it is very far."""
    return abs(log(max(detail, 1e-3)))


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """All measures; how much nearer the images' detail is, and at what LPIPS."""
    late, never, early = (arms[name] for name in ("late", "never", "early"))
    return flat(arms) | {
        "blur_removed": _off(never["detail"]) - _off(late["detail"]),
        "lpips_ratio": late["lpips"] / never["lpips"],
        "lpips_lost_early": early["lpips"] - late["lpips"],
    }


def series(trained: Trained) -> dict[str, object]:
    """A row of reconstructions beside the images."""
    return {"real": plots.pixels(real()), "rebuilt": plots.pixels(reconstructed(trained))}


def ready() -> None:
    """Raises `UserError` if images or weights are missing."""
    flowers()
    super_resolution.perceptual()


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"late": run(WARM_UP), "never": run(IMAGES), "early": run(0)},
        controls=["never"],
        measure=measure,
        chance={"detail": 0.0, "lpips": 1.0, "l1": 1.0},  # one color
        figures=figures,
        series=series,
    ),
    plot=plots.pictures(
        {
            "images": lambda s: s["never"]["real"],
            "without D, detail over the images'": lambda s: s["never"]["rebuilt"],
            "D from the first step": lambda s: s["early"]["rebuilt"],
            "D after two thirds": lambda s: s["late"]["rebuilt"],
        },
        {
            "without D, detail over the images'": "never_detail",
            "D from the first step": "early_detail",
            "D after two thirds": "late_detail",
        },
    ),
    ready=ready,
)
