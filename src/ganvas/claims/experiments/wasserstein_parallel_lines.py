"""Wasserstein GAN, example 1: distances between two parallel lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.objectives.adversarial import bce

THETAS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)
BATCH, STEPS = 128, 600
TESTED = 4096  # samples of each line
CLOUD, CLOUD_STEPS = 256, 1000  # points of each set in the plane
PENALTY = 100.0  # the estimate may exceed W by W / (2 PENALTY): half a percent of W = 1


class Networks(nn.Module):
    """`count` independent perceptrons, 2-64-64-1, computed together.

    Points [count n, 2] -> scores [count n]; the k-th n points are the k-th network's.
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
        """Map points [critics n, 2] to scores [critics n]."""
        x = x.unflatten(0, (len(self.weights[0]), -1))
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(bias, F.silu(x) if i else x, weight)
        return x.flatten()


def lines(n: int, thetas: Tensor) -> Tensor:
    """Points (theta, z), z uniform in [0, 1], n of each theta: [len(thetas) n, 2]."""
    z = torch.rand(len(thetas) * n, 1)
    return torch.cat([thetas.repeat_interleave(n)[:, None], z], 1)


def d_loss(D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss of 2014. Its minimum is 2 log 2 - 2 JSD."""
    return bce(D(real), True) + bce(D(fake), False)


def critic_loss(f: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The negative of equation 2, with a penalty in place of the Lipschitz constraint.

    The penalty is one-sided (arXiv:1709.08894): only slopes above 1 between real and
    generated points cost. The minimum is -W up to what the penalty admits.
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
    """Networks that minimize loss(networks, real, fake) on the samples of `pair`."""
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


def train_on_lines() -> tuple[nn.Module, nn.Module]:
    """Discriminators and critics between the line at 0 and those at THETAS."""
    thetas = torch.tensor(THETAS)
    zero = torch.zeros(len(thetas))
    D, f = (
        trained(loss, lambda: (lines(BATCH, zero), lines(BATCH, thetas)), len(thetas), STEPS)
        for loss in (d_loss, critic_loss)
    )
    return D, f


def on_lines(D: nn.Module, f: nn.Module) -> dict[str, Tensor]:
    """Both distances between the lines at 0 and at theta, by D and f.

    Also the gradients by theta that pass through the networks. All [len(THETAS)].
    """
    thetas = torch.tensor(THETAS)
    count, zero = len(thetas), torch.zeros(len(thetas))
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


def on_clouds() -> tuple[float, float, float]:
    """Estimate of the critic, exact distance of two sets, estimate without training.

    One set is a ring of eight Gaussians with radius 2, the other a Gaussian in its
    center.
    """
    angle = torch.randint(8, (CLOUD,)) * (math.pi / 4)
    ring = 2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.2 * torch.randn(CLOUD, 2)
    middle = 0.5 * torch.randn(CLOUD, 2)
    f = trained(critic_loss, lambda: (ring, middle[torch.randperm(CLOUD)]), 1, CLOUD_STEPS)
    with torch.no_grad():
        estimate = float(f(ring).mean() - f(middle).mean())
        initial = Networks(1)
        untrained = float(initial(ring).mean() - initial(middle).mean())
    costs = torch.cdist(ring, middle).double().numpy()
    return estimate, float(costs[linear_sum_assignment(costs)].mean()), untrained


def errors(found: dict[str, Tensor]) -> dict[str, float]:
    """The largest differences from theory over the theta that are not 0."""
    theta, jsd, w, jsd_gradient, w_gradient = (x[found["theta"] != 0] for x in found.values())
    return {
        "jsd_error": float((jsd / math.log(2) - 1).abs().max()),
        "jsd_gradient": float(jsd_gradient.abs().max()),
        "w_error": float((w / theta.abs() - 1).abs().max()),
        "w_gradient_error": float((w_gradient * theta.sign() - 1).abs().max()),
    }


def experiment(seed: int) -> Finding:
    """Compare the networks' estimates with |theta|, log 2 and exact transport."""
    torch.manual_seed(seed)
    found = on_lines(*train_on_lines())
    estimate, exact, untrained = on_clouds()
    count = len(THETAS)
    initial = errors(on_lines(Networks(count), Networks(count)))
    (same,) = (found["theta"] == 0).nonzero()[0].tolist()
    return Finding(
        figures={
            **errors(found),
            "jsd_at_0": float(found["jsd"][same]),
            "w_at_0": float(found["w"][same]),
            "cloud_error": abs(estimate / exact - 1),
            "cloud_critic": estimate,
            "cloud_exact": exact,
        },
        series=found,
        nulls={"untrained": {**initial, "cloud_error": abs(untrained / exact - 1)}},
    )


def plot(figure: Figure, seeds: Seeds) -> None:
    """Estimates of all seeds beside theory: two lines, and two sets in the plane."""
    left, middle, right = figure.subplots(1, 3)
    for s in seeds:
        label = "trained networks" if s is seeds[0] else None
        lines = s["series"]
        left.plot(lines["theta"], lines["w"], "o", color="C0", alpha=0.6, label=label)
        middle.plot(lines["theta"], lines["jsd"], "o", color="C0", alpha=0.6, label=label)
        exact, critic = s["figures"]["cloud_exact"], s["figures"]["cloud_critic"]
        right.plot(exact, critic, "o", color="C0", label=label)
        right.plot(exact, exact, "_", color="0.5", markersize=20)
    x = np.linspace(-1.1, 1.1, 221)
    left.plot(x, np.abs(x), color="0.7", label="theory: |theta|")
    middle.plot(x, np.full(221, math.log(2)), color="0.7", label="theory: log 2, 0 at theta = 0")
    left.set(title="two lines: critic", xlabel="theta", ylabel="W", ylim=(-0.05, 1.45))
    middle.set(
        title="two lines: discriminator", xlabel="theta", ylabel="JSD, nats", ylim=(-0.05, 1)
    )
    right.set(title="two point sets (dash: exact)", xlabel="exact W", ylabel="critic's W")
    for axes in (left, middle, right):
        axes.legend(fontsize="small", loc="upper center")


CLAIM = claim(__name__, experiment=experiment, plot=plot)
