"""The runs that measure the training monitor: their number, their parts, their labels."""

from __future__ import annotations

import json
from pathlib import Path

import monitor


def test_the_tuning_part_sees_neither_the_methods_nor_the_kinds_of_the_test() -> None:
    cases = list(monitor.cases())
    broken = [c for c in cases if c.kind != "healthy"]
    assert len(set(cases)) == len(cases)
    assert len(broken) >= 60
    assert len(cases) - len(broken) >= 60
    assert {c.kind for c in broken} == set(monitor.KINDS)
    tuning = [c for c in cases if c.part == "tuning"]
    assert not {c.method for c in tuning} & set(monitor.TEST_METHODS)
    assert not {c.kind for c in tuning} & set(monitor.TEST_KINDS)


def write(folder: Path, kind: str, began: int | None, distance: list[float]) -> Path:
    folder.mkdir(parents=True)
    label = {"kind": kind, "method": "dcgan", "seed": 0, "part": "tuning"}
    label |= {"began": began, "error": None, "seconds": 1.0}
    (folder / "label.json").write_text(json.dumps(label))
    (folder / "log.jsonl").write_text("")
    lines = [{"images": 100 * (i + 1), "frechet": d} for i, d in enumerate(distance)]
    (folder / "measures.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    return folder


def test_a_run_is_judged_by_what_shows_after_its_fault_began(tmp_path: Path) -> None:
    good = [100 * 0.6**i for i in range(12)]
    slow = [good[-1] * f for f in (1.2, 1.5, 1.8, 1.9, 2.1, 2.3, 2.6, 3.0, 3.2)]
    found = [
        monitor.judged(write(tmp_path / "a", "weak", 1200, good + slow)),
        monitor.judged(write(tmp_path / "b", "weak", 1200, good + [good[-1]] * 8)),
        monitor.judged(write(tmp_path / "c", "healthy", None, good)),
    ]
    assert found[0]["in_time"]
    assert found[0]["first"] < found[0]["doubled"]
    assert not found[1]["broke"]  # the method bears it
    unplanned = monitor.judged(write(tmp_path / "d", "healthy", None, good + slow))
    assert (unplanned["kind"], unplanned["broke"]) == ("unplanned", True)
    total = monitor.summary(found)
    assert (total["spoiled"], total["broken"], total["in_time"], total["borne"]) == (2, 1, 1, 1)
    assert (total["healthy"], total["false_alarms"]) == (1, 0)
