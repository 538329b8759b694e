"""bench/accelerator.py at toy size on a processor: measures, records and continues."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerator
import pytest
from typer.testing import CliRunner

from ganvas.apps.cli import app
from ganvas.training import benchmark


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The script and its measurements in this process; its rate is not measured."""

    run = subprocess.run

    def measured(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[1:3] != ["-m", "ganvas"]:  # facts about the machine
            return run(command, **options)
        done = CliRunner().invoke(app, command[3:])
        error = "" if done.exception is None else str(done.exception)
        return subprocess.CompletedProcess(command, done.exit_code, done.stdout, error)

    def called(out: Path, *more: str) -> None:
        arguments = ["--toy", "--device", "cpu", "--steps", "1", "--out", str(out), *more]
        monkeypatch.setattr(sys, "argv", ["accelerator.py", *arguments])
        monkeypatch.setattr(accelerator.subprocess, "run", measured)
        monkeypatch.setattr(benchmark, "matmul_flops", lambda *_: 1e9)
        accelerator.main()
        monkeypatch.undo()

    return called


def test_it_is_cut_and_continues(
    tmp_path: Path, call: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "accelerator.json"
    call(out, "--only", "fp32", "--most", "1")
    assert "5 measurements are left" in capsys.readouterr().out
    (first,) = json.loads(out.read_text()).items()
    out.write_text(json.dumps({first[0]: {**first[1], "kept": True}}))
    call(out, "--only", "fp32")
    found = json.loads(out.read_text())
    assert len(found) == 6, "every case"
    assert [k for k, v in found.items() if v.get("kept")] == [first[0]], (
        "what was measured is not measured again"
    )
    assert all("failed" not in v and v["seconds_per_step"]["memory"] > 0 for v in found.values()), (
        found
    )


def test_failures_are_recorded(tmp_path: Path, call: Callable[..., None]) -> None:
    out = tmp_path / "accelerator.json"
    call(out, "--device", "cuda:77", "--most", "1")
    (found,) = json.loads(out.read_text()).values()
    assert "device 'cuda:77' cannot be used" in found["failed"]
