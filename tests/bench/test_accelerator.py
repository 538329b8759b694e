"""bench/accelerator.py at toy size on a processor: measures, records and continues."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from processes import completed

ROOT = Path(__file__).parents[2]


def call(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(ROOT / "bench" / "accelerator.py"),
        "--toy",
        "--device",
        "cpu",
        "--steps",
        "1",
    ]
    return completed([*command, "--out", out, *more], env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_it_is_cut_and_continues(tmp_path: Path) -> None:
    out = tmp_path / "accelerator.json"
    cut = call(out, "--only", "fp32", "--most", "1")
    assert "5 measurements are left" in cut.stdout
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


def test_failures_are_recorded(tmp_path: Path) -> None:
    out = tmp_path / "accelerator.json"
    call(out, "--device", "cuda:77", "--most", "1")
    (found,) = json.loads(out.read_text()).values()
    assert "device 'cuda:77' cannot be used" in found["failed"]
