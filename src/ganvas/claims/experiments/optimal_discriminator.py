"""GAN, section 4.1: the optimal discriminator, and its value 2 JSD - 2 log 2."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.objectives.adversarial import bce

BATCH, STEPS = 512, 1000
TESTED = 100_000  # new samples of p and of q, for the value
OFFSETS = (0.0, 1.0, 2.5)  # means of q; the fourth pair is q = p
GRID = torch.linspace(-8, 10, 3601, dtype=torch.float64)  # all mass but 1e-10


def real(n: int) -> Tensor:
    """Samples [n, 1] of p: half N(-1.5, 0.5^2), half N(1.5, 0.8^2)."""
    first = torch.rand(n, 1) < 0.5
    return torch.where(first, -1.5 + 0.5 * torch.randn(n, 1), 1.5 + 0.8 * torch.randn(n, 1))


def fake(n: int, offset: float | None) -> Tensor:
    """Samples [n, 1] of q = N(offset, 1.2^2); None: of q = p."""
    return real(n) if offset is None else offset + 1.2 * torch.randn(n, 1)


def bell(x: Tensor, mean: float, deviation: float) -> Tensor:
    """The density of a Gaussian."""
    return torch.exp(-(((x - mean) / deviation) ** 2) / 2) / deviation / math.sqrt(2 * math.pi)


def densities(offset: float | None) -> tuple[Tensor, Tensor]:
    """Values of p and q on `GRID`."""
    p = (bell(GRID, -1.5, 0.5) + bell(GRID, 1.5, 0.8)) / 2
    return p, p if offset is None else bell(GRID, offset, 1.2)


def jsd(p: Tensor, q: Tensor) -> float:
    """Jensen-Shannon divergence in nats, by the trapezoidal rule."""
    m = ((p + q) / 2).clamp_min(1e-300)  # 0 / 0 far out
    both = torch.special.xlogy(p, p / m) + torch.special.xlogy(q, q / m)
    return float(torch.trapezoid(both, GRID)) / 2


def untrained() -> nn.Module:
    """A perceptron with its initial weights."""
    return nn.Sequential(
        nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)
    )


def trained(offset: float | None) -> nn.Module:
    """A discriminator (logits) that maximizes equation 1 for a fixed generator."""
    D = untrained()
    adam = Adam(D.parameters(), lr=5e-3)
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, STEPS)
    for _ in range(STEPS):
        loss = bce(D(real(BATCH)), True) + bce(D(fake(BATCH, offset)), False)
        adam.zero_grad()
        loss.backward()
        adam.step()
        falling.step()
    return D


def _compared(D: nn.Module, offset: float | None) -> dict[str, Any]:
    """D's value and output beside the optimal ones, for one pair of distributions."""
    p, q = densities(offset)
    with torch.no_grad():
        value = -float(bce(D(real(TESTED)), True) + bce(D(fake(TESTED, offset)), False))
        output = D(GRID.float()[:, None]).sigmoid()[:, 0].double()
    optimum = p / (p + q)
    curves = {"p": p, "q": q, "output": output, "optimum": optimum}
    return {
        "offset": offset,
        "value": value,
        "theory": 2 * jsd(p, q) - 2 * math.log(2),
        "error": float(torch.trapezoid((output - optimum).abs() * (p + q) / 2, GRID)),
    } | {k: v[::20] for k, v in curves.items()}


def _errors(pairs: list[dict[str, Any]]) -> dict[str, float]:
    """The largest errors of value and output over the pairs."""
    return {
        "value_error": max(abs(x["value"] / x["theory"] - 1) for x in pairs),
        "output_error": max(x["error"] for x in pairs),
    }


def experiment(seed: int) -> Finding:
    """Compare trained discriminators and their values with the densities' integrals."""
    torch.manual_seed(seed)
    offsets = (None, *OFFSETS)
    pairs = [_compared(trained(offset), offset) for offset in offsets]
    constant = nn.Linear(1, 1)
    for weight in constant.parameters():
        nn.init.zeros_(weight)
    nulls = {"untrained": untrained(), "always 1/2": constant}
    return Finding(
        figures={
            **_errors(pairs),
            "value_same_law": pairs[0]["value"],
            "jsd_error": max(abs(x["value"] - x["theory"]) / 2 for x in pairs),
        },
        series={"x": GRID[::20], "pairs": pairs},
        nulls={name: _errors([_compared(D, o) for o in offsets]) for name, D in nulls.items()},
    )


def plot(figure: Figure, seeds: Seeds) -> None:
    """Densities above, the trained and the optimal D below, for the first seed."""
    axes, s = figure.subplots(2, 4, sharex=True, sharey="row"), seeds[0]["series"]
    for (above, below), pair in zip(axes.T, s["pairs"]):
        x = np.array(s["x"])
        same = pair["offset"] is None
        above.fill_between(x, pair["p"], color="tab:blue", alpha=0.35, linewidth=0, label="real, p")
        above.fill_between(
            x, pair["q"], color="tab:orange", alpha=0.35, linewidth=0, label="generated, q"
        )
        title = "q = p" if same else f"q centered at {pair['offset']:g}"
        above.set_title(f"{title}\nvalue {pair['value']:.3f}, theory {pair['theory']:.3f}", size=9)
        below.plot(x, pair["optimum"], color="0.7", linewidth=4, label="p / (p + q)")
        sampled = np.array(pair["p"]) + pair["q"] > 2e-3  # elsewhere D has seen no sample
        output = np.where(sampled, pair["output"], np.nan)
        below.plot(x, output, color="tab:red", label="trained D")
        below.set(xlabel="x", xlim=(-5, 6), ylim=(-0.05, 1.3))
    for row, name in ((axes[0], "density"), (axes[1], "D(x)")):
        row[0].set_ylabel(name)
        row[0].legend(fontsize="small", loc="upper right")


CLAIM = claim(__name__, experiment=experiment, plot=plot)
