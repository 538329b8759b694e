"""A discriminator trained to its optimum measures the Jensen-Shannon divergence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.objectives.adversarial import bce

BATCH, STEPS = 512, 1000
TESTED = 100_000  # fresh samples of either side, for the value
OFFSETS = (0.0, 1.0, 2.5)  # of the fakes' mean, for the pairs beside "the same law"
GRID = torch.linspace(-8, 10, 3601, dtype=torch.float64)  # holds all mass but 1e-10


def real(n: int) -> Tensor:
    """Two bumps: half N(-1.5, 0.5^2), half N(1.5, 0.8^2). [n, 1]"""
    first = torch.rand(n, 1) < 0.5
    return torch.where(first, -1.5 + 0.5 * torch.randn(n, 1), 1.5 + 0.8 * torch.randn(n, 1))


def fake(n: int, offset: float | None) -> Tensor:
    """N(offset, 1.2^2); None: the reals' own law. [n, 1]"""
    return real(n) if offset is None else offset + 1.2 * torch.randn(n, 1)


def bell(x: Tensor, mean: float, deviation: float) -> Tensor:
    return torch.exp(-(((x - mean) / deviation) ** 2) / 2) / deviation / math.sqrt(2 * math.pi)


def densities(offset: float | None) -> tuple[Tensor, Tensor]:
    """P and q on GRID."""
    p = (bell(GRID, -1.5, 0.5) + bell(GRID, 1.5, 0.8)) / 2
    return p, p if offset is None else bell(GRID, offset, 1.2)


def jsd(p: Tensor, q: Tensor) -> float:
    """Jensen-Shannon divergence in nats, by the trapezoidal rule."""
    m = ((p + q) / 2).clamp_min(1e-300)  # 0 / 0 far out
    return (
        float(torch.trapezoid(torch.special.xlogy(p, p / m) + torch.special.xlogy(q, q / m), GRID))
        / 2
    )


def trained(offset: float | None) -> nn.Module:
    """A discriminator (logits) that has descended equation 1's negative on fresh samples, the generator standing still."""
    D = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    adam = Adam(D.parameters(), lr=5e-3)
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, STEPS)
    for _ in range(STEPS):
        loss = bce(D(real(BATCH)), True) + bce(D(fake(BATCH, offset)), False)
        adam.zero_grad()
        loss.backward()
        adam.step()
        falling.step()
    return D


def experiment(seed: int) -> Finding:
    torch.manual_seed(seed)
    pairs = []
    for offset in (None, *OFFSETS):
        D = trained(offset)
        p, q = densities(offset)
        with torch.no_grad():
            value = -float(bce(D(real(TESTED)), True) + bce(D(fake(TESTED, offset)), False))
            output = D(GRID.float()[:, None]).sigmoid()[:, 0].double()
        optimum = p / (p + q)
        error = float(torch.trapezoid((output - optimum).abs() * (p + q) / 2, GRID))
        pairs.append(
            {
                "offset": offset,
                "value": value,
                "theory": 2 * jsd(p, q) - 2 * math.log(2),
                "error": error,
            }
        )
        pairs[-1] |= {
            k: v[::20] for k, v in {"p": p, "q": q, "output": output, "optimum": optimum}.items()
        }
    return Finding(
        figures={
            "value_error": max(abs(x["value"] / x["theory"] - 1) for x in pairs),
            "output_error": max(x["error"] for x in pairs),
            "value_same_law": pairs[0]["value"],
            "jsd_error": max(abs(x["value"] - x["theory"]) / 2 for x in pairs),
        },
        series={"x": GRID[::20], "pairs": pairs},
    )


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    axes, s = figure.subplots(2, 4, sharex=True, sharey="row"), seeds[0]["series"]
    for (above, below), pair in zip(axes.T, s["pairs"]):
        x = np.array(s["x"])
        same = pair["offset"] is None
        above.fill_between(x, pair["p"], color="tab:blue", alpha=0.35, linewidth=0, label="real, p")
        above.fill_between(
            x, pair["q"], color="tab:orange", alpha=0.35, linewidth=0, label="fake, q"
        )
        title = "q = p" if same else f"q centred at {pair['offset']:g}"
        above.set_title(
            f"{title}\nvalue {pair['value']:.3f}, theory {pair['theory']:.3f}", fontsize=9.5
        )
        told = np.array(pair["p"]) + pair["q"] > 2e-3  # elsewhere D has seen nothing and is free
        below.plot(x, pair["optimum"], color="0.7", linewidth=4, label="p / (p + q)")
        below.plot(x, pair["output"], color="tab:red", linewidth=0.8, linestyle=":")
        below.plot(
            x[told],
            np.array(pair["output"])[told],
            color="tab:red",
            linewidth=1.3,
            label="trained D",
        )
        below.set(xlabel="x", xlim=(-5, 6), ylim=(-0.05, 1.3))
    for row, name in ((axes[0], "density"), (axes[1], "D(x)")):
        row[0].set_ylabel(name)
        row[0].legend(
            frameon=False, fontsize=8, loc="upper right", ncols=2 if name == "D(x)" else 1
        )
    axes[1][1].text(
        0.98,
        0.97,
        "dotted: no samples there",
        transform=axes[1][1].transAxes,
        ha="right",
        va="top",
        size=8,
    )


CLAIM = Claim(
    name="optimal-discriminator",
    paper="Goodfellow et al., 2014, arXiv:1406.2661",
    section="Section 4.1, proposition 1 and theorem 1",
    sentence="Against a generator that stands still the best discriminator is p / (p + q), and its value is "
    "2 JSD(p, q) - 2 log 2: the least, -log 4, where the generator has the data's law.",
    experiment=experiment,
    experiment_in_words="p is a mixture of two Gaussians on the line, q the same law or one Gaussian at three places. A small "
    f"perceptron maximises equation 1 for each pair, {STEPS:,} steps of {BATCH:,} fresh samples of either side. Its value is "
    f"taken from {TESTED:,} new samples of either side; the divergence and p / (p + q) come from the densities, by an integral "
    "done numerically.",
    checks=[
        Check(
            "value_error",
            "<=",
            0.02,
            "worst of the four pairs. Sampling moves the value by about 0.3%; a discriminator of constant 1/2, which has "
            "learned nothing, is off by more than 10% for every pair but the first.",
        ),
        Check(
            "output_error",
            "<=",
            0.02,
            "worst of the four pairs: two hundredths of the output's whole range, averaged where the samples are. The value "
            "hardly feels an error of the output (it is at its maximum), so this is the sharper of the two.",
        ),
    ],
    paper_figures={"the value where q = p": "-log 4 = -1.386", "D where q = p": "1/2"},
    plot=plot,
    figures_in_words={
        "value_error": f"|value / (2 JSD - 2 log 2) - 1|, worst of four pairs, {TESTED:,} samples of either side",
        "output_error": "mean |D - p / (p + q)| under (p + q) / 2, worst of four pairs",
        "value_same_law": "the value where q = p (theory: -1.386)",
        "jsd_error": "what that makes in the divergence itself, nats, worst of four pairs",
    },
    minutes=0.7,
)
