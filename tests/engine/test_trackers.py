"""Experiment trackers: TensorBoard's files, and the calls that others get."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from toys import toy_images

from ganvas.core.errors import UserError
from ganvas.training import probe, snapshot
from ganvas.training.trainer import resume, train

SETTINGS: dict[str, Any] = {
    "size": 16,
    "batch": 8,
    "images": 48,
    "device": "cpu",
    "set": ["G.width=4", "D.width=4"],
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SNAPSHOT_INTERVAL", 24)
    monkeypatch.setattr(probe, "IMAGES", 16)
    monkeypatch.setattr(snapshot, "write_report", lambda run, **_: None)


def test_tensorboard_holds_the_log_and_the_sample_grids(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = tmp_path / "run"
    train("dcgan", toy_images(tmp_path / "data"), out=out, log="tensorboard", **SETTINGS)
    board = events.EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    scalars = board.Scalars("G/loss")
    assert [s.step for s in scalars if s.step in (8, 16)] == [8, 16]
    assert scalars[0].value == pytest.approx(log[0]["G/loss"], rel=1e-6)
    assert [s.step for s in board.Scalars("frechet")] == [24, 48]
    assert [s.step for s in board.Images("samples")] == [24, 48]


class FakeRun:
    """The functions of a run of wandb and trackio."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.finished = 0

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def finish(self) -> None:
        self.finished += 1


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_wandb_and_trackio_get_scalars_images_and_the_same_run_again(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, started = FakeRun(), []
    fake: Any = ModuleType(package)
    fake.init = lambda **settings: (started.append(settings), run)[1]
    fake.Image = lambda image: ("image", image.size, image.mode)
    monkeypatch.setitem(sys.modules, package, fake)
    out = tmp_path / "run"
    train("dcgan", toy_images(tmp_path / "data"), out=out, log=package, **SETTINGS)
    resume(out, device="cpu", images=72)
    assert [s["name"] for s in started] == ["run", "run"]
    assert started[0].get("id") == started[1].get("id")
    assert (started[0]["project"], started[0]["config"]["recipe"]) == ("ganvas", "dcgan")
    grids = [x["images"] for x in run.logged if "samples" in x]
    assert grids == [24, 48, 72]
    assert all(x["samples"][::2] == ("image", "RGB") for x in run.logged if "samples" in x)
    assert any("G/loss" in x for x in run.logged)
    assert run.finished == 2


def test_mlflow_gets_metrics_and_images_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake: Any = ModuleType("mlflow")
    calls: list[tuple[str, Any]] = []
    fake.set_experiment = lambda name: calls.append(("experiment", name))
    fake.start_run = lambda run_id, run_name: (
        calls.append(("start", run_id)),
        SimpleNamespace(info=SimpleNamespace(run_id="r1")),
    )[1]
    fake.log_params = lambda values: calls.append(("params", values))
    fake.log_metrics = lambda values, step: calls.append(("metrics", (step, values)))
    fake.log_image = lambda image, key, step: calls.append(("image", (step, key, image.mode)))
    fake.end_run = lambda: calls.append(("end", None))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    out = tmp_path / "run"
    train("dcgan", toy_images(tmp_path / "data"), out=out, log="mlflow", **SETTINGS)
    resume(out, device="cpu", images=72)
    assert [v for k, v in calls if k == "start"] == [None, "r1"]
    assert [v for k, v in calls if k == "image"] == [(n, "samples", "RGB") for n in (24, 48, 72)]
    assert any("G/loss" in v[1] for k, v in calls if k == "metrics")
    assert sum(k == "end" for k, _ in calls) == 2


class Collector:
    """A tracker of the user's own."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, set[str]]] = []
        self.grids: list[int] = []

    def scalars(self, values: Mapping[str, float], images: int) -> None:
        self.lines.append((images, set(values)))

    def image(self, name: str, image: Image.Image, images: int) -> None:
        self.grids.append(images)

    def close(self) -> None:
        raise AssertionError("it is the caller's")


def test_an_object_of_the_callers_own_gets_every_line(tmp_path: Path) -> None:
    mine, out = Collector(), tmp_path / "run"
    train("dcgan", toy_images(tmp_path / "data"), out=out, log=mine, **SETTINGS)
    resume(out, device="cpu", images=72, log=mine)
    assert sorted({n for n, names in mine.lines if "G/loss" in names}) == [*range(8, 80, 8)]
    assert mine.grids == [24, 48, 72]
    assert json.loads((out / "run.json").read_text())["log"] is None


def test_an_unknown_tracker_and_a_missing_package_are_named_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy_images(tmp_path / "data")
    with pytest.raises(UserError, match=r"Did you mean 'wandb'"):
        train("dcgan", data, out=tmp_path / "run", log="wandbb", **SETTINGS)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"pip install 'ganvas\[mlflow\]'"):
        train("dcgan", data, out=tmp_path / "run", log="mlflow", **SETTINGS)
    assert not (tmp_path / "run").exists()
