"""DCGAN, section 5: a discriminator's features classify images with few labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run
from ganvas.data import Feed, images
from ganvas.methods import DCGAN
from ganvas.nets import dcgan as nets

DEVICE = "cuda"
LABELS, TESTED = 1000, 10_000  # images; as many other labels choose the regularization
STRENGTHS = (1e1, 1e2, 1e3, 1e4, 1e5)  # of the regularization


@cache
def cifar10() -> tuple[Feed, Feed]:
    """CIFAR-10, training and test part."""
    train, test = (images(place("cifar10"), size=32, part=p) for p in ("train", "test"))
    return train, test


RUN = Run(
    method=partial(DCGAN, G=partial(nets.Generator), D=partial(nets.Discriminator)),
    data=lambda: cifar10()[0],
    optim={p: partial(Adam, lr=2e-4, betas=(0.5, 0.999)) for p in "GD"},
    batch=128,
    images=1_250_000,
)


@torch.no_grad()
def features(D: nets.Discriminator, x: Tensor) -> np.ndarray:
    """Activations of all convolutions, largest of each cell of a 4x4 grid: [N, dim]."""
    parts, device = [], next(D.parameters()).device
    for part in x.split(500):
        found, part = [], part.to(device)
        for layer in list(D.main)[:-1]:
            part = layer(part)
            if isinstance(layer, nn.LeakyReLU):
                found.append(adaptive_max_pool2d(part, 4).flatten(1))
        parts.append(torch.cat(found, 1))
    return torch.cat(parts).cpu().numpy()


def accuracy(of: Callable[[Tensor], np.ndarray], seed: int) -> float:
    """Accuracy on test images of a linear classifier on `of(images)`.

    Least squares on `LABELS` labels, with the regularization best on as many others.
    """
    train, test = cifar10()
    labeled, unseen = train.fixed(2 * LABELS, seed=seed), test.fixed(TESTED)
    scale = StandardScaler()
    x, y = of(labeled.x), labeled.y.numpy()
    x = np.concatenate([scale.fit_transform(x[:LABELS]), scale.transform(x[LABELS:])])
    models = [RidgeClassifier(a).fit(x[:LABELS], y[:LABELS]) for a in STRENGTHS]
    best = max(models, key=lambda m: m.score(x[LABELS:], y[LABELS:]))
    return float(best.score(scale.transform(of(unseen.x)), unseen.y.numpy()))


def measure(trained: Trained) -> dict[str, float]:
    """Accuracy on test images, with the discriminator's features and with pixels."""
    return {
        "accuracy": accuracy(partial(features, trained.model.D), trained.seed),
        "pixels": accuracy(lambda x: x.flatten(1).numpy(), trained.seed),
    }


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """Accuracies, and the share of the other features' errors that training removes."""
    trained, random = arms["trained"], arms["random"]
    return {
        "accuracy": trained["accuracy"],
        "random_accuracy": random["accuracy"],
        "pixels_accuracy": trained["pixels"],
        "over_random": trained["accuracy"] - random["accuracy"],
        "over_pixels": trained["accuracy"] - trained["pixels"],
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"trained": RUN, "random": replace(RUN, images=RUN.batch)},
        controls=["random"],
        measure=measure,
        figures=figures,
        device=DEVICE,
    ),
    plot=plots.bars(
        {
            "pixels_accuracy": "pixels",
            "random_accuracy": "random D",
            "accuracy": "trained D",
        },
        labels=["accuracy on test images"],
    ),
    ready=cifar10,
)
