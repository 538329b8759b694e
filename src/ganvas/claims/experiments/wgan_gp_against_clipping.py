"""WGAN-GP, section 3: what weight clipping does to a critic, and a penalty does not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache, partial
from itertools import pairwise
from types import SimpleNamespace
from typing import final

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Batch, Clock, Method, Plan, Run, Shape, Terms, Update, rng
from ganvas.core.schedules import LinearDecay
from ganvas.data.toy import GRID_SIGMA, draw_mixture, gaussian_grid
from ganvas.objectives.penalties import clip_weights, gradient_penalty

POINTS, STEPS = 512, 4000
SHALLOW, DEEP = 3, 12  # layers; the deep critic is the paper's
LIMITS = (0.1, 0.01, 0.001)  # of clipped weights, the paper's


@cache
def pair(seed: int) -> tuple[Tensor, Tensor]:
    """Points [n, 2] of 25 Gaussians, and others with noise of deviation 1."""
    x, y = (
        draw_mixture(gaussian_grid(), GRID_SIGMA, POINTS, rng.fold_in(seed, side))
        for side in ("real", "fake")
    )
    generator = torch.Generator().manual_seed(rng.fold_in(seed, "noise"))
    return x, y + torch.randn(y.shape, generator=generator)


@cache
def transport(seed: int) -> float:
    """The exact Wasserstein distance between the two sets."""
    costs = torch.cdist(*pair(seed)).double().numpy()
    return float(costs[linear_sum_assignment(costs)].mean())


class Pair:
    """A feed that always draws the same two sets, `x` and `fake`."""

    info = SimpleNamespace(shape=Shape(channels=2, height=1, width=1))

    def draw(self, cursor: int, n: int, *, seed: int, **options: object) -> Batch:
        """The two sets of a seed, whatever the cursor and n."""
        x, fake = pair(seed)
        return Batch(x=x, fake=fake)


@final
class Critic(Method):
    """The critic's half of a Wasserstein GAN, against fixed generated points.

    clip: limit of the weights, which are clipped before each step; None: a gradient
        penalty of weight 10 instead
    """

    ema_networks = ("D",)

    def __init__(self, shape: Shape, layers: int, clip: float | None, width: int = 128) -> None:
        super().__init__()
        sizes = [2, *[width] * (layers - 1)]
        blocks = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes)]
        self.D = nn.Sequential(*blocks, nn.Linear(width, 1))
        for m in self.D.modules():
            if isinstance(m, nn.Linear):
                nn.init.kaiming_normal_(m.weight)
        self.clip = clip
        self.players = {"D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One update of D, after its weights are clipped if `clip` is set."""
        if self.clip is not None:
            clip_weights(self.D, self.clip)
        yield Update("D", self.loss, next(batches))

    def loss(self, batch: Batch) -> Terms:
        """The negative estimate, plus the penalty if nothing is clipped."""
        estimate = self.D(batch.x).mean() - self.D(batch.fake).mean()
        penalty = 0.0 if self.clip else 10 * gradient_penalty(self.D, batch.x, batch.fake)
        return Terms(penalty - estimate)


def run(layers: int, clip: float | None) -> Run:
    """A critic trained to convergence."""
    return Run(
        method=partial(Critic, layers=layers, clip=clip),
        data=Pair,
        optim={"D": partial(Adam, lr=1e-3, betas=(0.5, 0.9))},
        batch=POINTS,
        images=STEPS * POINTS,
        lr=LinearDecay(start=STEPS * POINTS // 2, end=STEPS * POINTS),
    )


def measure(trained: Trained) -> dict[str, float]:
    """Tightness of the estimate, weights at the limit, decades of the gradients."""
    D, limit = trained.model.D, trained.model.clip
    weights = torch.cat([w.detach().flatten().abs() for w in D.parameters()])
    norms = layer_gradients(trained)
    return {
        "tightness": tightness(trained),
        "at_limit": float((weights >= 0.99 * (limit or weights.max())).float().mean()),
        "decades": abs(math.log10(max(norms[0], 1e-30) / max(norms[-1], 1e-30))),
    }


def tightness(trained: Trained) -> float:
    """The estimate, with the critic scaled to a largest slope of 1, over exact W."""
    real, fake = pair(trained.seed)
    D = trained.model.D.double()
    share = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None, None]
    between = (share * real + (1 - share) * fake).flatten(0, 1).requires_grad_()
    (slopes,) = torch.autograd.grad(D(between).sum(), between)
    estimate = (D(real.double()).mean() - D(fake.double()).mean()).item()
    D.float()
    largest = max(float(slopes.norm(dim=1).max()), 1e-300)  # 0 for a critic that is constant
    return estimate / largest / transport(trained.seed)


def layer_gradients(trained: Trained) -> list[float]:
    """Norm of the estimate's gradient by each layer's output, from the first."""
    D = trained.model.D.double()
    outputs, x = [], torch.cat(pair(trained.seed)).double()
    for layer in D[:-1]:
        x = layer(x).detach().requires_grad_() if not outputs else layer(x)
        x.retain_grad()
        outputs.append(x)
    real, fake = D[-1](x).chunk(2)
    (real.mean() - fake.mean()).backward()
    D.float()
    return [float(h.grad.norm()) for h in outputs]


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """All measures, and how much tighter the estimate under the penalty is."""
    penalty, clipped = (
        max(arms[name]["tightness"], arms[f"deep_{name}"]["tightness"])
        for name in ("penalty", "clipped")
    )
    return flat(arms) | {"penalty_over_clipped": penalty / clipped}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "penalty": run(SHALLOW, None),
            "clipped": [run(SHALLOW, limit) for limit in LIMITS],
            "deep_penalty": run(DEEP, None),
            "deep_clipped": [run(DEEP, limit) for limit in LIMITS],
        },
        controls=["clipped", "deep_clipped"],
        measure=measure,
        figures=figures,
        series=lambda trained: {
            "layer": list(range(1, len(trained.model.D))),
            "gradient": layer_gradients(trained),
        },
        rank=lambda found: -found["tightness"],
    ),
    plot=plots.curves(
        {("deep_penalty", "gradient"): "penalty", ("deep_clipped", "gradient"): "clipped"},
        labels=["gradient norm"],
        x="layer",
        log=True,
    ),
)
