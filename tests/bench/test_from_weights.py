"""bench/from_weights.py at toy size: equal lengths, held-out roses, resuming, the page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import from_weights
import gallery
import pytest
import typer
from toys import toy_images

import docs
from ganvas.apps.cli import app
from ganvas.engine.run_dir import read_record
from ganvas.training import snapshot

SMALL = ("G.width=2", "D.width=2", "G.latent=4", "batch=50")
RATES = {"free": 16.0, "frozen": 24.0}  # images per second, times TICKS


class Here:
    """`ganvas` in this process, in place of a process of its own."""

    pid, returncode = 0, 0
    calls: tuple[str, ...] = ()

    def __init__(self, command: list[str]) -> None:
        assert command[1:3] == ["-m", "ganvas"]
        Here.calls += (shlex.join(command[3:]),)
        cli: Any = typer.main.get_command(app)
        cli.main(command[3:], standalone_mode=False)

    def poll(self) -> int:
        return 0


@pytest.fixture
def flowers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Toy flowers; trainings in this process, with a known rate."""
    for seed, name in enumerate(("rose", "tulip")):
        toy_images(tmp_path / "flowers" / name, 32, seed=seed)
    tables: list[dict[str, Any]] = [gallery.TABLE, gallery.DATA]
    known = [dict(table) for table in tables]
    Here.calls = ()
    monkeypatch.setattr(gallery, "subprocess", SimpleNamespace(Popen=Here))
    monkeypatch.setattr(from_weights.signal, "signal", lambda *_: None)  # pytest's stay
    monkeypatch.setattr(snapshot, "write_report", lambda run, **_: None)
    kinds = {"": "free", "D:1": "frozen"}
    monkeypatch.setattr(
        gallery, "rate", lambda row, source: RATES[kinds[row.freeze]] * gallery.TICKS
    )
    yield tmp_path / "flowers"
    for table, before in zip(tables, known, strict=True):
        table.clear()
        table.update(before)


def measure(flowers: Path, *more: str) -> dict[str, Any]:
    folder = flowers.parent
    from_weights.main([
        "--data", str(flowers), "--runs", str(folder / "runs"), "--size", "16", "--few", "9",
        "--freeze", "D:1", "--minutes", "0.2,0.1", "--set", *SMALL,
        "--out", str(folder / "bench" / "results" / "from_weights.json"), *more,
    ])  # fmt: skip
    return json.loads((folder / "bench" / "results" / "from_weights.json").read_text())


def test_equal_trainings_are_compared_with_roses_that_none_has_seen(
    flowers: Path, tmp_path: Path
) -> None:
    record = measure(flowers)
    runs = tmp_path / "runs"
    files = {
        part: {f.name: f.read_bytes() for f in (runs / "data" / part).iterdir() if f.is_file()}
        for part in ("tulips", "roses/train", "roses/test", "roses_few/train", "roses_few/test")
    }
    assert [len(of) for of in files.values()] == [32, 24, 8, 9, 8]
    assert not set(files["roses/train"].values()) & set(files["roses/test"].values())
    assert files["roses_few/train"].items() <= files["roses/train"].items()
    assert files["roses_few/test"] == files["roses/test"]
    assert {k: v for k, v in record["data"].items() if k != "fingerprints"} == {
        "tulips": 32, "roses": 24, "few": 9, "held_out": 8,
    }  # fmt: skip
    assert record["samples"] == 24

    # The rate of the arm gives the length, and its schedules end with it.
    assert record["base"]["images"] == 200
    seen = {(s, a): one["images"] for s, arm in record["arms"].items() for a, [one] in arm.items()}
    assert seen == {
        (start, amount): 100 if start != "frozen" else 200
        for start in from_weights.STARTS
        for amount in from_weights.AMOUNTS
    }
    for start, few in seen:
        run = read_record(runs / f"{start}-{few}-0")
        settings: Any = run["run"]
        assert settings["lr"]["end"] == settings["images"] == seen[start, few]
        assert bool(run.get("initial")) == (start != "scratch")
        assert settings["frozen"] == (["D:1"] if start == "frozen" else [])
        [one] = record["arms"][start][few]
        assert one["frechet"] > 0
        shown = "ganvas train dcgan_letters roses" + ("_few/" if few == "few" else "/")
        assert one["command"].startswith(shown)
        assert ("--from runs/tulips" in one["command"]) == (start != "scratch")
        assert ("--freeze D:1" in one["command"]) == (start == "frozen")
    frechet = {s: record["arms"][s]["few"][0]["frechet"] for s in from_weights.STARTS}
    assert record["ratios"]["few"] == {
        "free_over_scratch": pytest.approx(frechet["free"] / frechet["scratch"]),
        "frozen_over_free": pytest.approx(frechet["frozen"] / frechet["free"]),
    }
    assert record["real"]["frechet"] < record["untrained"]["frechet"]
    assert str(tmp_path) not in json.dumps(record).replace(str(flowers), "")
    assert (runs / "samples.png").is_file()

    # What is complete is passed over; what was killed at its start begins again.
    assert len(Here.calls) == 7
    with pytest.raises(SystemExit, match="choose other --runs"):
        measure(flowers, "--freeze", "D:2")
    (runs / "free-few-0.json").unlink()
    for checkpoint in (runs / "free-few-0" / "checkpoints").iterdir():
        checkpoint.rename(tmp_path / checkpoint.name)
    again = measure(flowers)["arms"]["free"]["few"]
    assert [call.split()[:2] for call in Here.calls[7:]] == [["train", "dcgan_letters"]]
    assert again[0]["frechet"] == pytest.approx(frechet["free"])
    page(tmp_path / "bench" / "results" / "from_weights.json", tmp_path)


