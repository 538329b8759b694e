"""Every figure in the documentation equals its record, and those that need a record name one."""

from __future__ import annotations

import json
from pathlib import Path

import figures
import pytest


@pytest.mark.parametrize("document", figures.documents(), ids=lambda d: str(d.relative_to(figures.ROOT)))
def test_every_figure_is_its_records(document: Path) -> None:
    assert figures.problems(document) == []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "claims").mkdir(parents=True)
    record = {"share": 0.9234, "small": 1.25e-5, "n": 26000, "to b": [{"v": 1.0}, {"v": 2.0}], "holds": True}
    (tmp_path / "docs" / "claims" / "x.json").write_text(json.dumps(record))
    return tmp_path


def found(root: Path, text: str, name: str = "results.md") -> list[str]:
    file = root / "docs" / name
    file.write_text(text)
    return figures.problems(file, root)


@pytest.mark.parametrize(
    "text",
    [
        "It is 0.92 <!-- = docs/claims/x.json share -->.",
        "It is 92% <!-- = docs/claims/x.json share --> of all.",
        "It is **92.3 %** <!-- = docs/claims/x.json share -->.",
        "It is 1.3e-5 <!-- = docs/claims/x.json small -->.",
        "26,000 <!-- = docs/claims/x.json n --> samples.",
        "1.5 dB <!-- = mean docs/claims/x.json to b.*.v --> and 2.0 s <!-- = docs/claims/x.json to b.1.v -->",
        "at least 0.8 <!-- not measured: the goal -->",
        "24 of 25 modes, after 1,600 steps, arXiv:1701.07875, `--lr 1e-4`, [a](b-0.3.png), 2018, version 3.11.7",
        "| 2 | fine |\n|---|---|\n| 3 | `64` |",
        "```\n0.5 s\n```",
    ],
)
def test_what_passes(root: Path, text: str) -> None:
    assert found(root, text) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("first\nIt is 0.93 <!-- = docs/claims/x.json share -->", "results.md:2: 0.93 is 0.9234"),
        ("93% <!-- = docs/claims/x.json share -->", "93% is 92.34"),
        ("0.92 <!-- = docs/claims/y.json share -->", "there is no record"),
        ("0.92 <!-- = docs/claims/x.json shares -->", "nothing at shares"),
        ("1 <!-- = docs/claims/x.json holds -->", "not one number"),
        ("0.92 <!-- = /etc/x.json share -->", "is not a record"),
        ("all of them <!-- = docs/claims/x.json share -->", "no figure before"),
        ("it reached 0.92 soon", "'0.92' says not where it comes from"),
        ("it took 12 s", "'12 s' says not"),
        ("97% of them", "'97%' says not"),
        ("twice: 2.3x as fast", "'2.3x' says not"),
        ("| modes | 24 |", "'24' says not"),
        ("0.92 <!-- not measured: -->", "'0.92' says not"),
    ],
)
def test_what_does_not(root: Path, text: str, complaint: str) -> None:
    (problem,) = found(root, text)
    assert complaint in problem


def test_elsewhere_only_tables_and_results_need_records(root: Path) -> None:
    assert found(root, "Wait 0.5 s.\n\n# Results\n\nIt took 0.5 s.\n\n# Use\n\n0.5 s\n\n| a | 0.7 |", "README.md") == [
        "docs/README.md:5: '0.5 s' says not where it comes from: add <!-- = RECORD.json NAMES -->",
        "docs/README.md:11: '0.7' says not where it comes from: add <!-- = RECORD.json NAMES -->",
    ]
