"""WGAN-GP, section 5.1: random architectures that train under the penalty alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Trained, train
from ganvas.core import Run, rng
from ganvas.core.errors import NumericalError
from ganvas.data import Feed, images
from ganvas.methods import GAN, WGANGP
from ganvas.metrics.features import extractor
from ganvas.metrics.inception_score import InceptionScore
from ganvas.nets.layers import Size, sides
from ganvas.nets.norm import BatchNorm2d

ARCHITECTURES, STEPS, DEVICE = 20, 3000, "cuda"
SAMPLES, PART = 5_000, 500
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": F.relu,
    "LeakyReLU": partial(F.leaky_relu, negative_slope=0.2),
    "softplus": lambda x: F.softplus(2 * x + 2) / 2 - 1,
    "tanh": torch.tanh,
}


class Design(NamedTuple):
    """The choices for one network (table 1 of the paper)."""

    activation: str
    depth: int
    norm: bool
    width: int


def designs(seed: int) -> list[tuple[Design, Design]]:
    """`ARCHITECTURES` designs of generator and discriminator."""
    generator = np.random.default_rng(rng.fold_in(seed, "designs"))

    def one() -> Design:
        return Design(
            str(generator.choice(list(ACTIVATIONS))),
            int(generator.choice([4, 8, 12, 20])),
            bool(generator.integers(2)),
            int(generator.choice([32, 64, 128])),
        )

    return [(one(), one()) for _ in range(ARCHITECTURES)]


class Convolution(nn.Module):
    """A 3x3 convolution, a norm, and the design's activation."""

    def __init__(self, a: int, b: int, norm: nn.Module, activation: str) -> None:
        super().__init__()
        self.conv, self.norm, self.activation = nn.Conv2d(a, b, 3, padding=1), norm, activation

    def forward(self, x: Tensor) -> Tensor:
        """Map features [N, a, H, W] to [N, b, H, W]."""
        return ACTIVATIONS[self.activation](self.norm(self.conv(x)))


class Generator(nn.Module):
    """z [N, latent] -> images [N, channels, H, W], `depth` / 4 layers a resolution."""

    def __init__(self, design: Design, size: Size, channels: int, latent: int = 64) -> None:
        super().__init__()
        self.latent, self.grid, width = latent, sides(size)[0] // 8, design.width
        self.input = nn.Linear(latent, width * self.grid**2)
        layers: list[nn.Module] = []
        for _ in range(3):
            layers.append(nn.Upsample(scale_factor=2))
            for _ in range(design.depth // 4):
                norm = BatchNorm2d(width) if design.norm else nn.Identity()
                layers.append(Convolution(width, width, norm, design.activation))
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Generate images [N, channels, H, W] in [-1, 1]."""
        return self.layers(self.input(z).unflatten(1, (-1, self.grid, self.grid)))


class Discriminator(nn.Module):
    """Images -> logits [N]: the generator's mirror image, with layer norm."""

    def __init__(self, design: Design, size: Size, channels: int) -> None:
        super().__init__()
        width, grid = design.width, sides(size)[0] // 8
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1)]
        for _ in range(3):
            for _ in range(design.depth // 4):
                norm = nn.GroupNorm(1, width) if design.norm else nn.Identity()
                layers.append(Convolution(width, width, norm, design.activation))
            layers.append(nn.AvgPool2d(2))
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * grid**2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, channels, H, W] to logits [N]."""
        return self.layers(x).squeeze(1)


METHODS = {"wgan_gp": (partial(WGANGP, g_batch=1), 5), "gan": (GAN, 1)}


@cache
def mnist() -> Feed:
    """MNIST at 32 px."""
    return images(place("mnist"), size=32, labels=False)


def run(loss: str, design: tuple[Design, Design]) -> Run:
    """`STEPS` updates of G, with the rates of the paper's section 5.1 and DCGAN's."""
    method, draws = METHODS[loss]
    adam = partial(Adam, lr=1e-4, betas=(0.0, 0.9))
    if loss == "gan":
        adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            method, G=partial(Generator, design[0]), D=partial(Discriminator, design[1])
        ),
        data=mnist,
        optim=dict.fromkeys("GD", adam),
        batch=64,
        images=STEPS * 64 * draws,
    )


@torch.no_grad()
def score(x: Tensor) -> float:
    """The inception score of images by lenet-mnist, 1 to 10."""
    judge = InceptionScore(10, splits=1)
    for part in x.split(PART):
        judge.add(extractor("lenet-mnist").with_logits(part)[1])
    return judge.score()[0]


@torch.no_grad()
def score_of(trained: Trained) -> float:
    """The score of a model's samples; 1, the least, if they are not finite."""
    with torch.random.fork_rng():
        torch.manual_seed(rng.fold_in(trained.seed, "samples"))
        x = torch.cat([trained.model.sample(PART).cpu() for _ in range(SAMPLES // PART)])
    return score(x) if bool(x.isfinite().all()) else 1.0


def experiment(seed: int) -> Finding:
    """Count the architectures that each loss trains to half of the data's score."""
    real = score(mnist().fixed(SAMPLES).x)
    scores: dict[str, list[float]] = {"wgan_gp": [], "gan": [], "untrained": []}
    for i, design in enumerate(designs(seed)):
        for loss in METHODS:
            try:
                trained = train(run(loss, design), seed, name=f"{loss}-{i}", device=DEVICE)
                scores[loss].append(score_of(trained))
            except NumericalError:  # diverged
                scores[loss].append(1.0)
        twin = train(run("wgan_gp", design), seed, steps=False, device=DEVICE)
        scores["untrained"].append(score_of(twin))
    good = {name: [s > real / 2 for s in found] for name, found in scores.items()}

    def counts(name: str) -> dict[str, float]:
        """With the models of `name` in place of WGAN-GP's."""
        both = list(zip(good[name], good["gan"], strict=True))
        return {
            "wgan_gp_trained": sum(good[name]),
            "gan_trained": sum(good["gan"]),
            "wgan_gp_more": sum(good[name]) - sum(good["gan"]),
            "only_gan": sum(g and not w for w, g in both),
        }

    nulls = {"untrained": counts("untrained"), "the loss of 2014": counts("gan")}
    return Finding(counts("wgan_gp"), {**scores, "real": real}, nulls)


def plot(figure: Figure, seeds: Seeds) -> None:
    """The scores with both losses, a point for each architecture."""
    axes = figure.subplots()
    for s in seeds:
        axes.plot(s["series"]["gan"], s["series"]["wgan_gp"], "C0.")
    half = seeds[0]["series"]["real"] / 2
    axes.axhline(half, color="0.7")
    axes.axvline(half, color="0.7")
    axes.set(xlabel="inception score, loss of 2014", ylabel="inception score, WGAN-GP")


CLAIM = claim(
    __name__,
    experiment=experiment,
    plot=plot,
    ready=lambda: (mnist(), extractor("lenet-mnist")),
)
