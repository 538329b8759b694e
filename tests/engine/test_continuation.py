"""The same command again, launchers' signals, and checkpoints written beside training."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toys import toy_images

from ganvas.__main__ import main
from ganvas.core.errors import ConfigError, OutputError, UserError
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.engine.retention import Retention
from ganvas.inference.model import Model
from ganvas.training import probe, snapshot, trainer
from ganvas.training.continuation import status

OPTIONS: dict[str, Any] = {"size": 16, "batch": 8, "device": "cpu", "resume": "auto"}
SMALL = ["G.width=4", "D.width=4"]


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """Without reports and large samples, which take most of the time of short trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "IMAGES", 16)
        patch.setattr(snapshot, "write_report", lambda run, **_: None)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_images(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps that nothing interrupts."""
    out = tmp_path_factory.mktemp("straight") / "run"
    train(data, out, resume="never")
    return out


def train(data: Path, out: Path, images: int = 48, **options: Any) -> Model:
    return trainer.train(
        "dcgan", data, out=out, images=images, **{**OPTIONS, "set": SMALL, **options}
    )


def assert_alike(a: Path, b: Path) -> None:
    one, two = (
        load_file(checkpoint.all_of(run / "checkpoints")[-1] / "shared.safetensors")
        for run in (a, b)
    )
    assert one.keys() == two.keys()
    assert not [k for k in one if not torch.equal(one[k], two[k])]
    assert (a / "log.jsonl").read_bytes() == (b / "log.jsonl").read_bytes()


def signaled(monkeypatch: pytest.MonkeyPatch, step: int, *signals: signal.Signals) -> None:
    """This process receives signals during a step."""
    perform = Engine.step

    def with_signals(self: Engine) -> Any:
        found = perform(self)
        if self.clock.step == step:
            for number in signals:
                os.kill(os.getpid(), number)
        return found

    monkeypatch.setattr(Engine, "step", with_signals)


# ---------------------------------------------------------------- the same command


def test_the_same_call_starts_continues_and_then_only_loads(
    data: Path, straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    train(data, out, 24)
    assert f"{out} is a new run of 24 images" in capsys.readouterr().err
    train(data, out)
    assert f"{out} continues at 24 of 48 images" in capsys.readouterr().err
    assert_alike(straight, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != ".lock"}
    model = train(data, out)
    assert f"{out} is complete: 48 of 48 images" in capsys.readouterr().err
    assert all(p.stat().st_mtime_ns == time for p, time in before.items())
    assert model.sample(1, seed=1)[0].tobytes() == (
        trainer.Model(model.method, model.info).sample(1, seed=1)[0].tobytes()
    )


def test_a_run_and_its_data_go_on_at_other_places(
    data: Path, straight: Path, tmp_path: Path
) -> None:
    train(data, tmp_path / "run", 24)
    photos = shutil.copytree(data, tmp_path / "moved" / "images")
    run = shutil.copytree(
        tmp_path / "run", tmp_path / "moved" / "r", ignore=shutil.ignore_patterns("local.json")
    )
    train(photos, run)
    assert_alike(straight, run)
    assert str(photos) in (run / "local.json").read_text()


def test_other_settings_are_refused_with_both_values(
    data: Path, straight: Path, tmp_path: Path
) -> None:
    other = toy_images(tmp_path / "other", count=9)
    for options, message in [
        ({"batch": 4}, r"settings: batch: 8 in the run, 4 now\. Repeat"),
        ({"set": ["G.width=4", "D.width=6"]}, r"settings: D\.width: 4 in the run, 6 now\. Repeat"),
        ({"set": [*SMALL, "optim.G.lr=1"]}, r"optim\.G\.lr: 0\.0002 in the run, 1(\.0)? now"),
        ({"set": [*SMALL, "labels=true"]}, r"labels: the default in the run, True now"),
        ({"seed": 3, "augment": "ada"}, r"augment.*; seed: 0 in the run, 3 now"),
        ({"data": other}, r"settings: data: \S+ \(\d+ images, \w+\) in the run, other \(9 images"),
        ({"start_from": straight}, r"start_from \(--from\): 'none' in the run, 'run' now"),
        ({"resume": "always"}, r"resume takes never or auto; got 'always'"),
    ]:
        with pytest.raises(UserError, match=message):
            train(**{"data": data, "out": straight, **options})
    with pytest.raises(UserError, match="recipe: 'dcgan' in the run, 'gan' now"):
        trainer.train("gan", data, out=straight, size=16, device="cpu", resume="auto")


def test_the_latest_call_decides_what_watches_a_run(data: Path, tmp_path: Path) -> None:
    """Nothing of that changes the run's numbers, and what is asked for is not ignored."""
    out = tmp_path / "run"
    train(data, out, 8)
    train(data, out, 16, early_stopping="frechet:8", on_collapse="stop", keep="5")
    record = json.loads((out / "run.json").read_text())
    assert record["on_collapse"] == "stop"
    assert record["early_stopping"]["measure"] == "frechet"
    assert record["keep"] == "5"


def test_a_start_that_was_killed_before_its_weights_were_saved_begins_again(
    data: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", killed)
        with pytest.raises(SystemExit):
            train(data, tmp_path / "run", start_from=straight)
    train(data, tmp_path / "run", 8, start_from=straight)
    [_, first] = checkpoint.all_of(tmp_path / "run" / "checkpoints")
    assert int(first.name) == 8
    shutil.rmtree(tmp_path / "run" / "checkpoints")  # by a user: the rest is not removed
    with pytest.raises(UserError, match="remove the folder"):
        train(data, tmp_path / "run", 8, start_from=straight)
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


# ---------------------------------------------------------------- signals


def test_termination_saves_and_is_a_success_for_launchers(
    data: Path,
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        signaled(patch, 3, signal.SIGTERM, signal.SIGTERM)  # launchers may send several
        with pytest.raises(SystemExit) as stop:
            train(data, out)
    assert stop.value.code == 0
    assert (status(out).images, status(out).complete) == (24, False)
    assert command(monkeypatch, "status", out) == 75
    assert capsys.readouterr().out == f"{out} is incomplete: 24 of 48 images saved\n"
    train(data, out)
    assert_alike(straight, out)
    assert command(monkeypatch, "status", out, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "images": 48,
        "total": 48,
        "running": False,
        "owes_snapshot": False,
        "complete": True,
    }


def test_a_signal_leaves_a_slow_snapshot_to_the_run_that_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its step, while it is measured, while it is made up for, and at the end."""
    monkeypatch.setattr(snapshot, "SNAPSHOT_INTERVAL", 16)
    straight, out = tmp_path / "straight", tmp_path / "run"
    train(data, straight)
    measure = probe.Probe.measure
    seen: list[int] = []
    slow = [32, 48]

    def measured(self: probe.Probe, engine: Engine, model: Model) -> dict[str, float]:
        images = engine.clock.images
        seen.append(images)
        if images in slow:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(300)  # longer than a launcher waits
        return measure(self, engine, model)

    monkeypatch.setattr(probe.Probe, "measure", measured)
    with monkeypatch.context() as patch:
        signaled(patch, 2, signal.SIGTERM)
        with pytest.raises(SystemExit):
            train(data, out)
    assert (seen, status(out).images) == ([], 16)
    for images in (32, 32, 48):
        with pytest.raises(SystemExit) as stop:
            train(data, out)
        assert (stop.value.code, status(out).images) == (0, images)
        if seen.count(32) == 2:
            slow[:] = [48]
    assert status(out).owes_snapshot
    assert not status(out).complete
    slow.clear()
    train(data, out)
    assert seen == [16, 32, 32, 32, 48, 48]
    assert status(out).complete
    assert_alike(straight, out)
    assert (straight / "measures.jsonl").read_bytes() == (out / "measures.jsonl").read_bytes()
    grids = [sorted(p.name for p in (run / "samples").iterdir()) for run in (straight, out)]
    assert grids[0] == grids[1]


def test_termination_without_a_launcher_keeps_its_status(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signaled(monkeypatch, 3, signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        train(data, tmp_path / "run", resume="never")
    assert stop.value.code == 128 + signal.SIGTERM
    assert status(tmp_path / "run").images == 24


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["ganvas", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


# ---------------------------------------------------------------- checkpoints


def test_steps_do_not_wait_for_the_disk(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images 0 to 640 in steps of 8, with a checkpoint after every 32."""
    disk, flush, perform = threading.Event(), checkpoint._flush, Engine.step
    seen: list[list[Path]] = []

    def slow(path: Path) -> None:
        assert disk.wait(300)
        flush(path)

    def step(self: Engine) -> Any:
        found = perform(self)
        if self.clock.step == 7:  # three after the save has begun
            seen.append(checkpoint.all_of(tmp_path / "run" / "checkpoints"))
            disk.set()
        return found

    monkeypatch.setattr(checkpoint, "_flush", slow)
    monkeypatch.setattr(Engine, "step", step)
    train(data, tmp_path / "run", 640)
    assert seen == [[]]
    assert status(tmp_path / "run").complete


def test_a_disk_that_fails_later_ends_training_and_loses_nothing(
    data: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = checkpoint._flush

    def full(path: Path) -> None:
        if "000000032" in str(path):
            raise OSError(28, "No space left on device")
        flush(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_flush", full)
        with pytest.raises(OutputError, match=r"checkpoint could not be written .*No space left"):
            train(data, tmp_path / "run")
    assert status(tmp_path / "run").images == 24
    train(data, tmp_path / "run")
    assert_alike(straight, tmp_path / "run")


def fill(folder: Path, *images: int) -> Path:
    for number in images:
        (folder / f"{number:09d}").mkdir(parents=True)
        (folder / f"{number:09d}" / "shared.safetensors").write_bytes(b"\0" * 1000)
    return folder


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("2", [300, 900, 1000]),
        ("1", [300, 1000]),
        ("3,every=500", [300, 500, 800, 900, 1000]),  # 800: the third newest
        ("1,every=250", [300, 500, 800, 1000]),
        ("4,size=3kB", [300, 900, 1000]),
        ("size=2.5kB,newest=3", [300, 1000]),
        ("4,every=100,size=1.5kB", [1000]),  # the best goes before the newest
        ("4,size=10MB", [300, 700, 800, 900, 1000]),
    ],
)
def test_retention(keep: str, kept: list[int], tmp_path: Path) -> None:
    folder = fill(tmp_path, 100, 200, 300, 500, 700, 800, 900, 1000)
    Retention.parse(keep).prune(folder, "000000300")
    assert [int(p.name) for p in checkpoint.all_of(folder)] == kept


@pytest.mark.parametrize(
    "keep", ["", "0", "-1", "two", "2,3", "every=0", "size=5", "size=0GB", "best=1", "2,,", "1e3"]
)
def test_a_retention_that_means_nothing_is_refused(keep: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keep takes NEWEST,every=IMAGES,size=BYTES"):
        train(tmp_path / "none", tmp_path / "run", keep=keep)
    assert not (tmp_path / "run").exists()


def test_what_is_kept_is_the_runs_and_can_be_changed(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(data, out, 40, keep="9,every=16")
    assert [int(p.name) for p in checkpoint.all_of(out / "checkpoints")] == [8, 16, 24, 32, 40]
    train(data, out, keep="1,every=16")
    trainer.resume(out, images=56, device="cpu")
    assert {16, 32, 48, 56} <= {int(p.name) for p in checkpoint.all_of(out / "checkpoints")}
    assert json.loads((out / "run.json").read_text())["keep"] == "1,every=16"
