"""Self-attention GAN, section 3: a layer of attention relates parts that are far apart."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run, rng
from ganvas.core.schedules import HalfLife
from ganvas.data import Feed
from ganvas.data.feed import Info
from ganvas.methods import SAGAN
from ganvas.nets import dcgan
from ganvas.nets.attention import SelfAttention
from ganvas.nets.spectral import spectral_

HEIGHT, WIDTH = 8, 56  # of a canvas
PLACES = (2, WIDTH - 10)  # first columns of its two marks, which move by up to `SHIFT`
SHIFT = 2
MARK = 8  # pixels
CANVASES = 20_000
SAMPLES = 2_000
CLOSE = 0.4  # mean squared difference from a shape; two shapes differ by 1.4 at least


def _shapes() -> Tensor:
    """Four marks of 8x8 pixels, -1 and 1: two bars, a diagonal and a frame."""
    shapes = -torch.ones(4, MARK, MARK)
    shapes[0, 3:5] = 1
    shapes[1, :, 3:5] = 1
    shapes[2] = 2 * (torch.eye(MARK) + torch.eye(MARK).roll(1, 1).triu()) - 1
    shapes[3] = 1
    shapes[3, 1:-1, 1:-1] = -1
    return shapes


SHAPES = _shapes()


@cache
def canvases() -> Feed:
    """Canvases whose two marks have the same shape, each at a place of its own."""
    draws = np.random.default_rng(0)
    shape = draws.integers(len(SHAPES), size=CANVASES)
    x = np.zeros((CANVASES, HEIGHT, WIDTH, 1), np.uint8)
    marks = ((SHAPES.numpy() + 1) * 127.5).astype(np.uint8)
    for place in PLACES:
        left = place + draws.integers(-SHIFT, SHIFT + 1, size=CANVASES)
        for i in range(CANVASES):
            x[i, :, left[i] : left[i] + MARK, 0] = marks[shape[i]]
    info = Info("images", "two marks", "drawn", "train", 1, HEIGHT, WIDTH, CANVASES, "two marks")
    return Feed(info, {"x": x})


class Residual(nn.Module):
    """x + gamma f(x), f of three convolutions with as many weights as self-attention.

    1x1, 3x3 and 1x1 with ReLU between them, 1.25 C^2 weights up to rounding; gamma starts
    from 0. [N, C, H, W], the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(round(channels * 5 / 18), 1)  # 2 C h + 9 h^2 = 1.25 C^2
        self.inward = nn.Conv2d(channels, inner, 1, bias=False)
        self.across = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.outward = nn.Conv2d(inner, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        h = self.across(F.relu(self.inward(x)))
        return x + self.gamma * self.outward(F.relu(h))


class Discriminator(nn.Module):
    """Canvases [N, 1, 8, 56] -> scores [N], the sum of what is seen at 2x14 places.

    A place sees 18x18 pixels (26x26 with the residual block), less than the 32 columns
    between the two marks: only `mix` can relate them. The weight gamma of `mix` starts from 1, not 0: from 0 a
    discriminator of real and shuffled marks learned nothing within 400 steps.
    """

    def __init__(self, mix: type[nn.Module], channels: int = 1, width: int = 32, **_: Any) -> None:
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.mix: Any = mix(width)
        nn.init.ones_(self.mix.gamma)
        self.judge = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1),
            nn.ReLU(),
            nn.Conv2d(2 * width, width, 1),
            nn.ReLU(),
        )
        self.output = nn.Linear(width, 1)
        spectral_(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.judge(self.mix(self.see(x))).sum((2, 3))).squeeze(1)


def run(mix: type[nn.Module], lr: float) -> Run:
    """SAGAN's game, D's rate four times G's; only D's layer `mix` differs."""
    adam = partial(Adam, betas=(0.5, 0.99))
    return Run(
        method=partial(
            SAGAN,
            G=partial(dcgan.Generator, latent=32, width=16),
            D=partial(Discriminator, mix),
            labels=False,
            sigma_every=0,
        ),
        data=canvases,
        optim={"G": partial(adam, lr=lr), "D": partial(adam, lr=4 * lr)},
        batch=64,
        images=200_000,
        ema=HalfLife(images=5_000),
    )


@torch.no_grad()
def samples(trained: Trained) -> Tensor:
    """Generated canvases [2000, 1, 8, 56]."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        return trained.model.sample(SAMPLES)


def shapes_of(x: Tensor) -> Tensor:
    """The shapes of both marks of canvases [N, 1, H, W]: [N, 2], -1 for none.

    The shape nearest in the mean squared difference, at its best place.
    """
    found = []
    for place in PLACES:
        window = x[:, 0, :, place - SHIFT : place + SHIFT + MARK]
        parts = window.unfold(2, MARK, 1).transpose(1, 2)  # [N, places, H, 8]
        error = (parts[:, :, None] - SHAPES).square().mean((3, 4)).amin(1)
        near = error.min(1)
        found.append(torch.where(near.values <= CLOSE, near.indices, -1))
    return torch.stack(found, 1)


def agreement(shapes: Tensor) -> float:
    """How often the right mark is as the left one, mean over the shapes of the left one.

    A shape that never occurs at the left counts as 0, so that a generator of one canvas
    has a quarter.
    """
    left, right = shapes.unbind(1)
    kinds = range(len(SHAPES))
    shares = [float((right[left == s] == s).float().mean().nan_to_num(0)) for s in kinds]
    return sum(shares) / len(shares)


def measure(trained: Trained) -> Figures:
    """Agreement, how many marks are shapes, and the weight of the layer that may differ."""
    shapes = shapes_of(samples(trained))
    mix: Any = trained.engine.method.get_submodule("D.mix")
    return {
        "agreement": agreement(shapes),
        "recognized": float((shapes >= 0).float().mean()),
        "gamma": abs(float(mix.gamma.detach())),
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "attention": run(SelfAttention, 5e-4),
            "residual": [run(Residual, lr) for lr in (2.5e-4, 5e-4, 1e-3)],
        },
        controls=["residual"],
        measure=measure,
        chance={"agreement": 1 / len(SHAPES)},
        series=lambda trained: {"samples": plots.pixels(samples(trained), 8)},
        rank=lambda found: -found["agreement"],
    ),
    plot=plots.pictures(
        {
            "attention, marks that agree": lambda s: s["attention"]["samples"],
            "residual block of as many weights": lambda s: s["residual"]["samples"],
        },
        {
            "attention, marks that agree": "attention_agreement",
            "residual block of as many weights": "residual_agreement",
        },
    ),
)
