"""Open question 7: how far an image must be moved to fool a discriminator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run, Samples, rng
from ganvas.data import images as data
from ganvas.methods import DCGAN
from ganvas.nets import dcgan

LETTERS = partial(data, "letters", size=32, labels=False)
TESTED = 256  # real images
LEVELS = 127.5  # gray levels of 1 in an image
BISECTIONS, MOVES = 8, 10  # of the size, and steps of an attack of one size
WIDEST = 128.0  # gray levels
WEAK, STRONG = 0.3, 3.0  # gamma of R1

Direction = Callable[[nn.Module, Tensor], Tensor]


def run(r1_weight: float) -> Run:
    """A DCGAN of letters whose discriminator has no batch norm.

    r1_weight: gamma of R1
    """
    return Run(
        method=partial(
            DCGAN,
            G=partial(dcgan.Generator, width=16),
            D=partial(dcgan.Discriminator, width=16, norm=False),
            r1_weight=r1_weight,
            r1_every=4,
        ),
        data=LETTERS,
        optim={p: partial(Adam, lr=2e-4, betas=(0.5, 0.999)) for p in "GD"},
        batch=64,
        images=60_000,
    )


@cache
def quality() -> Quality:
    """Distance from the letters."""
    return Quality(LETTERS())


def downhill(D: nn.Module, x: Tensor) -> Tensor:
    """The signs of the steepest way to a lower score."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), x)
    return -gradient.sign()


def noise(D: nn.Module, x: Tensor) -> Tensor:
    """Random signs."""
    return torch.randint(0, 2, x.shape).to(x) * 2 - 1


def moved(D: nn.Module, x: Tensor, size: Tensor, way: Direction) -> Tensor:
    """Images after `MOVES` steps that change no pixel by more than `size` [N].

    Projected gradient descent: Madry et al., 2017, arXiv:1706.06083, section 2.1.
    """
    limit = size[:, None, None, None]
    y = x
    for _ in range(MOVES):
        y = y + 2.5 * limit / MOVES * way(D, y)
        y = torch.maximum(torch.minimum(y, x + limit), x - limit).clamp(-1, 1)
    return y


def least_size(D: nn.Module, x: Tensor, level: Tensor, way: Direction) -> Tensor:
    """The least size, in gray levels, for which D scores each image below `level`."""
    low, high = torch.zeros(len(x)), torch.full((len(x),), WIDEST)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        with torch.no_grad() if way is noise else torch.enable_grad():
            y = moved(D, x, middle / LEVELS, way)
        with torch.no_grad():
            fooled = D(y).flatten() < level
        low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)
    return high


def measure(trained: Trained) -> Figures:
    """Median sizes of an attack and of noise that turn real images to generated."""
    D = trained.model.D
    distance = quality()(trained.model)
    x = LETTERS().fixed(TESTED).x
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(rng.fold_in(trained.seed, "noise"))
        scores = D(cast(Samples, trained.model).sample(TESTED)).flatten()
        level = scores.median()
        right = (D(x).flatten() > level).float().mean()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.fold_in(trained.seed, "noise"))
        sizes = [float(least_size(D, x, level, way).median()) for way in (downhill, noise)]
    return {"attack": sizes[0], "noise": sizes[1], "real": float(right), "distance": distance}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """Sizes of attacks, and how much larger either penalty makes them."""
    plain, weak, strong = arms["plain"], arms["weak"], arms["strong"]
    floor = max(plain["attack"], WIDEST / 2**BISECTIONS)
    return {
        **flat(arms),
        "farther": min(weak["attack"], strong["attack"]) / floor,
        "over_noise": plain["attack"] / max(plain["noise"], 1e-9),
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"plain": run(0.0), "weak": run(WEAK), "strong": run(STRONG)},
        controls=["plain"],
        measure=measure,
        figures=figures,
    ),
    plot=plots.bars(
        {
            "plain_attack": "no penalty",
            "weak_attack": "R1, 0.3",
            "strong_attack": "R1, 3",
        },
        {
            "plain_distance": "no penalty",
            "weak_distance": "R1, 0.3",
            "strong_distance": "R1, 3",
        },
        labels=["gray levels that fool D", "distance of samples"],
        log=True,
    ),
)
