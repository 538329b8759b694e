"""Whether two implementations' losses belong to the same step."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn


def _peers() -> Any:
    spec = importlib.util.spec_from_file_location(
        "peers", Path(__file__).parents[2] / "bench" / "peers.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


peers = _peers()
HALF, TOLERANCE, compared, disagreements = (
    peers.HALF,
    peers.TOLERANCE,
    peers.compared,
    peers.disagreements,
)
Losses = dict[str, dict[str, float]]


def step(dtype: torch.dtype, order: int, rate: float = 2e-3) -> dict[str, float]:
    """The loss after Adam's first update, which follows the signs of the gradients.

    Rounding turns some of the signs. order: 1 or -1, the order of the sums"""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(256, 40, generator=g).to(dtype)
    x = x if order > 0 else x.flip(0)
    net = nn.Sequential(nn.Linear(40, 300), nn.Tanh(), nn.Linear(300, 1)).to(dtype)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=g) / 6)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    nn.functional.softplus(net(x)).mean().backward()
    optimizer.step()
    return {"loss": nn.functional.softplus(net(x)).mean().item()}


def test_rounding_is_no_disagreement_and_another_step_is() -> None:
    def reasons(rate: float) -> list[str]:
        fp32, exact = (
            {"reference": step(dtype, 1), "ganvas": step(dtype, -1, rate)}
            for dtype in (torch.float32, torch.float64)
        )
        return disagreements(compared(fp32, TOLERANCE["fp32"], exact))

    assert reasons(2e-3) == []
    assert any("in float64: the steps differ" in reason for reason in reasons(2e-3 * (1 + 1e-4)))


def test_the_tolerance_is_the_rounding_of_this_processor() -> None:
    """A processor whose fp32 differs by more than a tolerance that fits others."""
    exact: Losses = {"reference": {"G": 5.25}, "ganvas": {"G": 5.25 * (1 + 1e-14)}}
    fp32: Losses = {"reference": {"G": 5.25 * (1 + 6e-6)}, "ganvas": {"G": 5.25 * (1 - 9e-6)}}
    found = compared(fp32, TOLERANCE["fp32"], exact)
    assert found["G"]["difference"] == pytest.approx(1.5e-5, rel=1e-3)
    assert found["G"]["difference"] > TOLERANCE["fp32"]
    assert found["G"]["allowed"] == pytest.approx(1.5e-5 + HALF["float64"], rel=1e-3)
    assert disagreements(found) == []
    (reason,) = disagreements(
        compared(fp32, TOLERANCE["fp32"])
    )  # without float64 the tolerance decides
    assert reason == "G differs by 1.5e-05, and 1e-05 is allowed"


def test_a_lower_precision_is_recognized() -> None:
    exact: Losses = {side: {"G": 1.0} for side in ("reference", "ganvas")}
    fp32: Losses = {"reference": {"G": 1 + 1e-6}, "ganvas": {"G": 1 + 2e-3}}
    (reason,) = disagreements(compared(fp32, TOLERANCE["fp32"], exact))
    assert reason == "G of ganvas is 0.002 from its own float64: this is no fp32"


def test_losses_that_are_no_numbers_disagree() -> None:
    nan: Losses = {"reference": {"G": float("nan")}, "ganvas": {"G": float("nan")}}
    assert disagreements(compared(nan, TOLERANCE["fp32"]))
    assert disagreements(compared(nan, TOLERANCE["fp32"], nan))
