"""StyleGAN, section 4.2: classes are nearer to linearly separable in w than in z."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.classes import as_bytes, judge_of_digits
from ganvas.claims.kit.small_stylegan import stylegan_of_digits
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import rng

SAMPLES = 6_000  # the less sure half is left out, as in the paper
PART = 500
IMAGES = 100_000
NOTHING = 10  # the judge's last class


@torch.no_grad()
def measure(trained: Trained) -> Figures:
    """Errors of linear classifiers of a sample's digit from its z, and from its w."""
    model = trained.model
    latents: dict[str, list[np.ndarray]] = {"z": [], "w": []}
    said = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        for _ in range(SAMPLES // PART):
            z = model.latent(PART)
            w = model.styles(z)
            latents["z"].append(model.G.mapping.norm(z).numpy())
            latents["w"].append(w[:, 0].numpy())
            x = as_bytes(model.synthesize(w))
            said.append(judge_of_digits(trained.seed).probabilities(x))
    p = np.concatenate(said)
    errors = {f"error_{k}": error(np.concatenate(v), p) for k, v in latents.items()}
    return {**errors, "recognized": float((p.argmax(1) != NOTHING).mean())}


def error(latents: np.ndarray, p: np.ndarray) -> float:
    """Share of samples whose digit a linear classifier of their latents does not tell.

    Of the half of the samples of which the judge is surest. One in which it sees no
    digit counts as an error, so that noise has an error of 1. The classifier is fitted
    to every other sample and judged by the rest.

    latents: [N, d]
    p: the judge's probabilities [N, classes + 1], the last of them that of nothing
    """
    kept = np.argsort(-p[:, :-1].max(1), kind="stable")[: len(p) // 2]
    kept.sort()
    x, y = latents[kept], p[kept].argmax(1)
    fitted, rest = np.arange(0, len(y), 2), np.arange(1, len(y), 2)
    shown = fitted[y[fitted] != p.shape[1] - 1]
    if len(np.unique(y[shown])) < 2:
        return 1.0
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    right = linear.fit(x[shown], y[shown]).predict(x[rest]) == y[rest]
    return 1.0 - float(right.mean())


def figures(arms: Mapping[str, Figures]) -> Figures:
    """Error from w over that from z: of one generator, and of one without mapping."""
    mapped, plain = arms["mapping"], arms["no_mapping"]
    return {
        "within": mapped["error_w"] / mapped["error_z"],
        "between": mapped["error_w"] / plain["error_z"],
        **mapped,
        "no_mapping_error": plain["error_z"],
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "mapping": stylegan_of_digits(IMAGES, mapping=8),
            "no_mapping": stylegan_of_digits(IMAGES, mapping=0),
        },
        controls=["no_mapping"],
        measure=measure,
        chance={"error_z": 0.9, "error_w": 0.9},
        figures=figures,
    ),
    plot=plots.bars(
        {
            "error_z": "z",
            "error_w": "w",
            "no_mapping_error": "z, without\na mapping",
        },
        {"within": "w over z,\nsame generator", "between": "w over z,\nwithout a mapping"},
        labels=("error of a linear classifier", "ratio of errors"),
    ),
)
