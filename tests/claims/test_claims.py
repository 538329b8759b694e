"""The contract of every claim; committed records and page agree with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ganvas.claims import all_claims, experiments, runner
from ganvas.claims.claim import Record
from ganvas.claims.kit import plots
from ganvas.claims.kit.training import Comparison
from ganvas.claims.page import write_report

RECORDS = Path(__file__).parents[2] / "docs" / "claims"
EXPERIMENTS = Path(next(iter(experiments.__path__)))
CLAIMS = all_claims()
BACK_REFERENCE = re.compile(
    r"(the same|as (above|of|before)|that|those|this|these|its?|they|them|their)\b", re.IGNORECASE
)


def record_of(name: str) -> Record:
    """Its record; a claim whose bounds stand before its first run is shown as such on the page."""
    record = runner.read(name, RECORDS)
    if record is None:
        pytest.skip(f"its bounds are set, and it is not run yet: ganvas claim run {name}")
    return record


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_says_what_it_is(name: str) -> None:
    claim = CLAIMS[name]
    words = claim.words
    assert (EXPERIMENTS / f"{name.replace('-', '_')}.py").is_file()
    assert words.minutes > 0
    assert words.seeds >= 3
    assert all(len(c.why) > 20 for c in words.checks)
    assert any(c.role == "claim" for c in words.checks)
    assert {c.figure for c in words.checks} <= words.figures.keys()
    if words.kind != "theory" and isinstance(claim.experiment, Comparison):
        assert claim.experiment.controls, "a control arm lacks the mechanism"
        assert words.arms.keys() == claim.experiment.arms.keys()


@pytest.mark.parametrize("name", CLAIMS)
def test_its_labels_stand_alone(name: str) -> None:
    """The page puts judged figures first, so that no label may refer to the row above."""
    words = CLAIMS[name].words
    for labels in (words.figures, words.arms):
        assert not [text for text in labels.values() if BACK_REFERENCE.match(text)]
        assert len(set(labels.values())) == len(labels), "two have the same label"


@pytest.mark.parametrize("name", CLAIMS)
def test_its_record_is_what_the_bounds_make_of_the_figures(name: str) -> None:
    claim, record = CLAIMS[name], record_of(name)
    assert not runner.is_stale(claim, record), (
        "the bounds were changed after the run: run it again, and say so"
    )
    judged = runner.judge(claim, record["seeds"], record["failures"])
    assert {k: record[k] for k in judged} == judged
    first = claim.words.first
    assert [s["seed"] for s in record["seeds"]] == list(range(first, first + len(record["seeds"])))
    assert len(record["seeds"]) + len(record["failures"]) >= 3
    assert record["commit"]
    assert "dirty" not in record["commit"]
    for seed in record["seeds"]:
        assert {c.figure for c in claim.words.checks} <= seed["figures"].keys()
        assert seed["figures"].keys() <= claim.words.figures.keys(), "a figure has no label"
        assert seed["seconds"] > 0


@pytest.mark.parametrize("name", CLAIMS)
def test_no_null_passes_a_bound_of_its_statement(name: str) -> None:
    """Neither an untrained model, nor a guess, nor a control: such a bound shows nothing."""
    claim, record = CLAIMS[name], record_of(name)
    assert not record["void"]
    for check in (c for c in claim.words.checks if c.role == "claim"):
        nulls = [
            [seed["nulls"].get(null, {}).get(check.figure) for seed in record["seeds"]]
            for null in record["seeds"][0]["nulls"]
        ]
        assert any(None not in values for values in nulls), f"{check.figure} has no null"
    if claim.words.kind != "theory":
        for seed in record["seeds"]:
            assert "untrained" in seed["nulls"]
            assert len(seed["nulls"]) > 1, "an untrained model, and a guess or a control"


@pytest.mark.parametrize("name", CLAIMS)
def test_its_plot_draws_from_the_record(name: str) -> None:
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    CLAIMS[name].plot(figure, record_of(name)["seeds"])
    figure.draw_without_rendering()
    said = [
        (a.get_xlabel(), a.get_ylabel(), a.get_title(), a.get_title("left")) for a in figure.axes
    ]
    assert any(map(any, said))


def test_the_page_is_made_of_the_records(tmp_path: Path) -> None:
    for file in RECORDS.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert page == (RECORDS / "README.md").read_text(encoding="utf-8"), (
        "write it again: ganvas claim report"
    )
    for file in RECORDS.glob("*.json"):
        assert file.with_suffix(".png").is_file()


def test_there_is_no_record_without_its_claim() -> None:
    assert {f.stem for f in RECORDS.glob("*.json")} <= set(CLAIMS)
    assert not list(RECORDS.glob("*.partial"))
    for file in RECORDS.glob("*.json"):
        assert file.stat().st_size < 400_000
        json.loads(
            file.read_text(encoding="utf-8"), parse_constant=pytest.fail
        )  # NaN and infinity are no JSON


@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_of_images_is_small_and_drawn_as_it_was(channels: int) -> None:
    x = torch.rand(3, channels, 8, 5) * 2 - 1
    row = plots.pixels(x)
    assert row.startswith("data:image/png;base64,")
    figure = Figure()
    plots.pictures({"row": lambda s: s["row"]})(figure, [{"series": {"row": row}, "figures": {}}])
    drawn = np.asarray(figure.axes[0].images[0].get_array(), float) / 127.5 - 1
    side_by_side = torch.cat(list(x), 2).movedim(0, -1).reshape(drawn.shape)
    torch.testing.assert_close(torch.tensor(drawn).float(), side_by_side, atol=1 / 127, rtol=0)
