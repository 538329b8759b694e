"""BigGAN, section 3.1: truncating z trades variety for fidelity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import Finding, claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.quality import rank_correlation
from ganvas.claims.kit.training import Trained, train
from ganvas.core import Run, Samples, Truncates, rng
from ganvas.core.schedules import HalfLife
from ganvas.data import images
from ganvas.methods import BigGAN
from ganvas.metrics.features import extractor
from ganvas.metrics.precision_recall import fidelity
from ganvas.nets import biggan as nets

THRESHOLDS = (2.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.15, 0.05)
COUNT = 1000  # images of either side
PART = 100
ADAM = partial(Adam, betas=(0.0, 0.99))
RUN = Run(
    method=partial(
        BigGAN,
        G=partial(nets.Generator, latent=24, width=6, shared=16, attention=[]),
        D=partial(nets.Discriminator, width=6, attention=[]),
        n_critic=1,
        labels=False,
        sigma_every=0,
    ),
    data=partial(images, "digits", size=16),
    optim={"G": partial(ADAM, lr=5e-4), "D": partial(ADAM, lr=1e-3)},
    batch=32,
    images=40_000,
    ema=HalfLife(images=5_000),
)
Sampled = Callable[[Any, Tensor, float], Tensor]  # model, z, threshold -> images


def truncated(model: Truncates, z: Tensor, threshold: float) -> Tensor:
    """The claim's samples: no number of z is above the threshold."""
    return model.truncated(z, threshold)


def outer(model: Samples, z: Tensor, threshold: float) -> Tensor:
    """The control's samples: z in the outermost part of N(0, 1), not the innermost.

    That part has as much mass m as lies within the threshold. Every number keeps its
    sign; its size becomes the quantile 1 - m (1 - q), if q is that of its size.
    """
    mass = math.erf(threshold / 2**0.5)
    q = torch.erf(z.double().abs() / 2**0.5)
    size = 2**0.5 * torch.erfinv(1 - mass * (1 - q))
    return model.sample(len(z), z=(z.sign() * size).to(z.dtype))


def experiment(seed: int) -> Finding:
    """One model and its untrained twin; the latents are the same at all thresholds."""
    trained, twin = train(RUN, seed), train(RUN, seed, steps=False)
    curves = {
        "truncated": curve(trained, truncated),
        "outer": curve(trained, outer),
        "untrained": curve(twin, truncated),
    }
    return Finding(
        scores(curves["truncated"]),
        curves,
        {name: scores(curves[name]) for name in ("untrained", "outer")},
    )


@torch.no_grad()
def curve(trained: Trained, sampled: Sampled) -> dict[str, list[float]]:
    """Precision and recall (k = 5) of samples at every threshold."""
    features = extractor("random-conv-v1")
    real = torch.cat([features(x) for x in trained.feed.fixed(COUNT).x.split(PART)])
    found: dict[str, list[float]] = {"truncation": list(THRESHOLDS), "precision": [], "recall": []}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        z = trained.model.latent(COUNT)
        for threshold in THRESHOLDS:
            x = sampled(trained.model, z, threshold)
            score = fidelity(real, torch.cat([features(part) for part in x.split(PART)]))
            found["precision"].append(score.precision)
            found["recall"].append(score.recall)
    return found


def scores(curves: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Rank correlations with the threshold, and what is traded from first to last."""
    t, precision, recall = curves["truncation"], curves["precision"], curves["recall"]
    return {
        "precision_spearman": rank_correlation(t, precision),
        "recall_spearman": rank_correlation(t, recall),
        "precision_gain": precision[-1] - precision[0],
        "recall_loss": recall[0] - recall[-1],
        "precision": precision[0],
        "recall": recall[0],
    }


CLAIM = claim(
    __name__,
    experiment=experiment,
    plot=plots.scatter(
        {
            "truncated": "truncated z",
            "outer": "the outermost z",
            "untrained": "truncated z, untrained",
        },
        "recall",
        "precision",
        ("recall", "precision"),
    ),
)
