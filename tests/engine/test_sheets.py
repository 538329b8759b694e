"""When sample grids are written; a stopped run and an uninterrupted one write the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from PIL import Image
from toys import toy_images

from ganvas.engine.engine import Engine
from ganvas.training import probe, snapshot
from ganvas.training.trainer import resume, train

SMALL = ["G.width=4", "D.width=4"]


def pixels(file: Path) -> bytes:
    with Image.open(file) as image:
        return image.tobytes()


def shown(run: Path) -> dict[str, bytes]:
    return {p.name: pixels(p) for p in sorted((run / "samples").iterdir())} | {
        "curve": (run / "measures.jsonl").read_bytes()
    }


def test_sample_grids_start_early_and_a_stop_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the first tick of the run and at it."""
    data = toy_images(tmp_path / "data")
    monkeypatch.setattr(snapshot, "SNAPSHOT_INTERVAL", 8)
    measured = lambda self, engine, model: {"frechet": float(engine.clock.images)}  # noqa: E731
    monkeypatch.setattr(probe.Probe, "measure", measured)
    told = {"size": 16, "batch": 8, "images": 480, "device": "cpu", "set": SMALL}
    train("dcgan", str(data), out=tmp_path / "whole", **told)
    counts = [
        8,
        16,
        *range(24, 481, 24),
    ]  # doubling up to the first tick, a twentieth of the run; then at every tick
    assert list(shown(tmp_path / "whole")) == [*(f"{n:09d}.png" for n in counts), "curve"]

    step, stops = Engine.step, [16, 24]

    def interrupted(self: Engine) -> object:
        log = step(self)
        if self.clock.images in stops:
            stops.remove(self.clock.images)
            os.kill(os.getpid(), signal.SIGINT)
        return log

    monkeypatch.setattr(Engine, "step", interrupted)
    with pytest.raises(SystemExit):
        train("dcgan", str(data), out=tmp_path / "stopped", **told)
    with pytest.raises(SystemExit):
        resume(tmp_path / "stopped", device="cpu")
    assert not stops
    monkeypatch.setattr(Engine, "step", step)
    resume(tmp_path / "stopped", device="cpu")
    assert shown(tmp_path / "stopped") == shown(tmp_path / "whole")
