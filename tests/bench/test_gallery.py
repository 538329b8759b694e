"""The scripts of the gallery and the demo: tables fit the recipes, measures are right."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from ganvas import recipes
from ganvas.training import start

BENCH = Path(__file__).parents[2] / "bench"


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


gallery, bf16, letters = script("gallery"), script("bf16"), script("letters")


@pytest.mark.parametrize("name", gallery.TABLE)
def test_every_setting_of_the_gallery_fits_its_recipe(name: str) -> None:
    row = gallery.TABLE[name]
    settings = gallery.settings_of(row, 80_000)
    assert not any("{" in s for s in settings)
    run = start.with_data(recipes.find(row.recipe)(6_604), row.data, row.size, settings)
    if "lr.end={images}" in row.settings:
        assert run.lr.end == 80_000  # type: ignore[union-attr]


def test_a_complete_training_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dcgan.json").write_text('{"cpu_seconds": 9.0, "complete": true}')
    monkeypatch.setattr(gallery.subprocess, "Popen", None)  # nothing may be started
    gallery.carried_out("dcgan", tmp_path)


def test_bf16_has_a_run_for_every_recipe_on_images() -> None:
    runs = {name: bf16.gallery_run(name) for name in recipes.all_recipes()}
    assert [name for name, run in runs.items() if run is None] == ["dual_learning"]


def test_letters_near_the_training_set_are_repeats() -> None:
    """Copies are counted; letters of unseen families hardly ever are."""
    training_letters, unseen = letters.Letters("train"), letters.Letters("test")
    distance = letters.repeat_distance(training_letters)
    copies = letters.nearest(
        training_letters.images[:260], training_letters.labels[:260], training_letters
    )
    assert (copies < distance).all()
    others = letters.nearest(unseen.images, unseen.labels, training_letters)
    assert float((others < distance).double().mean()) < letters.REPEATS


def test_the_classifier_sees_letters_and_nothing() -> None:
    torch.manual_seed(0)
    some = letters.Letters("val")
    x, y = some.images[:64], some.labels[:64]
    moved, none = letters.augmented(x), letters.nothing(x, y)
    assert moved.shape == x.shape
    assert moved.abs().max() <= 1
    assert none.shape[1:] == x.shape[1:]
    assert len(none) > 64
