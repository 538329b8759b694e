"""SRGAN, figure 3: squared error averages the solutions, a GAN selects one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import final

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.claims.kit.training import train
from ganvas.core import Batch, Clock, Method, Plan, Run, Shape, Terms, Update, rng
from ganvas.core.schedules import LinearDecay, PerStep
from ganvas.objectives.adversarial import bce
from ganvas.objectives.penalties import r1

BATCH, STEPS = 256, 1000
TESTED = 2000  # heights that are asked after training


def on_the_u(n: int) -> Tensor:
    """Points (u, 2 u^2), u uniform in [-1, 1]: [n, 2]."""
    u = 2 * rng.uniform(n, 1) - 1
    return torch.cat([u, 2 * u.square()], 1)


def distance_to_u(points: Tensor) -> Tensor:
    """Distance of points [n, 2] to the nearest of 8,001 on the U: [n], within 6e-4."""
    u = torch.linspace(-1, 1, 8001)
    curve = torch.stack([u, 2 * u.square()], 1)
    exact = "donot_use_mm_for_euclid_dist"  # by a matrix product: off by up to 1e-3 near 0
    return torch.cdist(points, curve, compute_mode=exact).min(1).values


def mlp(inputs: int, outputs: int, width: int = 64) -> nn.Module:
    """Three hidden layers with LeakyReLU."""
    layers: list[nn.Module] = []
    for a, b in pairwise([inputs, width, width, width]):
        layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class Points:
    """A feed of new points `x` [n, 2] of the U and of their `height` [n, 1]."""

    info = SimpleNamespace(shape=Shape(channels=2, height=1, width=1))

    def draw(self, cursor: int, n: int, *, seed: int, **options: object) -> Batch:
        """Draw n points, the same ones at the same cursor."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.fold_in(seed, "points", cursor))
            x = on_the_u(n)
        return Batch(x=x, height=x[:, 1:])


@final
class Conditional(Method):
    """Two networks that answer a height with a point of it.

    A regression with the mean squared error, and a conditional GAN (arXiv:1411.1784)
    with the penalty R1 (arXiv:1801.04406), of the same size.
    """

    ema_networks = ("G", "regression")

    def __init__(self, shape: Shape, r1_weight: float = 0.1) -> None:
        super().__init__()
        self.regression, self.G = mlp(1, shape.channels), mlp(1 + 2, shape.channels)
        self.D = mlp(shape.channels + 1, 1)
        self.r1_weight = r1_weight
        self.players = {"regression": [self.regression], "G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """The regression, then D, then G, on the same points."""
        real = next(batches)
        yield Update("regression", self.mse, real)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def mse(self, real: Batch) -> Terms:
        """Mean squared error of the regression."""
        return Terms((self.regression(real.height) - real.x).square().mean())

    def d_loss(self, real: Batch) -> Terms:
        """Cross-entropy of D, with R1 at the real points."""
        score = partial(self.score, height=real.height)
        loss = bce(score(real.x), True) + bce(score(self.answer(real.height)), False)
        return Terms(loss + self.r1_weight / 2 * r1(score, real.x))

    def g_loss(self, real: Batch) -> Terms:
        """Cross-entropy of D on the answers to the real heights, as if real."""
        return Terms(bce(self.score(self.answer(real.height), real.height), True))

    def score(self, x: Tensor, height: Tensor) -> Tensor:
        """Logits of D for points x [n, 2] at heights [n, 1]."""
        return self.D(torch.cat([x, height], 1))

    def answer(self, height: Tensor) -> Tensor:
        """Points [n, 2] that G generates for heights [n, 1]."""
        return self.G(torch.cat([height, rng.normal(len(height), 2)], 1))


def run() -> Run:
    """Both networks in one run, with learning rates that fall to 0."""
    adam = partial(Adam, lr=1e-3, betas=(0.0, 0.99))
    return Run(
        method=partial(Conditional),
        data=Points,
        optim={"regression": adam, "G": adam, "D": adam},
        batch=BATCH,
        images=STEPS * BATCH,
        lr=LinearDecay(start=STEPS * BATCH // 2, end=STEPS * BATCH),
        ema=PerStep(0.995),
    )


def distances(mse: Tensor, gan: Tensor, real: Tensor) -> dict[str, float]:
    """The figures of answers [n, 2] to the heights of real points [n, 2]."""
    height = real[:, 1:]
    average = torch.cat([torch.zeros_like(height), height], 1)  # E[point | height]
    right_answers = torch.stack([real, real * torch.tensor([-1.0, 1.0])])
    right = float((gan[:, 0] > 0).float().mean())
    return {
        "mse_distance": float(distance_to_u(mse).mean()),
        "gan_distance": float(distance_to_u(gan).mean()),
        "mse_over_average": float(distance_to_u(mse).mean() / distance_to_u(average).mean()),
        "gan_to_right_answer": float((gan - right_answers).norm(dim=2).min(0).values.mean()),
        "gan_rarer_branch": min(right, 1 - right),
    }


def experiment(seed: int) -> Finding:
    """Measure the answers' distances to the U."""
    engine = train(run(), seed).engine
    torch.manual_seed(rng.fold_in(seed, "test"))
    real = on_the_u(TESTED)
    height = real[:, 1:]
    with torch.no_grad():
        mse = engine.ema["regression"](height)
        given = torch.cat([height, torch.randn(TESTED, 2)], 1)
        gan = engine.ema["G"](given)
        initial = Conditional(Points.info.shape)
        untrained = initial.regression(height), initial.G(given)
    return Finding(
        figures=distances(mse, gan, real),
        series={"mse": mse[:300], "gan": gan[:300]},
        nulls={
            "untrained": distances(*untrained, real),
            "the other network": distances(gan, mse, real),
        },
    )


def plot(figure: Figure, seeds: Seeds) -> None:
    """The answers of both networks to 300 heights, for the first seed."""
    u = np.linspace(-1, 1, 400)
    titles = {"mse": "mean squared error", "gan": "conditional GAN"}
    for axes, (kind, title) in zip(figure.subplots(1, 2, sharey=True), titles.items()):
        axes.plot(u, 2 * u**2, color="0.75", linewidth=5, label="the right answers")
        axes.plot(*np.array(seeds[0]["series"][kind]).T, "r.", markersize=4, label="answers")
        distance = seeds[0]["figures"][f"{kind}_distance"]
        axes.set(title=f"{title}: distance {distance:.3f}", xlabel="x", ylabel="given height")
        axes.legend(fontsize="small", loc="upper center")


CLAIM = claim(__name__, experiment=experiment, plot=plot)
