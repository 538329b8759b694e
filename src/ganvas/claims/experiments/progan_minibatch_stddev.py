"""Progressive growing, section 3: the minibatch standard deviation gives more modes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.classes import as_bytes
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run, rng
from ganvas.core.schedules import HalfLife
from ganvas.data import Feed, images
from ganvas.methods import ProGAN
from ganvas.metrics.recognizability import RecognitionClassifier
from ganvas.nets import progan

SIDE = 16
TRIPLETS = 50_000  # images of three digits that are trained on
SAMPLES = 4_000
PART = 500
MODES = 1_000


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's digits, uint8 [N, 16, 16, 1], and labels."""
    raw = images("digits", size=SIDE).raw()
    return raw["x"], raw["y"]


@cache
def stacked() -> Feed:
    """Images whose three channels are digits drawn at random."""
    x, _ = digits()
    chosen = np.random.default_rng(0).integers(len(x), size=(TRIPLETS, 3))
    info = replace(images("digits", size=SIDE).info, channels=3, count=TRIPLETS, classes=())
    return Feed(info, {"x": x[chosen, :, :, 0].transpose(0, 2, 3, 1).copy()})


@cache
def judge(seed: int) -> RecognitionClassifier:
    """A classifier of single digits, trained on half of them."""
    return RecognitionClassifier(*digits(), seed=seed)


class NoSpread(nn.Module):
    """A channel of zeros in place of the minibatch standard deviation."""

    def forward(self, x: Tensor) -> Tensor:
        """Append a channel of zeros to features [N, C, H, W]."""
        return torch.cat([x, torch.zeros_like(x[:, :1])], 1)


def without_spread(**shape: object) -> nn.Module:
    """The discriminator whose layer of the minibatch standard deviation is blind."""
    net: Any = discriminator(**shape)
    net.spread = NoSpread()
    return net


discriminator: Callable[..., nn.Module] = partial(progan.ProgressiveDiscriminator, widths=[8, 8, 4])


def run(D: Callable[..., nn.Module]) -> Run:
    """ProGAN at its full size with a discriminator far smaller than the generator."""
    adam = partial(Adam, lr=1e-3, betas=(0.0, 0.99))
    return Run(
        method=partial(
            ProGAN,
            G=partial(progan.ProgressiveGenerator, latent=64, widths=[32, 32, 16]),
            D=D,
            start=SIDE,
        ),
        data=stacked,
        optim={"G": adam, "D": adam},
        batch=32,
        images=100_000,
        ema=HalfLife(images=2_000),
    )


@torch.no_grad()
def measure(trained: Trained) -> Figures:
    """Modes among 4,000 samples, and the reverse KL divergence of their shares."""
    codes = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        for _ in range(SAMPLES // PART):
            x = as_bytes(trained.model.sample(PART))
            channels = [judge(trained.seed).probabilities(x[..., i : i + 1]) for i in range(3)]
            codes.append(np.stack([p.argmax(1) for p in channels], 1))
    return modes(np.concatenate(codes))


def modes(said: np.ndarray) -> Figures:
    """Figures from what the judge said of three channels, [N, 3]; 10 is no digit.

    modes: number of triplets of digits that occur
    kl: sum of p log(1000 p) over the triplets' shares p of all samples; an image with a
        channel of no digit counts as a mode that the data does not have, by log 1000
    """
    whole = (said < 10).all(1)
    counts = np.bincount(said[whole] @ [100, 10, 1], minlength=MODES)
    p = counts[counts > 0] / len(said)
    nothing = 1 - float(whole.mean())
    kl = float((p * np.log(MODES * p)).sum()) + nothing * float(np.log(MODES))
    return {"modes": float((counts > 0).sum()), "kl": kl, "recognized": 1 - nothing}


def figures(arms: Mapping[str, Figures]) -> Figures:
    """How many modes more there are, and how much smaller the divergence is."""
    there, blind = arms["with"], arms["without"]
    return {
        "more_modes": there["modes"] - blind["modes"],
        "lower_kl": blind["kl"] - there["kl"],
        **{f"{arm}_{k}": v for arm, found in arms.items() for k, v in found.items()},
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"with": run(discriminator), "without": run(without_spread)},
        controls=["without"],
        measure=measure,
        figures=figures,
    ),
    plot=plots.bars(
        {"with_modes": "with", "without_modes": "without"},
        {"with_kl": "with", "without_kl": "without"},
        labels=("modes of 1,000", "reverse KL divergence"),
    ),
)
