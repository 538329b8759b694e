"""StyleGAN2-ADA, section 2.2: turns of a probability below 1 do not leak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.classes import as_bytes
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run, rng
from ganvas.data import Feed, images
from ganvas.methods import DCGAN
from ganvas.metrics.recognizability import RecognitionClassifier
from ganvas.nets import dcgan
from ganvas.nets.augment import Augmentation

DIGITS = (3, 4, 7)  # none of them looks like itself or another when it is turned
SAMPLES = 1_000
COPIES = 8  # of each digit, where the data set itself is turned


class Turns(Augmentation):
    """Turn an image by a random multiple of 90 degrees with probability `p`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Turn square images [N, C, H, H], each by itself."""
        turns = rng.integers(len(x), 4, device=x.device)
        turns = turns * (rng.uniform(len(x), device=x.device) < self.p)
        turned = torch.stack([x.rot90(k, (2, 3)) for k in range(4)])
        return turned[turns, torch.arange(len(x), device=x.device)]


@cache
def upright() -> Feed:
    """The digits 3, 4 and 7."""
    whole = images("digits", size=16)
    raw = whole.raw()
    x = raw["x"][np.isin(raw["y"], DIGITS)]
    return Feed(replace(whole.info, count=len(x), classes=()), {"x": x})


@cache
def turned(p: float) -> Feed:
    """The digits `COPIES` times, each of which is turned with probability `p`."""
    x = torch.from_numpy(upright().raw()["x"]).movedim(-1, 1).repeat(COPIES, 1, 1, 1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in("turned"))
        x = Turns(p)(x).movedim(1, -1).contiguous().numpy()
    return Feed(replace(upright().info, count=len(x)), {"x": x})


@cache
def judge(seed: int) -> RecognitionClassifier:
    """A classifier of the turn of a digit, trained on half of the digits."""
    x = torch.from_numpy(upright().raw()["x"])
    turns = np.repeat(np.arange(4), len(x))
    return RecognitionClassifier(
        torch.cat([x.rot90(k, (1, 2)) for k in range(4)]).numpy(), turns, seed=seed
    )


@torch.no_grad()
def samples(trained: Trained) -> Tensor:
    """Generated images [N, 1, 16, 16]."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        return trained.model.sample(SAMPLES)


def measure(trained: Trained) -> Figures:
    """Shares of samples that are digits, and of these that are upright."""
    said = judge(trained.seed).probabilities(as_bytes(samples(trained))).argmax(1)
    return {**positions(said), "judge_accuracy": judge(trained.seed).accuracy}


def positions(said: np.ndarray) -> Figures:
    """Shares by what the judge said of each sample: 0 to 3 turns, or 4 for nothing.

    Samples of which fewer than 30% are digits are not upright, whatever the rest is.
    """
    shares = np.bincount(said, minlength=5) / len(said)
    seen = float(shares[:4].sum())
    return {"upright": float(shares[0] / seen) if seen >= 0.3 else 0.0, "recognized": seen}


def figures(arms: Mapping[str, Figures]) -> Figures:
    """Those of p = 0.5, and the upright shares of the others."""
    return {
        **arms["p_05"],
        "upright_p_1": arms["p_1"]["upright"],
        "upright_reals_only": arms["reals_only"]["upright"],
    }


def run(data: Callable[[], Feed], p: float | None) -> Run:
    """DCGAN at a quarter of its width."""
    return Run(
        method=partial(
            DCGAN, G=partial(dcgan.Generator, width=16), D=partial(dcgan.Discriminator, width=16)
        ),
        data=data,
        optim={player: partial(Adam, lr=2e-4, betas=(0.5, 0.999)) for player in "GD"},
        batch=64,
        images=800_000,
        augment=None if p is None else partial(Turns, p),
    )


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "p_05": run(upright, 0.5),
            "p_1": run(upright, 1.0),
            "reals_only": run(partial(turned, 0.5), None),
        },
        controls=["p_1", "reals_only"],
        measure=measure,
        chance={"upright": 0.25},
        figures=figures,
        series=lambda trained: {"samples": plots.pixels(samples(trained), 24)},
    ),
    plot=plots.pictures(
        {
            "both turned with p = 0.5, upright": lambda s: s["p_05"]["samples"],
            "both turned with p = 1, upright": lambda s: s["p_1"]["samples"],
            "only real images turned, p = 0.5, upright": lambda s: s["reals_only"]["samples"],
        },
        {
            "both turned with p = 0.5, upright": "upright",
            "both turned with p = 1, upright": "upright_p_1",
            "only real images turned, p = 0.5, upright": "upright_reals_only",
        },
    ),
)
