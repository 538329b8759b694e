"""`ganvas train auto`: a recipe for the data and the time, with schedules that end with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas import recipes
from ganvas.core import Shape
from ganvas.core.config import fitted
from ganvas.core.errors import UserError
from ganvas.engine.build import rehearse
from ganvas.engine.run_dir import read_record
from ganvas.training import auto
from ganvas.training.start import config_text
from ganvas.training.trainer import train
from ganvas.training.with_data import augmented, with_data


def fill(folder: Path, count: int, width: int = 40, height: int = 48, first: int = 0) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = np.random.default_rng(first + i).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


def test_facts(tmp_path: Path) -> None:
    fill(tmp_path / "plain", 3)
    assert auto.facts(tmp_path / "plain") == ("noise", 3, 0, 40, None)
    fill(tmp_path / "classes" / "sea", 2)
    fill(tmp_path / "classes" / "land", 3)
    assert auto.facts(tmp_path / "classes") == ("noise", 5, 2, 40, None)
    fill(tmp_path / "pairs" / "A", 2)
    fill(tmp_path / "pairs" / "B", 2)
    assert auto.facts(tmp_path / "pairs") == ("pairs", 2, 0, 40, None)
    fill(tmp_path / "domains" / "A", 2)
    fill(tmp_path / "domains" / "B", 4)
    assert auto.facts(tmp_path / "domains") == ("domains", 2, 0, 40, None)
    fill(tmp_path / "halves", 3, width=96)
    assert auto.facts(tmp_path / "halves") == ("pairs", 3, 0, 48, None)
    fill(tmp_path / "partial" / "a", 2)
    fill(tmp_path / "partial" / "b", 2)
    fill(tmp_path / "partial" / "unlabeled", 2)
    assert auto.facts(tmp_path / "partial") == ("partial", 6, 2, 40, None)
    fill(tmp_path / "one", 1)
    with pytest.raises(UserError, match="singan"):
        auto.facts(tmp_path / "one")
    (tmp_path / "dark").mkdir()
    for name in "ab":
        deep = Image.fromarray(np.full((40, 40), 3000, np.uint16))
        deep.save(tmp_path / "dark" / f"{name}.png")
    dark = auto.facts(tmp_path / "dark")
    assert dark.white == 4095
    assert "data.white=4095" in auto.choose(dark, 5).set
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.png"):
        auto.facts(tmp_path / "broken")


@pytest.mark.parametrize("name", auto.read().candidates)
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("side", [32, 70, 300])
def test_every_candidate_can_be_built(name: str, classes: int, side: int) -> None:
    task = auto.read().candidates[name].task
    found = auto.Facts(task, 500, classes if task == "noise" else 3 * (task == "partial"), side)
    chosen = auto.configured(name, found, minutes=20)
    settings = auto.filled(chosen.set, 50_000)
    assert not any("{" in s for s in settings)
    assert isinstance(chosen.size, int)
    assert chosen.size <= max(side, auto.LEAST)
    run = augmented(fitted(recipes.find(chosen.recipe)(500), 50_000), chosen.augment)
    run = with_data(run, "data", chosen.size, settings)
    shape = Shape(3, chosen.size, chosen.size, found.classes)
    rehearse(run, shape, torch.device("cpu"))
    assert getattr(run.lr, "end", 50_000) == 50_000


def test_larger_images_get_a_lower_rate() -> None:
    def rate(side: int) -> float:
        chosen = auto.configured("dcgan", auto.Facts("noise", 5000, 0, side), minutes=20)
        run = with_data(
            recipes.find(chosen.recipe)(5000), "data", chosen.size, auto.filled(chosen.set, 9)
        )
        return run.optim["D"].keywords["lr"]  # type: ignore[attr-defined]

    assert rate(64) == rate(32) / 2


def test_something_is_chosen_for_all_data_and_lengths() -> None:
    for task in get_args(auto.Task):
        for classes in (0, 10):
            for minutes in (0.1, 3, 15, 60, 1e5, None):
                chosen = auto.choose(auto.Facts(task, 5000, classes, 64), minutes)
                recipes.find(chosen.recipe)


def test_lengths_are_filled_in() -> None:
    assert auto.filled(["a={images}", "b={images/4}", "c={images*0.7}", "d=1"], 100) == (
        "a=100",
        "b=25",
        "c=70",
        "d=1",
    )


def test_schedules_end_with_the_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dcgan(found: auto.Facts, minutes: float | None, size: object) -> auto.Chosen:
        return auto.configured("dcgan", found, minutes or 0)

    monkeypatch.setattr(auto, "choose", dcgan)
    train("auto", "digits", out=tmp_path / "run", minutes=0.02, set=["G.width=4", "D.width=4"])
    record = read_record(tmp_path / "run")
    assert record["recipe"] == "dcgan_letters"
    run: Any = record["run"]
    assert run["lr"]["end"] == run["images"]
    assert run["method"]["G"]["width"] == 4  # the user's settings take precedence


def test_a_length_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--minutes or --images"):
        train("auto", "digits", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="name a recipe"):
        config_text("auto", "digits")


def test_the_same_command_continues_what_auto_chose(tmp_path: Path) -> None:
    words: Any = {"out": tmp_path / "run", "minutes": 0.02, "set": ["G.width=4", "D.width=4"]}
    first = train("auto", "digits", resume="auto", **words)
    again = train("auto", "digits", resume="auto", **words)
    assert again.info["images_trained"] == first.info["images_trained"]
