"""WGAN's algorithm: phases of the critic, and weights clipped before its steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import toy_data, toy_run

from ganvas.engine.engine import Engine


def test_the_critics_phases_and_clipped_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy_run(
        "wgan",
        toy_data("wgan", tmp_path / "data"),
        "long=4",
        "first=2",
        "every=3",
        "n_critic=1",
        "clip=0.02",
    )
    engine = Engine(run, run.data())
    turns: list[str] = []
    plain = engine.apply

    def watched(update):
        turns.append(update.player)
        if update.player == "D":
            assert all(w.abs().max() <= 0.02 for w in engine.parameters["D"])
        return plain(update)

    monkeypatch.setattr(engine, "apply", watched)
    for _ in range(5):
        engine.step()
    long, short = "DDDDG", "DG"
    assert "".join(turns) == long + long + short + long + short
    assert max(float(w.abs().max()) for w in engine.parameters["D"]) < 0.03, (
        "one step from where they were clipped"
    )
