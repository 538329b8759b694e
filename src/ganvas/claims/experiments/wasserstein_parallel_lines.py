"""Two parallel lines: the Jensen-Shannon divergence says nothing of how far apart they are, the Wasserstein distance does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.objectives.adversarial import bce

THETAS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)
BATCH, STEPS = 128, 600
TESTED = 4096  # samples of either line
CLOUD, CLOUD_STEPS = 256, 1000  # points of either 2-D set
PENALTY = (
    100.0  # a critic under it may overshoot by W / (2 * PENALTY): half a percent of W for W = 1
)


class Networks(nn.Module):
    """`count` perceptrons side by side, 2-64-64-1. Points [count * n, 2] -> scores [count * n]: the k-th n of them are the
    k-th network's. What seven networks learn of seven distances costs little more than one that way.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        sizes = list(pairwise((2, 64, 64, 1)))
        self.weights = nn.ParameterList(
            [(2 * torch.rand(count, a, b) - 1) / a**0.5 for a, b in sizes]
        )
        self.biases = nn.ParameterList(
            [(2 * torch.rand(count, 1, b) - 1) / a**0.5 for a, b in sizes]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(0, (len(self.weights[0]), -1))
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(bias, F.silu(x) if i else x, weight)
        return x.flatten()


def lines(n: int, thetas: Tensor) -> Tensor:
    """Example 1: n points (theta, z), z uniform in [0, 1], of each theta. [len(thetas) * n, 2]"""
    z = torch.rand(len(thetas) * n, 1)
    return torch.cat([thetas.repeat_interleave(n)[:, None], z], 1)


def d_loss(D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Of the GAN of 2014. At its least, 2 log 2 - 2 JSD."""
    return bce(D(real), True) + bce(D(fake), False)


def critic_loss(f: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Equation 2 of the paper with a minus. A 1-Lipschitz f is one with no slope above 1: such slopes between reals and
    fakes are punished, as in WGAN-GP but from one side (arXiv:1709.08894). At its least, -W up to what slips through.
    """
    share = torch.rand(len(real), 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(f(between).sum(), between, create_graph=True)
    too_steep = F.relu(gradient.norm(dim=1) - 1)
    return f(fake).mean() - f(real).mean() + PENALTY * too_steep.square().mean()


def trained(
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor],
    pair: Callable[[], tuple[Tensor, Tensor]],
    count: int,
    steps: int,
) -> nn.Module:
    """Networks that have descended loss(networks, real, fake) on the samples that `pair` draws."""
    networks = Networks(count)
    adam = Adam(networks.parameters(), lr=1e-2, betas=(0.9, 0.99))
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, steps)
    for _ in range(steps):
        value = loss(networks, *pair())
        adam.zero_grad()
        value.backward()
        adam.step()
        falling.step()
    return networks


def on_lines() -> dict[str, Tensor]:
    """For each theta both distances between the lines at 0 and at theta, as trained networks see them, and what of each
    arrives at theta as a gradient.
    """
    thetas = torch.tensor(THETAS)
    count, zero = len(thetas), torch.zeros(len(thetas))
    D, f = (
        trained(loss, lambda: (lines(BATCH, zero), lines(BATCH, thetas)), count, STEPS)
        for loss in (d_loss, critic_loss)
    )
    moved = thetas.clone().requires_grad_()
    real, fake = lines(TESTED, zero), lines(TESTED, moved)
    jsd = (
        math.log(2)
        - (F.softplus(-D(real)) + F.softplus(D(fake))).unflatten(0, (count, -1)).mean(1) / 2
    )
    w = (f(real) - f(fake)).unflatten(0, (count, -1)).mean(1)
    gradients = [torch.autograd.grad(x.sum(), moved)[0] for x in (jsd, w)]
    return dict(
        zip(
            ("theta", "jsd", "w", "jsd_gradient", "w_gradient"),
            (thetas, jsd.detach(), w.detach(), *gradients),
        )
    )


def on_clouds() -> tuple[float, float]:
    """The critic's estimate and the exact distance between two fixed sets of points of the plane: eight bumps on a ring of
    radius 2, and a single one in its middle.
    """
    angle = torch.randint(8, (CLOUD,)) * (math.pi / 4)
    ring = 2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.2 * torch.randn(CLOUD, 2)
    middle = 0.5 * torch.randn(CLOUD, 2)
    f = trained(critic_loss, lambda: (ring, middle[torch.randperm(CLOUD)]), 1, CLOUD_STEPS)
    with torch.no_grad():
        estimate = float(f(ring).mean() - f(middle).mean())
    costs = torch.cdist(ring, middle).double().numpy()
    return estimate, float(costs[linear_sum_assignment(costs)].mean())


def experiment(seed: int) -> Finding:
    torch.manual_seed(seed)
    found = on_lines()
    estimate, exact = on_clouds()
    theta, jsd, w, jsd_gradient, w_gradient = (x[found["theta"] != 0] for x in found.values())
    (same,) = (found["theta"] == 0).nonzero()[0].tolist()
    return Finding(
        figures={
            "jsd_error": float((jsd / math.log(2) - 1).abs().max()),
            "jsd_gradient": float(jsd_gradient.abs().max()),
            "w_error": float((w / theta.abs() - 1).abs().max()),
            "w_gradient_error": float((w_gradient * theta.sign() - 1).abs().max()),
            "jsd_at_0": float(found["jsd"][same]),
            "w_at_0": float(found["w"][same]),
            "cloud_error": abs(estimate / exact - 1),
            "cloud_critic": estimate,
            "cloud_exact": exact,
        },
        series=found,
    )


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    left, middle, right = figure.subplots(1, 3)
    for i, seed in enumerate(seeds):
        s = seed["series"]
        label = "trained networks, each seed" if i == 0 else None
        left.plot(s["theta"], s["w"], "o", color="tab:green", alpha=0.6, label=label, zorder=3)
        middle.plot(s["theta"], s["jsd"], "o", color="tab:red", alpha=0.6, label=label, zorder=3)
        exact, critic = (seed["figures"][k] for k in ("cloud_exact", "cloud_critic"))
        right.plot(exact, critic, "o", color="tab:green", label=label)
    x = np.linspace(-1.1, 1.1, 221)
    left.plot(x, np.abs(x), color="0.7", label="theory: |theta|")
    left.set(
        title="two lines: critic's estimate of W", xlabel="theta", ylabel="W", ylim=(-0.05, 1.45)
    )
    middle.plot(
        x[x != 0], np.full(220, math.log(2)), color="0.7", label="theory: log 2, and 0 at 0"
    )
    middle.plot(0, 0, "o", markerfacecolor="white", markeredgecolor="0.5", markersize=10)
    middle.set(
        title="two lines: discriminator's JSD",
        xlabel="theta",
        ylabel="JSD, nats",
        ylim=(-0.05, 1.0),
    )
    figures = [s["figures"] for s in seeds]
    ends = [
        min(f["cloud_exact"] for f in figures) - 0.1,
        max(f["cloud_exact"] for f in figures) + 0.1,
    ]
    right.fill_between(
        ends, np.multiply(ends, 0.95), np.multiply(ends, 1.05), color="0.92", label="within 5%"
    )
    right.plot(ends, ends, color="0.7", label="equal")
    right.set(
        title="two sets in the plane",
        xlabel="W by exact optimal transport",
        ylabel="critic's estimate of W",
    )
    for axes in (left, middle, right):
        axes.legend(
            frameon=False, fontsize=8.5, loc="upper left" if axes is right else "upper center"
        )


CLAIM = Claim(
    name="wasserstein-parallel-lines",
    paper="Arjovsky et al., 2017, arXiv:1701.07875",
    section="Example 1 and figure 1",
    sentence="Between two parallel lines at a distance theta the Jensen-Shannon divergence is log 2 whatever theta is and has "
    "no gradient, while the Wasserstein distance is |theta|: a critic can lead the generator, a discriminator cannot.",
    experiment=experiment,
    experiment_in_words=f"For theta in {', '.join(f'{t:g}' for t in THETAS)} a discriminator (the loss of 2014) and a critic "
    f"(slopes above 1 punished, weight {PENALTY:g}) of one size learn to tell (0, z) from (theta, z), z uniform: {STEPS:,} "
    f"steps of {BATCH} fresh samples. {TESTED:,} new samples give both estimates and their derivatives by theta. Then a critic "
    f"learns {CLOUD} fixed points of a ring of eight bumps against {CLOUD} of one bump in the middle, and its estimate is held "
    "against the optimal assignment of the same points, which is their exact distance.",
    checks=[
        Check(
            "jsd_error",
            "<=",
            0.02,
            "relative to log 2, worst of the six theta that are not 0: 2%, as for any discriminator.",
        ),
        Check(
            "jsd_gradient",
            "<=",
            0.05,
            "zero means a twentieth, at most, of the critic's gradient of 1: what the discriminator still gives at a finite "
            "length of training.",
        ),
        Check(
            "w_error",
            "<=",
            0.05,
            "relative to |theta|, worst of six: ten times what the penalty lets through.",
        ),
        Check(
            "w_gradient_error",
            "<=",
            0.05,
            "relative to 1, the derivative of |theta|; with its sign: which way to go.",
        ),
        Check(
            "cloud_error",
            "<=",
            0.05,
            "relative to exact optimal transport: the same 5% as on the lines. A "
            "two-sided penalty, tried first, was off by 8% (weight 10) to 54% (weight 100): it demands the slope 1 also "
            "where the best critic has none. The penalty was changed for it, the bound was not.",
        ),
    ],
    paper_figures={"JSD for every theta but 0": "log 2 = 0.693", "W": "|theta|"},
    plot=plot,
    figures_in_words={
        "jsd_error": f"|JSD / log 2 - 1| by the discriminator, worst of six theta, {TESTED:,} samples of either side",
        "jsd_gradient": "largest |d JSD / d theta| through the discriminator, six theta",
        "w_error": f"|W / |theta| - 1| by the critic, worst of six theta, {TESTED:,} samples of either side",
        "w_gradient_error": "largest difference of d W / d |theta| from 1 through the critic, six theta",
        "jsd_at_0": "the discriminator's JSD at theta = 0",
        "w_at_0": "the critic's W at theta = 0",
        "cloud_error": f"|critic / exact - 1|, {CLOUD} points against {CLOUD} in the plane, the critic's own points",
        "cloud_critic": "the critic's W between the two sets",
        "cloud_exact": "their W by the optimal assignment (scipy)",
    },
    minutes=1.0,
)
