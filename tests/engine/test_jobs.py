"""Trainings in processes of their own, without a page."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import wait_for
from toys import SMALL, toy_data

from ganvas.core.errors import UserError
from ganvas.engine.lock import is_locked, run_lock
from ganvas.training import jobs as module
from ganvas.training.jobs import Jobs, progress, runs_in


def test_a_training_that_stops_is_saved_and_goes_on(tmp_path: Path) -> None:
    jobs, out = Jobs(tmp_path / "runs"), tmp_path / "runs" / "one"
    data = str(toy_data("dcgan", tmp_path / "data"))
    small = [s for s in SMALL["dcgan"] if not s.startswith("data.size")]
    try:
        jobs.start("one", "dcgan", data, size=16, settings=small)
        wait_for(lambda: (out / "log.jsonl").is_file() and progress(out).images > 0)
        assert progress(out).running
        with pytest.raises(UserError, match="in progress"):
            jobs.resume("one")
        with pytest.raises(UserError, match="already"):
            jobs.start("one", "dcgan", data)
    finally:
        jobs.close()
    state = progress(out)
    assert (state.recipe, state.running, runs_in(out.parent)) == ("dcgan", False, ["one"])
    assert 0 < state.images < state.total
    assert (out / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "-x", ".hidden", "x" * 65, "a\n"])
def test_a_run_is_named_by_a_plain_word(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="letters, digits"):
        Jobs(tmp_path).start(name, "dcgan", "digits")
    assert not list(tmp_path.iterdir())


def test_a_lock_is_seen_without_taking_it(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with run_lock(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("print('working', file=sys.stderr); sys.exit('error: no \x1b[31m data')", "error: no"),
        ("sys.exit(70)", "without a message"),
        ("sys.exit(0)", None),
        ("sys.exit(130)", None),  # stopped, and saved
    ],
)
def test_a_training_that_fails_says_why(
    code: str, failure: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(command: list[str], **options: Any) -> Any:
        return subprocess.Popen([command[0], "-c", f"import sys; {code}"], **options)

    jobs = Jobs(tmp_path)
    monkeypatch.setattr(module, "subprocess", SimpleNamespace(Popen=ends, DEVNULL=-3))
    jobs.start("x", "dcgan", "digits")
    monkeypatch.undo()
    wait_for(lambda: not jobs.is_running("x"))
    said = jobs.failure("x")
    jobs.close()
    assert (said is None) == (failure is None)
    assert failure is None or failure in str(said)
    assert "\x1b" not in str(said)


def test_a_training_is_asked_once_to_stop(tmp_path: Path) -> None:
    """A second signal would end it before it has saved."""
    signals: list[int] = []
    process: Any = SimpleNamespace(send_signal=signals.append, poll=lambda: None)
    with (tmp_path / "messages").open("w+b") as messages:
        jobs = Jobs(tmp_path, {"x": module._Job(process, messages)})
        jobs.stop("x")
        jobs.stop("x")
    assert signals == [signal.SIGINT]


def test_auto_plans_the_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[tuple[list[str], float | None]] = []
    monkeypatch.setattr(Jobs, "_launch", lambda self, name, *rest: launched.append(rest))
    with pytest.raises(UserError, match="minutes"):
        Jobs(tmp_path).start("x", "auto", "dark/")
    Jobs(tmp_path).start("x", "auto", "dark/", size=32, minutes=5)
    words = ["train", "--size", "32", "--minutes", "5", "--out", str(tmp_path / "x"), "--"]
    assert launched == [([*words, "auto", "dark/"], None)]
