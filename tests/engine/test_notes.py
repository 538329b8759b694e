"""What a run says before it begins: lengths that it does not reach, and what it lacks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toys import toy_images, toy_run

from ganvas import recipes
from ganvas.core import Shape
from ganvas.core.config import override
from ganvas.core.errors import UserError
from ganvas.data import images
from ganvas.engine.run_dir import read_record
from ganvas.methods import DeOldify
from ganvas.training import trainer
from ganvas.training.notes import notes, notes_on_data, notes_on_going_on
from ganvas.training.snapshot import is_due, schedule


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


def test_a_training_names_what_it_skips_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = toy_images(tmp_path / "d", 8), tmp_path / "r"
    (data / "broken.png").write_bytes((data / "000.png").read_bytes()[:60])
    told = {"set": ["G.width=4", "D.width=4"], "size": 16, "batch": 8, "device": "cpu"}
    trainer.train("dcgan", data, out=out, images=8, **told)
    assert "data: 1 image cannot be used, skipped: broken.png" in capsys.readouterr().err
    record = read_record(out)
    assert "skipped: broken.png" in record.get("data_notes", [])[0]
    assert not notes_on_data(images(data, size=16).info, record), "a resumed run finds the same"


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


@pytest.mark.parametrize("recipe", ["deoldify", "deoldify_artistic", "deoldify_small"])
def test_the_game_of_nogan_is_seen(recipe: str) -> None:
    """Its inflection point is between snapshots, so a short game has enough of them."""
    for count, least in ((200, 5), (3_000, 10), (40_000, 10)):
        run = recipes.find(recipe)(count)
        assert isinstance(run.method, partial)
        lengths = {name: run.method.keywords[name] for name in ("pretrain", "critic")}
        start = sum(lengths.values())
        method: Any = SimpleNamespace(**lengths)  # no networks, which take time to build
        method.stage = partial(DeOldify.stage, method)
        method.last_snapshots = DeOldify.last_snapshots
        record: Any = schedule(run, method)
        older: Any = {"tick": record["tick"]}
        counts = [*range(start % run.batch, run.images, run.batch), run.images]
        steps = [step for step in pairwise(counts) if step[1] >= start]
        due = [now for before, now in steps if is_due(record, before, now)]
        assert len([now for now in due if now > start]) >= least
        assert due[0] == start, "the network before the game is one to choose from"
        assert len([step for step in steps if is_due(older, *step)]) < 5
