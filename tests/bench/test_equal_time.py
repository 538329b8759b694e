"""bench/equal_time.py at toy size: trains, measures, keeps records, and records failures."""

from __future__ import annotations

import io
import json
import subprocess
import traceback
from contextlib import redirect_stdout
from pathlib import Path

import equal_time
import pytest


def call(out: Path, methods: str, *more: str, data: str = "digits=digits") -> None:
    command = [
        data,
        "--methods",
        methods,
        "--minutes",
        "0",
        "--seeds",
        "1",
    ]
    command += [
        "--features",
        "random-conv-v1",
        "--samples",
        "16",
        "--out",
        str(out),
        "--sheets",
        str(out.parent / "sheets"),
    ]
    equal_time.main([*command, *more])  # each cell is a process of its own


def here(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a cell in this process."""
    out, error = io.StringIO(), ""
    with redirect_stdout(out):
        try:
            equal_time.main(command[2:])
        except Exception:
            error = traceback.format_exc()
    return subprocess.CompletedProcess(command, 1 if error else 0, out.getvalue(), error)


def test_a_cell_is_kept_until_its_settings_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, key = tmp_path / "equal_time.json", "vae digits 0"
    call(out, "vae")
    record = json.loads(out.read_text())
    cell = record["cells"][key]
    assert cell["steps"] == 1
    assert cell["images"] == 64
    assert cell["protocol"]["real"]["count"] == 1797
    assert cell["values"]["frechet"] > 0
    assert (tmp_path / "sheets" / "digits-vae.png").is_file()
    cell["kept"] = True
    out.write_text(json.dumps(record))
    call(out, "vae")
    assert json.loads(out.read_text())["cells"][key].get("kept"), (
        "what was measured is not measured again"
    )
    monkeypatch.setattr(equal_time, "run_apart", here)
    call(out, "vae", "--samples", "17")
    again = json.loads(out.read_text())["cells"][key]
    assert "kept" not in again
    assert again["protocol"]["fake"]["count"] == 17


def test_a_failure_is_recorded_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(equal_time, "run_apart", here)
    out = tmp_path / "equal_time.json"
    call(out, "vae,gan", data=f"none={tmp_path / 'none'}")
    cells = json.loads(out.read_text())["cells"]
    assert list(cells) == ["vae none 0", "gan none 0"]
    assert all("none" in c["error"] and "values" not in c for c in cells.values())
