"""R3GAN's schedules, as they arrive at the optimizer, the loss and the averages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toys import toy_data, toy_run

from ganvas.core import Clock
from ganvas.core.schedules import Cosine, GrowingHalfLife
from ganvas.engine.engine import Engine


def test_cosine() -> None:
    falls = Cosine(0.05, 0.005, 100)
    assert [falls(Clock(images=i)) for i in (0, 50, 100, 900)] == pytest.approx(
        [0.05, 0.0275, 0.005, 0.005]
    )
    assert falls(Clock(images=25)) == pytest.approx(0.005 + 0.045 * (1 + 0.5**0.5) / 2)


def test_growing_half_life() -> None:
    grows = GrowingHalfLife(Cosine(0.0, 50.0, 100))
    assert grows(Clock(images=0), 16) == 0.0, "nothing is remembered at first"
    assert grows(Clock(images=200), 50) == 0.5


def test_beta2_and_gamma_follow_the_clock(tmp_path: Path) -> None:
    """Two batches of 8 per step move every schedule: rate and penalty fall.

    The rate falls to a quarter and the penalty to a tenth."""
    run = toy_run(
        "r3gan",
        toy_data("r3gan", tmp_path / "data"),
        "gamma.images=32",
        "lr.images=32",
        "beta2.images=32",
    )
    engine = Engine(run, run.data())
    seen = []
    for _ in range(3):
        engine.step()
        group = engine.optim["D"].param_groups[0]
        seen.append((group["lr"], group["betas"]))
    rates, betas = zip(*seen, strict=True)
    assert rates == pytest.approx((2e-4, 1.25e-4, 5e-5))
    assert [b[1] for b in betas] == pytest.approx([0.9, 0.945, 0.99])
    assert {b[0] for b in betas} == {0.0}
    heavy = Engine(replace(run, seed=1), run.data())
    light = Engine(replace(run, seed=1, method=_without_penalty(run)), run.data())
    heavy_log, light_log = heavy.step(), light.step()
    penalties = float(heavy_log["D/r1"] + heavy_log["D/r2"])
    assert float(heavy_log["D/loss"] - light_log["D/loss"]) == pytest.approx(
        0.05 / 2 * penalties, rel=1e-3
    )


def _without_penalty(run):
    method = run.method
    return type(method)(
        method.func, *method.args, **{**method.keywords, "gamma": Cosine(0.0, 0.0, 1)}
    )
