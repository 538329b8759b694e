"""StyleGAN2, section 5: a generator's own images project nearer than real ones."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.claims.kit.letters import LETTERS, quality, stylegan2_of_letters
from ganvas.claims.kit.training import Trained, train
from ganvas.core import Samples, rng
from ganvas.inference.latent.projection import pixels, project

RUN = stylegan2_of_letters(100_000, pl_weight=2.0)
EACH = 32  # images of each kind
STEPS = 300
LEARNED = 5.0  # largest distance of samples that counts; noise has more than ten times it


def experiment(seed: int) -> Finding:
    """Project own, another generator's and real images onto one generator."""
    own = train(RUN, seed, name="own")
    other = train(RUN, rng.fold_in(seed, "other"), name="other")
    twin = train(RUN, seed, steps=False)
    found = distances(own, other)
    return Finding(
        scores(found, "own", own),
        found,
        {
            "untrained": scores(distances(twin, other), "own", twin),
            "other": scores(found, "other", own),
        },
    )


def distances(subject: Trained, other: Trained) -> dict[str, list[float]]:
    """Distance of the projections of three kinds of images onto the subject, by kind.

    The real letters are of typefaces that the subject was not trained on.
    """
    unseen = LETTERS(part="test").fixed(EACH).x
    kinds = {"own": samples(subject), "other": samples(other), "real": unseen}
    return {kind: projected(subject.model, x) for kind, x in kinds.items()}


@torch.no_grad()
def samples(trained: Trained) -> Tensor:
    """Generated images [32, 1, 16, 16]."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "projected"))
        return trained.model.sample(EACH).clamp(-1, 1)


def projected(model: Samples, x: Tensor) -> list[float]:
    """Squared difference of images and projections, over pixels and scales."""
    found = project(model, x, space="w", steps=STEPS)
    return pixels(found.images, x).tolist()


def scores(found: dict[str, list[float]], kind: str, trained: Trained) -> dict[str, float]:
    """How well the distance separates a kind of images from the others.

    auc: probability that an image of the kind projects nearer than a real one, or than
        one of another generator: the smaller of the two; at most 0.5 if the generator
        has not learned, since noise differs from anything
    """
    distance = quality()(trained.model)
    real, other = auc(found[kind], found["real"]), auc(found[kind], found["other"])
    return {
        "auc": min(real, other) if distance <= LEARNED else min(real, other, 0.5),
        "auc_real": real,
        "auc_other": other,
        "frechet": distance,
    }


def auc(near: list[float], far: list[float]) -> float:
    """Share of the pairs in which the first is smaller; equal ones count half."""
    a, b = torch.tensor(near)[:, None], torch.tensor(far)[None]
    return float(((a < b).float() + (a == b).float() / 2).mean())


def plot(figure: Figure, seeds: Seeds) -> None:
    """Distances of the three kinds, all seeds together."""
    axes = figure.subplots()
    for kind, name in (
        ("own", "its own images"),
        ("other", "another generator's"),
        ("real", "real ones"),
    ):
        values = sorted(v for s in seeds for v in s["series"][kind])
        axes.plot([max(v, 1e-6) for v in values], [i / len(values) for i in range(len(values))])
        axes.lines[-1].set_label(name)
    axes.set(xlabel="distance of the projection", ylabel="share of images", xscale="log")
    axes.legend()


CLAIM = claim(__name__, experiment=experiment, plot=plot)
