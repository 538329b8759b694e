"""Trainings of a length in minutes."""

from pathlib import Path

import pytest
from toys import SMALL, toy_images, toy_run

import ganvas
from ganvas.core.errors import UserError
from ganvas.engine.run_dir import read_record
from ganvas.training import benchmark


def test_minutes_become_images_by_the_measured_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each step of 8 images takes a second of a clock that only steps move."""
    monkeypatch.setattr(benchmark, "_timed", lambda step, _: (step(), 1.0)[1])
    photos = toy_images(tmp_path / "photos")
    ganvas.train("dcgan", photos, out=tmp_path / "run", minutes=1, set=SMALL["dcgan"])
    record = read_record(tmp_path / "run")
    assert record["images"] == int(0.9 * 60 * 8)
    assert (tmp_path / "run" / "checkpoints" / f"{432:09d}").is_dir()


def test_ranks_agree_on_the_time_after_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A rank that took one step more than another would wait for it for ever."""
    steps = []
    monkeypatch.setattr(benchmark, "_timed", lambda step, _: (steps.append(step()), 1.0)[1])
    told = []
    monkeypatch.setattr(benchmark.distributed, "all_reduce_max_", told.append)
    run = toy_run("dcgan", toy_images(tmp_path / "photos"))
    benchmark.images_within(run, run.data(), "cpu", 1)
    assert len(steps) == len(told) == 3


@pytest.mark.parametrize(("minutes", "images"), [(0, None), (float("nan"), None), (1, 8)])
def test_impossible_lengths_are_refused(tmp_path: Path, minutes: float, images: int | None):
    out = tmp_path / "run"
    with pytest.raises(UserError, match="one of the two lengths" if images else "above 0"):
        ganvas.train("dcgan", "digits", out=out, minutes=minutes, images=images)
    assert not out.exists()
