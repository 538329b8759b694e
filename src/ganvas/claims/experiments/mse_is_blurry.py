"""Where several answers are right, the mean squared error's answer is their average, and right is none; a GAN's is one of
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.core import Batch, Clock, Method, Plan, Run, Shape, Terms, Update, rng
from ganvas.core.schedules import LinearDecay, PerStep
from ganvas.engine.engine import Engine
from ganvas.objectives.adversarial import bce
from ganvas.objectives.penalties import r1

BATCH, STEPS = 256, 1000
TESTED = 2000  # heights


def on_the_u(n: int) -> Tensor:
    """N points [n, 2] of the U: (u, 2 u^2) with u uniform in [-1, 1]."""
    u = 2 * rng.uniform(n, 1) - 1
    return torch.cat([u, 2 * u.square()], 1)


def distance_to_u(points: Tensor) -> Tensor:
    """Of points [n, 2] to the nearest of 8,001 on the U, [n]: right to 6e-4 (half of their greatest spacing)."""
    u = torch.linspace(-1, 1, 8001)
    exact = "donot_use_mm_for_euclid_dist"  # the matrix product's short cut is wrong by up to 1e-3 near zero
    return (
        torch.cdist(points, torch.stack([u, 2 * u.square()], 1), compute_mode=exact).min(1).values
    )


def mlp(inputs: int, outputs: int, width: int = 64) -> nn.Module:
    relu = partial(nn.LeakyReLU, 0.2)
    return nn.Sequential(
        nn.Linear(inputs, width), relu(), nn.Linear(width, width), relu(), nn.Linear(width, width), relu(),
        nn.Linear(width, outputs),
    )  # fmt: skip


class Points:
    """A feed of the engine: fresh points of the U as `x`, and their heights [n, 1], all that the networks are told."""

    info = SimpleNamespace(shape=Shape(channels=2, height=1, width=1))

    def draw(self, cursor: int, n: int, *, seed: int, **_: Any) -> Batch:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.fold_in(seed, "points", cursor))
            x = on_the_u(n)
        return Batch(x=x, height=x[:, 1:])


@final
class Conditional(Method):
    """Two answers to "which point has this height?": a regression by the mean squared error, and a conditional GAN
    (Mirza and Osindero, 2014, arXiv:1411.1784) with the penalty R1 on the reals (arXiv:1801.04406), of the same size.
    """

    ema_networks = ("G", "regression")

    def __init__(self, shape: Shape, r1_weight: float = 0.1) -> None:
        super().__init__()
        self.regression, self.G = mlp(1, shape.channels), mlp(1 + 2, shape.channels)
        self.D = mlp(shape.channels + 1, 1)
        self.r1_weight = r1_weight
        self.players = {"regression": [self.regression], "G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        real = next(feed)
        yield Update("regression", self.mse, real)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def mse(self, real: Batch) -> Terms:
        return Terms((self.regression(real.height) - real.x).square().mean())

    def d_loss(self, real: Batch) -> Terms:
        judged = partial(self.judge, height=real.height)
        loss = bce(judged(real.x), True) + bce(judged(self.answer(real.height)), False)
        return Terms(loss + self.r1_weight / 2 * r1(judged, real.x))

    def g_loss(self, real: Batch) -> Terms:
        return Terms(bce(self.judge(self.answer(real.height), real.height), True))

    def judge(self, x: Tensor, height: Tensor) -> Tensor:
        return self.D(torch.cat([x, height], 1))

    def answer(self, height: Tensor) -> Tensor:
        return self.G(torch.cat([height, rng.normal(len(height), 2)], 1))


def experiment(seed: int) -> Finding:
    adam = partial(Adam, lr=1e-3, betas=(0.0, 0.99))
    run = Run(
        method=partial(Conditional),
        data=Points,
        optim={"regression": adam, "G": adam, "D": adam},
        batch=BATCH,
        images=STEPS * BATCH,
        lr=LinearDecay(start=STEPS * BATCH // 2, end=STEPS * BATCH),
        ema=PerStep(0.995),
        seed=seed,
    )
    engine = Engine(run, run.data())
    for _ in range(STEPS):
        engine.step()
    torch.manual_seed(rng.fold_in(seed, "test"))
    real = on_the_u(TESTED)
    height = real[:, 1:]
    with torch.no_grad():
        mse = engine.ema["regression"](height)
        gan = engine.ema["G"](torch.cat([height, torch.randn(TESTED, 2)], 1))
    between = torch.cat([torch.zeros_like(height), height], 1)  # E[point | height], in closed form
    answers = torch.stack(
        [real, real * torch.tensor([-1.0, 1.0])]
    )  # the two points that have the height
    right = float((gan[:, 0] > 0).float().mean())
    return Finding(
        figures={
            "mse_distance": float(distance_to_u(mse).mean()),
            "gan_distance": float(distance_to_u(gan).mean()),
            "mse_over_average": float(distance_to_u(mse).mean() / distance_to_u(between).mean()),
            "gan_to_right_answer": float((gan - answers).norm(dim=2).min(0).values.mean()),
            "gan_rarer_branch": min(right, 1 - right),
        },
        series={"mse": mse[:300], "gan": gan[:300]},
    )


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    u = np.linspace(-1, 1, 400)
    s = seeds[0]
    for axes, kind, title in (
        (left, "mse", "mean squared error"),
        (right, "gan", "conditional GAN"),
    ):
        points = np.array(s["series"][kind])
        axes.plot(u, 2 * u**2, color="0.75", linewidth=5, label="the right answers", zorder=1)
        axes.scatter(
            *points.T, s=7, color="tab:red", label=f"answers to {len(points)} heights", zorder=2
        )
        distance = s["figures"][f"{kind}_distance"]
        axes.set(
            title=f"{title}: {distance:.3f} from the U (seed {s['seed']})",
            xlabel="x",
            ylabel="height, given",
        )
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0.98))
        axes.set_ylim(-0.15, 2.6)


CLAIM = Claim(
    name="mse-is-blurry",
    paper="Ledig et al., 2017, arXiv:1609.04802",
    section="Figure 3",
    sentence="The answer of least mean squared error is the average of all right answers and lies off the manifold of real "
    "ones (in pictures: blur); an adversarial loss draws the answer onto the manifold.",
    experiment=experiment,
    experiment_in_words="Points of a U in the plane, (u, 2 u^2) with u uniform in [-1, 1]. Two networks of one size are "
    "told a point's height and answer with a point: one by the mean squared error, one, given noise too, as the generator "
    f"of a conditional GAN. Both train for {STEPS:,} steps of {BATCH} fresh points in one run of the engine; then "
    f"{TESTED:,} new heights are asked and the answers' distances to the U are measured. Averaged weights, learning rates "
    "that fall to zero.",
    checks=[
        Check(
            "mse_over_average",
            ">=",
            0.9,
            "the average of the right answers, (0, height), has a distance in closed form: a mean of 0.43. The regression is "
            "to be there within 10%, which is more than a small network's error.",
        ),
        Check(
            "mse_over_average",
            "<=",
            1.1,
            "and not farther off, which would be bad training and not averaging.",
        ),
        Check(
            "gan_distance",
            "<=",
            0.05,
            "one fortieth of the U's width and height of 2, and a ninth of what the average has: what one sees as on the "
            "line.",
        ),
        Check(
            "gan_to_right_answer",
            "<=",
            0.1,
            "anything on the U would pass the bound above; the answer is to be the point of the height that was asked. "
            "Twice as wide, as an error along the line comes on top.",
        ),
    ],
    paper_figures={},
    plot=plot,
    figures_in_words={
        "mse_distance": f"mean distance to the U, regression, {TESTED:,} answers",
        "gan_distance": f"mean distance to the U, conditional GAN, {TESTED:,} answers, the few between the branches included "
        "(a continuous map of noise must cross from one to the other)",
        "mse_over_average": "distance of the regression's answers over that of the average of the right ones",
        "gan_to_right_answer": "mean distance of the GAN's answers to the nearer of the two points of the height asked",
        "gan_rarer_branch": "share of the GAN's answers on its rarer branch (0.5: both alike)",
    },
    minutes=1.0,
)
