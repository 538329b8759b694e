"""What a run says before it begins: lengths that it does not reach, and what it lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toys import toy_images, toy_run

from ganvas import recipes
from ganvas.core import Shape
from ganvas.core.config import override
from ganvas.core.errors import UserError
from ganvas.training import trainer
from ganvas.training.notes import notes, notes_on_going_on


def said(recipe: str, *settings: str) -> str:
    run = toy_run(recipe, Path("unused"))
    for setting in settings:
        run = override(run, setting)
    side = 128 if recipe in ("esrgan", "srgan") else 16  # which their discriminators need
    return "\n".join(notes(run, run.method(Shape(3, side, side))))


def test_a_stage_that_is_not_reached_is_named_with_its_beginning() -> None:
    text = said("esrgan", "pretrain=16000000", "images=64")
    assert "the last stage of ESRGAN begins at 16,000,000 images; this run ends at 64" in text
    assert "in stage 0" in text
    assert "stage" not in said("esrgan", "pretrain=0")
    assert "with images of 4 px" in said("progan", "images=8", "fade=800", "hold=800")
    assert "the game begins at 40,000 images" in said("vqgan_small", "start=40000", "images=64")


def test_a_rate_that_never_falls_and_missing_features_are_named() -> None:
    text = said("pix2pix", "lr.start=32000", "lr.end=64000", "images=2000")
    assert "--set lr.start=1000 --set lr.end=2000" in text
    assert "rate" not in said("pix2pix", "lr.start=1000", "lr.end=2000", "images=2000")
    assert "without --set vgg=FILE" in said("esrgan")
    assert "vgg" not in said("dcgan")
    assert "vgg" not in said("srresnet")


def test_a_longer_run_whose_rate_has_fallen_is_told_so() -> None:
    run = override(toy_run("pix2pix", Path("unused")), "lr.start=1000")
    run = replace(override(run, "lr.end=2000"), images=4000)
    (line,) = notes_on_going_on(run, 2000)
    assert "--set lr.start=3000 --set lr.end=4000" in line
    assert not notes_on_going_on(replace(run, images=2000), 1000)
    assert not notes_on_going_on(replace(run, lr=None), 2000)
    assert not notes_on_going_on(run, 4000)


def test_a_run_of_few_steps_is_told_so() -> None:
    """60 photographs by the default length are 12 steps of DCGAN, and a gray grid."""
    assert "this run has 12 steps of 128 images" in said("dcgan", "batch=128", "images=1500")
    assert "steps" not in said("dcgan", "batch=8", "images=8000")


def test_whole_recipes_reach_their_ends() -> None:
    """What a recipe itself would not reach is a mistake in the recipe."""
    for name, recipe in recipes.all_recipes().items():
        run = recipe(10_000)
        start = getattr(run.lr, "start", None)
        assert not isinstance(start, int) or start < run.images, name


def test_a_log_object_without_all_functions_is_refused_at_once(tmp_path: Path) -> None:
    class Half:
        def scalars(self, values: object, images: int) -> None: ...

    with pytest.raises(UserError, match="log is an object without image and close"):
        trainer.train(
            "dcgan",
            toy_images(tmp_path / "d"),
            out=tmp_path / "r",
            size=16,
            log=Half(),  # type: ignore[arg-type]
        )
    assert not (tmp_path / "r").exists()