def page(record: Path, folder: Path) -> None:
    """The section of a record is whole, and replaced by the next."""
    template = folder / "page.md.in"
    template.write_text("# Training from weights\n\nBefore.\n", encoding="utf-8")
    found = json.loads(record.read_text())
    for seeds in (1, 2):
        for arm in found["arms"].values():
            arm.update({amount: of * seeds for amount, of in arm.items()})
        record.write_text(json.dumps({**found, "seeds": seeds}))
        from_weights.report(record, template)
        text = template.read_text(encoding="utf-8")
        assert docs.problems(text, True, folder) == []
    assert text.count(from_weights.HEADING) == 1
    shown = docs.render(text, folder)
    assert f"is {found['ratios']['all']['free_over_scratch']:.2f} times" in shown
    assert shown.count("| from random weights | 24 |") == 1
    assert "| the same, `D:1` frozen | 9 |" in shown
    assert "means over `2` seeds" in shown
    assert str(folder) not in shown


def test_wrong_calls_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = {
        (): "give --data FLOWERS",
        ("--data", ".", "--minutes", "7"): "--minutes takes two numbers above 0",
        ("--data", ".", "--held-out", "1"): "--held-out lies between 0 and 1",
    }
    for call, reason in calls.items():
        with pytest.raises(SystemExit):
            from_weights.main(call)
        assert reason in capsys.readouterr().err
    with pytest.raises(SystemExit, match="has no folder 'rose'"):
        from_weights.make_data(tmp_path, tmp_path / "runs", 2, 0.25)
    for name in ("rose", "tulip"):
        toy_images(tmp_path / name, 8)
    with pytest.raises(SystemExit, match="8 roses: 2 are held out, and 6 are left"):
        from_weights.make_data(tmp_path, tmp_path / "runs", 4, 0.25)
    with pytest.raises(SystemExit, match="there is no record"):
        from_weights.report(Path("none.json"), Path("none.md.in"))


def test_the_rate_of_frozen_layers_is_measured_in_turn(
    flowers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []

    def rate(row: gallery.Training, source: str) -> float:
        turns.append(row.freeze)
        return {"": 2.0, "D:3": 4.0}[row.freeze]

    monkeypatch.setattr(gallery, "rate", rate)
    args = from_weights.parsed(["--data", str(flowers)])
    table = from_weights.rows(args)
    monkeypatch.setitem(gallery.DATA, "roses", SimpleNamespace(path=str))
    assert from_weights.rates(table, args) == {"free": 2, "frozen": 4}
    assert turns == ["", "D:3"] * 2
    run = gallery.run_of(table["frozen-few-0"], "data", 6000)
    assert run.frozen == ("D:3",)
    assert run.lr.end == 6000  # type: ignore[union-attr]
