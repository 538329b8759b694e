"""DeOldify's NoGAN: pretraining, then a game that is short, and where it turns."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.data import place
from ganvas.claims.kit.resnet20 import ResNet20, resnet20
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run
from ganvas.data import Feed, derived, images
from ganvas.engine.engine import Engine
from ganvas.media.color import to_lab
from ganvas.methods import DeOldify
from ganvas.metrics.frechet import frechet_distance, moments
from ganvas.nets import deoldify as nets

TEST = 1_000  # photographs that are measured; none is trained on
IMAGES = 42_000
PRETRAIN, CRITIC = 24_000, 4_000  # images of the first two stages
READINGS = 21  # over the run; the last third is in the game


class Judge(NamedTuple):
    """Photographs to color, and the classifier that looks at the colored ones.

    photographs, gray: [n, 3, 32, 32] in [-1, 1]
    labels: [n]
    net: ResNet-20 of CIFAR-10
    mean, cov: of its features of the photographs
    """

    photographs: Tensor
    gray: Tensor
    labels: Tensor
    net: ResNet20
    mean: Tensor
    cov: Tensor


@cache
@torch.no_grad()
def judge() -> Judge:
    """Raises `UserError` if data or weights are missing."""
    x = images(place("cifar10"), size=32, part="test").fixed(TEST)
    gray = derived(place("cifar10"), kind="gray", size=32, part="test").fixed(TEST)
    net = resnet20().eval()
    found = torch.cat([net.features(part) for part in x.x.split(250)])
    return Judge(gray.y, gray.x, x.y, net, *moments(found.double()))


def training() -> Feed:
    """CIFAR-10's training part as gray images, with the photographs as targets."""
    return derived(place("cifar10"), kind="gray", size=32, flip=True)


def run(pretrain: int, critic: int) -> Run:
    """`deoldify_small` for 32 px. pretrain, critic: images of the first two stages."""
    return Run(
        method=partial(
            DeOldify,
            G=partial(
                nets.UNet,
                kind="deep",
                encoder="resnet34",
                factor=1.0,
                stem=16,
                blocks=[2, 2, 2, 2],
            ),
            D=partial(nets.Critic, width=32, blocks=2),
            pretrain=pretrain,
            critic=critic,
        ),
        data=training,
        optim={
            "G": partial(Adam, lr=5e-4, betas=(0.0, 0.9)),
            "D": partial(Adam, lr=1e-3, betas=(0.0, 0.9)),
        },
        batch=32,
        images=IMAGES,
    )


def colorfulness(x: Tensor) -> Tensor:
    """Hasler and Süsstrunk's of images [N, 3, H, W] in [-1, 1]: 0 is gray, [N]."""
    red, green, blue = ((x + 1) * 127.5).unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], 1).flatten(2)
    return opponents.std(2).norm(dim=1) + 0.3 * opponents.mean(2).norm(dim=1)


@torch.no_grad()
def colored(model: nn.Module, gray: Tensor) -> Tensor:
    """The model's images of gray ones, by `DeOldify.translate`."""
    return torch.cat([model.translate(x) for x in gray.split(250)])  # type: ignore[operator]


@torch.no_grad()
def judged(model: nn.Module) -> dict[str, float]:
    """Distance, the classifier's accuracy, error of chroma, and color over the real."""
    photographs, gray, labels, net, mean, cov = judge()
    made = colored(model, gray)
    features = torch.cat([net.features(part) for part in made.split(250)])
    error = (to_lab(made) - to_lab(photographs))[:, 1:].norm(dim=1).mean()
    return {
        "distance": frechet_distance(*moments(features.double()), mean, cov),
        "accuracy": float((net.linear(features).argmax(1) == labels).float().mean()),
        "chroma_error": float(error),
        "color": float(colorfulness(made).mean() / colorfulness(photographs).mean()),
    }


def read(engine: Engine, logged: Mapping[str, list[float]]) -> dict[str, float]:
    """The same measures during training."""
    return judged(engine.model())


def measure(trained: Trained) -> dict[str, float]:
    """The measures at the end of pretraining, at the inflection point, and at the end.

    The inflection point is the reading of the game with the least distance.
    """
    first = len(trained.readings) * (PRETRAIN + CRITIC) // IMAGES
    before, game = trained.readings[first - 1], trained.readings[first:]
    best = min(game, key=lambda r: r["distance"])
    return {
        **{f"before_{k}": v for k, v in before.items() if k != "images"},
        **{f"best_{k}": v for k, v in best.items() if k != "images"},
        **{f"end_{k}": v for k, v in game[-1].items() if k != "images"},
        "best_images": (game.index(best) + 1) * IMAGES / len(trained.readings),
    }


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """All measures, and what the comparison is about."""
    nogan, alone = arms["nogan"], arms["alone"]
    return flat(arms) | {
        "color_gained": nogan["best_color"] / max(alone["best_color"], 1e-3),
        "distance_ratio": nogan["best_distance"] / alone["best_distance"],
        "turned": nogan["end_chroma_error"] / nogan["best_chroma_error"],
    }


def series(trained: Trained) -> dict[str, object]:
    """The readings."""
    names = ("images", "distance", "color", "accuracy", "chroma_error")
    return {name: trained.curve(name) for name in names}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"nogan": run(PRETRAIN, CRITIC), "alone": run(IMAGES, 0)},
        controls=["alone"],
        measure=measure,
        figures=figures,
        series=series,
        readings=READINGS,
        read=read,
    ),
    plot=plots.curves(
        {
            ("nogan", "chroma_error"): "pretraining, then a game",
            ("alone", "chroma_error"): "no game",
        },
        {
            ("nogan", "color"): "pretraining, then a game",
            ("alone", "color"): "no game",
        },
        labels=("error of chroma", "color over the photographs'"),
    ),
    ready=judge,
)
