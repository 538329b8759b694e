"""`ganvas claim`: its records, what it keeps of a killed command, and its page."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from processes import forks, ganvas, wait_for

from ganvas.claims import Check, Claim, Finding, Words, runner
from ganvas.claims import page as claims_page
from ganvas.claims.page import write_report
from ganvas.core.errors import UserError


def draw(figure, seeds) -> None:
    figure.subplots().plot([s["seed"] for s in seeds], [s["series"]["x"][0] for s in seeds])


def bound(figure: str, op: str, value: float, over: str = "every", why: str = "why") -> Check:
    return Check.model_validate(
        {"figure": figure, "op": op, "bound": value, "over": over, "why": why}
    )


def toy(name: str = "toy", checks: list[Check] | None = None, **changes: Any) -> Claim:
    """A claim of kind theory: it needs no nulls."""
    words = Words(
        kind="theory",
        paper="Nobody, 2020, arXiv:0000.00000",
        section="Section 1",
        sentence="The seed | is at least 1.",
        experiment="Look at the seed.",
        checks=checks or [bound("a", ">=", 1), bound("b", "<", 1)],
        figures={"a": "figure a", "b": "figure b"},
        paper_figures={"a": "7"},
        minutes=0.1,
    )

    def experiment(seed: int) -> Finding:
        return Finding({"a": seed + 1, "b": 0.5}, {"x": [seed, 1 / 3]})

    claim = Claim(name=name, words=words, experiment=experiment, plot=draw)
    return dataclasses.replace(claim, **changes)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    def these(*claims: Claim) -> None:
        for module in (runner, claims_page):
            monkeypatch.setattr(module, "all_claims", lambda: {c.name: c for c in claims})

    return these


def test_a_check_judges_the_worst_seed_or_the_median() -> None:
    assert bound("a", ">=", 0).judged([1, 6, 2]) == 1
    assert bound("a", "<", 0).judged([1, 6, 2]) == 6
    assert bound("a", ">", 0, "median").judged([1, 6, 2]) == 2
    assert bound("a", "<=", 1).holds([1, 0.5])
    assert not bound("a", "<", 1).holds([1, 0.5])
    for over in ("every", "mean", "median", "share"):
        assert not bound("a", "<", 1, over).holds([0, math.nan, 0])
        assert not bound("a", "<", 1, over).holds([])


def test_a_record_says_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = runner.run([toy()], where=tmp_path)
    assert json.loads((tmp_path / "toy.json").read_text()) == record
    assert record["holds"]
    assert [c["value"] for c in record["checks"]] == [1, 0.5]
    assert [s["figures"]["a"] for s in record["seeds"]] == [1, 2, 3]
    assert record["seeds"][2]["series"] == {"x": [2, 0.333333]}
    assert record["command"] == "ganvas claim run toy --seeds 3"
    assert {"commit", "date", "machine", "versions", "sentence", "paper_figures"} <= record.keys()
    assert os.listdir(tmp_path) == ["toy.json"]
    (fresh,) = runner.run([toy()], first=7, where=tmp_path)
    assert [s["seed"] for s in fresh["seeds"]] == [7, 8, 9]
    assert fresh["command"] == "ganvas claim run toy --seeds 3 --first 7"
    said = capsys.readouterr().err
    assert "toy  seed 2 (3 of 3)" in said
    assert "toy holds: a 1 ≥ 1 in every seed" in said


def test_a_figure_that_is_nan_or_missing_fails_its_bound(tmp_path: Path) -> None:
    nan = toy(experiment=lambda seed: Finding({"a": math.nan, "b": 0.0}, {"x": [0]}))
    missing = toy(experiment=lambda seed: Finding({"b": 0.0}, {"x": [0]}))
    for record in runner.run([nan], where=tmp_path) + runner.run([missing], where=tmp_path):
        assert not record["holds"]
        assert [c["holds"] for c in record["checks"]] == [False, True]
    assert "NaN" not in (tmp_path / "toy.json").read_text()


def test_an_experiment_that_fails_loses_neither_its_other_seeds_nor_other_claims(
    tmp_path: Path, only
) -> None:
    def breaks(seed: int) -> Finding:
        return Finding({"a": 1 / (seed - 1) ** 2, "b": 0}, {"x": [1]})

    claims = [toy(name="broken", experiment=breaks), toy()]
    only(*claims)
    broken, whole = runner.run(claims, where=tmp_path)
    assert broken["failures"][0]["seed"] == 1
    assert "ZeroDivisionError" in broken["failures"][0]["error"]
    assert [s["seed"] for s in broken["seeds"]] == [0, 2]
    assert whole["holds"]
    assert not broken["holds"]
    assert "Seed 1 failed: ZeroDivisionError" in write_report(tmp_path).read_text()


def test_a_claim_without_its_data_is_left_out_and_its_record_stays(tmp_path: Path, capsys) -> None:
    def missing() -> None:
        raise UserError("there is no flower")

    (kept,) = runner.run([toy(name="flowers")], where=tmp_path)
    with pytest.raises(UserError, match="no flower"):
        runner.run([toy(name="flowers", ready=missing)], where=tmp_path)
    (record,) = runner.run([toy(name="flowers", ready=missing), toy()], where=tmp_path)
    assert record["name"] == "toy"
    assert "flowers  skipped: there is no flower" in capsys.readouterr().err
    assert runner.read("flowers", tmp_path) == kept


def test_an_interrupted_command_keeps_its_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def interrupted(seed: int) -> Finding:
        asked.append(seed)
        if len(asked) == 5:  # the other claim's seed 1
            raise KeyboardInterrupt
        return Finding({"a": len(asked), "b": 0}, {"x": [1]})

    claims = [toy(experiment=interrupted), toy(name="other", experiment=interrupted)]
    with pytest.raises(KeyboardInterrupt):
        runner.run(claims, where=tmp_path)
    first, second = runner.run(claims, where=tmp_path)
    assert asked == [0, 1, 2, 0, 1, 1, 2]
    assert [s["figures"]["a"] for s in first["seeds"] + second["seeds"]] == [1, 2, 3, 4, 6, 7]
    assert sorted(os.listdir(tmp_path)) == ["other.json", "toy.json"]


def test_seeds_of_another_source_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def interrupted(seed: int) -> Finding:
        asked.append(seed)
        if asked == [0, 1]:
            raise KeyboardInterrupt
        return Finding({"a": 1, "b": 0}, {"x": [1]})

    with pytest.raises(KeyboardInterrupt):
        runner.run([toy(experiment=interrupted)], where=tmp_path)
    monkeypatch.setattr(runner, "_source", lambda: "changed")
    runner.run([toy(experiment=interrupted)], where=tmp_path)
    assert asked == [0, 1, 0, 1, 2]


def test_a_partial_file_that_is_no_json_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "toy.json.partial").write_text('{"seeds": [')
    assert runner.run([toy()], where=tmp_path)[0]["holds"]


def test_the_page_shows_what_fails_what_is_stale_and_what_is_missing(tmp_path: Path, only) -> None:
    fails, changed = toy("fails", [bound("a", ">", 1)]), toy("changed")
    runner.run([fails, changed, toy()], where=tmp_path)
    only(fails, toy("changed", [bound("a", ">=", 0.5)]), toy(), toy("new"))
    page = write_report(tmp_path).read_text()
    rows = {
        line.split("|")[1].strip(" `[").partition("`")[0]: line
        for line in page.splitlines()
        if line.startswith("|")
    }
    assert rows["fails"].endswith("| **does not hold** |")
    assert rows["toy"].endswith("| holds |")
    assert rows["changed"].endswith("| **stale** |")
    assert rows["new"].endswith("| **not run** |")
    assert "| figure a | > 1 in every seed | 2 (1 to 3) | **does not hold** |" in page
    assert "* Theory: 1 hold, 1 do not hold, 1 are stale" in page
    assert [r["result"] for r in runner.rows(tmp_path)] == [
        "does not hold",
        "stale",
        "holds",
        "not run",
    ]
    assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")
    elsewhere = write_report(tmp_path, tmp_path / "site" / "claims.md").read_text()
    assert "(../toy.json)" in elsewhere
    assert (tmp_path / "site" / "toy.png").is_file()


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no claim 'inverse-cfd'\. Did you mean 'inverse-cdf'"):
        runner.chosen(["inverse-cfd"])
    for names, everything in (([], False), (["inverse-cdf"], True)):
        with pytest.raises(UserError, match=r"--all"):
            runner.chosen(names, everything)
    with pytest.raises(UserError, match=r"no record of a claim\. Run claims first"):
        write_report(tmp_path)
    (tmp_path / "toy.json").write_text("[]")
    with pytest.raises(UserError, match="not a record of a claim"):
        runner.read("toy", tmp_path)


def test_a_killed_process_loses_the_seed_it_was_at(tmp_path: Path) -> None:
    command = ["claim", "run", "inverse-cdf", "--out", tmp_path, "--seeds"]
    with forks([*command, 10_000]) as process:
        wait_for(lambda: process.stderr(0).count("\n") >= 3)
        os.kill(process.pids[0], signal.SIGKILL)
        [victim] = process.ended()
    assert all("  seed " in line for line in victim.stderr.splitlines()[:3])
    assert sorted(f.suffix for f in tmp_path.iterdir() if not f.name.startswith(".")) == [
        ".partial"
    ]
    kept = json.loads((tmp_path / "inverse-cdf.json.partial").read_text())["seeds"]
    assert len(kept) >= 3
    heir = ganvas(*command, len(kept) + 1)
    assert heir.stderr.count("taken from the previous command") == len(kept)
    record = json.loads((tmp_path / "inverse-cdf.json").read_text())
    assert record["seeds"][: len(kept)] == kept
    assert len(record["seeds"]) == len(kept) + 1
    assert not (tmp_path / "inverse-cdf.json.partial").exists()
