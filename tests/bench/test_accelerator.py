"""bench/accelerator.py at toy size on a processor: checks, measures, records, continues."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import accelerator
import accelerator_cases
import pytest
from accelerator import Case

import docs
from ganvas.engine import engine
from ganvas.training import benchmark


class Here:
    """Cases in this process."""

    def __call__(self, case: Case, limit: float) -> dict[str, Any] | None:
        return accelerator_cases.answer(case.function, case.arguments)

    def close(self) -> None:
        pass


class Timed:
    """Cases that take a time on a clock, and do nothing."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now, self.begun = seconds, 0.0, list[str]()

    def __call__(self, case: Case, limit: float) -> dict[str, Any] | None:
        self.begun.append(case.name)
        self.now += min(self.seconds, limit)
        return {"passed": True} if self.seconds <= limit else None

    def close(self) -> None:
        pass

    def clock(self) -> float:
        return self.now


def arguments(out: Path, seconds: float = 450.0, **more: Any) -> argparse.Namespace:
    given = {"device": "cpu", "toy": False, "only": "", "peers": {}, "peer": [], "steps": 1}
    given |= {"seconds": seconds, "out": out, "words": []}
    return argparse.Namespace(**given | more)


def test_every_case_runs_on_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation, which takes a minute, is left out; it has tests of its own."""
    monkeypatch.setattr(engine, "compile_networks", lambda *_: None)
    monkeypatch.setattr(benchmark, "matmul_flops", lambda *_: 1e9)
    monkeypatch.setattr(accelerator_cases, "START", "fork")
    out = tmp_path / "accelerator.json"
    words = ["--toy", "--device", "cpu", "--steps", "1", "--out", str(out)]
    accelerator.main(words, Here())
    found = json.loads(out.read_text())
    assert [k for k, v in found.items() if "failed" in v or v.get("passed") is False] == []
    assert {k.split()[0] for k, v in found.items() if "passed" in v} == {
        *("golden", "resume", "data", "two", "compile"),
    }
    assert all(v["seconds_per_step"]["memory"] > 0 for k, v in found.items() if "speed" in k)
    assert {v.get("not measured") for k, v in found.items() if k.startswith("reference")} == {
        accelerator.NO_PEER
    }
    assert all(v["command"].startswith("python bench/accelerator.py --toy") for v in found.values())
    assert all(v["machine"] and v["device"] == "cpu" for v in found.values())


def test_other_losses_do_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = json.loads(accelerator_cases.GOLDEN.read_text(encoding="utf-8"))
    known["losses"]["gan"][0]["G/loss"] *= 1.001
    changed = tmp_path / "golden.json"
    changed.write_text(json.dumps(known))
    monkeypatch.setattr(accelerator_cases, "GOLDEN", changed)
    found = accelerator_cases.golden("cpu", "fp32", ["gan", "dcgan"])
    assert not found["passed"]
    assert list(found["over"]) == ["gan"]


def test_a_call_ends_in_time_and_continues(tmp_path: Path) -> None:
    args, found = arguments(tmp_path / "record.json"), dict[str, Any]()
    run = Timed(100.0)
    left = accelerator.recorded(args, found, run, run.clock)
    assert run.now <= 450.0
    assert len(found) == 4, "the fifth is interrupted, and left to the next call"
    names = [case.name for case in accelerator.cases(args)]
    assert left + len(found) + sum("reference" in n for n in names) >= len(names)
    again = Timed(1.0)
    kept = json.loads(args.out.read_text())
    assert accelerator.recorded(args, kept, again, again.clock) == 0
    assert again.begun[0] == run.begun[-1]
    assert not set(again.begun) & set(found)
    assert list(json.loads(args.out.read_text())) == names


def test_a_case_that_takes_too_long_is_recorded(tmp_path: Path) -> None:
    args, found = arguments(tmp_path / "record.json", only="fp32, 1 of"), dict[str, Any]()
    run = Timed(1000.0)
    assert accelerator.recorded(args, found, run, run.clock) == 0
    assert found["golden fp32, 1 of 4"]["failed"] == "took more than 180 s"


def test_a_reference_is_measured_when_its_checkout_is_given(tmp_path: Path) -> None:
    args, found = arguments(tmp_path / "record.json", only="reference dcgan"), dict[str, Any]()
    run = Timed(1.0)
    accelerator.recorded(args, found, run, run.clock)
    assert run.begun == []
    args = arguments(args.out, only="reference", peers={"dcgan": "/a/b"}, peer=["dcgan=/a/b"])
    args.words = ["--peer", "dcgan=/a/b"]
    accelerator.recorded(args, found, run, run.clock)
    assert run.begun == [
        "reference dcgan 64 px batch 128, fp32",
        "reference dcgan 64 px batch 128, bf16",
    ]
    assert found[run.begun[0]]["command"] == "python bench/accelerator.py --peer dcgan=PATH"


def test_a_hanging_or_dying_case_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator_cases, "START", "fork")
    for name, function in {
        "hang": lambda: time.sleep(600),
        "die": lambda: os._exit(3),
        "work": lambda: {"passed": True},
    }.items():
        monkeypatch.setattr(accelerator_cases, name, function, raising=False)
    run = accelerator.Worker()
    assert run(Case("hang", "hang", {}), 0.2) is None
    died = run(Case("die", "die", {}), 60)
    assert died is not None
    assert "ended with 3" in died["failed"]
    assert run(Case("work", "work", {}), 60) == {"passed": True}
    run.close()


def test_the_record_of_a_processor_needs_a_name() -> None:
    with pytest.raises(SystemExit):
        accelerator.main(["--device", "cpu"], Here())


def speed(seconds: float) -> Mapping[str, Any]:
    return {
        "seconds_per_step": {"memory": seconds},
        "products": {"share": 0.5},
        "peak_mib": 1234.5,
        "device": "a card",
    }


def test_the_page_shows_the_record(tmp_path: Path) -> None:
    name = "dcgan 64 px batch 128"
    found = {
        "golden fp32, 1 of 4": {"passed": True, "device": "a card"},
        "golden bf16, 1 of 4": {"passed": False, "device": "a card"},
        f"speed {name}, fp32": speed(0.25),
        f"speed {name}, bf16": {"failed": "out of memory", "device": "a card"},
        f"reference {name}, fp32": {"times_as_fast": 3.25, "device": "a card"},
    }
    record = tmp_path / "bench" / "results" / "accelerator.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps(found))
    section = accelerator.section(found)
    assert docs.problems(section, True, tmp_path) == []
    page = docs.render(section, tmp_path)
    row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
    assert row.startswith(f"| `{name}` | 0.25, 50%, 1,234 | failed | not measured")
    assert row.endswith("| 3.25 | not measured |")
    assert "| `golden fp32, 1 of 4` | `golden bf16, 1 of 4` |" in page


def test_the_committed_page_is_that_of_the_record() -> None:
    assert accelerator.table() == accelerator.PAGE.read_text(encoding="utf-8")
