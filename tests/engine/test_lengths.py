"""A run that is shorter or longer than its recipe: stages and schedules in proportion."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import SMALL, toy_images

import ganvas
from ganvas import recipes
from ganvas.core import Clock, Method, Run, Shape
from ganvas.core.config import dump, fitted
from ganvas.core.errors import UserError
from ganvas.engine.build import rehearse
from ganvas.engine.run_dir import read_record
from ganvas.methods import ProGAN
from ganvas.training.benchmark import steps_of
from ganvas.training.continuation import run_of

COUNT, PARTS = 5000, 40
# Their rates fall by a constant factor a step, which has no length.
PER_STEP = {"gan", "cgan"}


def built(run: Run) -> Method:
    """The run's method on the meta device, for data that it can have."""
    assert isinstance(run.data, partial)
    size = run.data.keywords.get("size") or 64
    height, width = (size, size) if isinstance(size, int) else size
    channels = run.data.keywords.get("channels")
    for c in (channels,) if channels else (3, 1):
        for classes, palette in ((10, ()), (0, ()), (0, tuple(range(4)))):
            try:
                shape = Shape(c, height, width, classes, palette)
                return rehearse(run, shape, torch.device("cpu"))
            except UserError:
                continue
    raise AssertionError("no data fits")


def course(run: Run, method: Method) -> tuple[list[object], list[float]]:
    """At the middle of every fortieth of the run: stages and game, and rates."""
    stages: list[object] = []
    rates: list[float] = []
    game = getattr(method, "start", 0)
    for part in range(PARTS):
        images = run.images * (2 * part + 1) // (2 * PARTS)
        clock = Clock(images // run.batch, images)
        stage = method.stage(clock)
        waits = type(game) is int and images < game
        stages.append((stage.index, stage.resolution, stage.lr, waits))
        schedules = (run.lr, run.momentum, run.beta2)
        rates += [1.0 if schedule is None else schedule(clock) for schedule in schedules]
    return stages, rates


@pytest.mark.parametrize("name", recipes.all_recipes())
def test_a_tenth_of_a_recipe_is_the_recipe_in_small(name: str) -> None:
    whole = recipes.find(name)(COUNT)
    short = fitted(whole, whole.images // 10)
    assert short.images == whole.images // 10
    method = built(whole)
    other = method if dump(short.method) == dump(whole.method) else built(short)
    (stages, rates), (others, other_rates) = course(whole, method), course(short, other)
    assert stages == others
    assert name in PER_STEP or rates == pytest.approx(other_rates, abs=0.02)
    assert fitted(whole, whole.images) == whole


@pytest.mark.parametrize("images", [10**400, 0, -5])
def test_a_length_that_is_none_changes_nothing_else(images: int) -> None:
    run = recipes.find("cyclegan")(COUNT)
    found = fitted(run, images)
    assert found.images == images
    assert images > 0 or found.lr == run.lr


def test_what_a_run_has_is_timed_by_its_share(tmp_path: Path) -> None:
    run = recipes.find("progan")(COUNT)
    method = built(run)
    kinds = steps_of(run, method)
    assert sum(share for _, share in kinds) == pytest.approx(1)
    sides = [method.stage(clock).resolution for clock, _ in kinds]
    assert sides[0] == 4
    assert max(s for s in sides if s) == 128
    ae = recipes.find("autoencoder_kl_small")(COUNT)
    waits, plays = steps_of(ae, built(ae))
    assert waits[1] == pytest.approx(40_000 / 60_000, abs=0.02)
    assert plays[0].images >= 40_000


def lengths(run_dir: Path) -> dict[str, Any]:
    run = run_of(run_dir, read_record(run_dir))
    assert isinstance(run.method, partial)
    assert run.method.func is ProGAN
    return {k: run.method.keywords[k] for k in ("fade", "hold")} | {"images": run.images}


def test_lengths_follow_images_and_are_set_by_hand(tmp_path: Path) -> None:
    """And a run that goes on keeps those that it began with, whatever its new length."""
    data = toy_images(tmp_path / "data")
    options: dict[str, Any] = {"set": SMALL["progan"], "size": 16}

    def train(out: str, images: int, *set: str, resume: str = "never") -> dict[str, Any]:
        all_of = {**options, "set": [*SMALL["progan"], *set]}
        ganvas.train("progan", data, out=tmp_path / out, images=images, resume=resume, **all_of)
        return lengths(tmp_path / out)

    whole = recipes.find("progan")(COUNT).images
    own = [s for s in options["set"] if s.startswith(("fade", "hold"))]
    options["set"] = [s for s in options["set"] if s not in own]
    first = train("a", 64, "fade=8")
    assert first["fade"] == 8
    second = train("a", 96, "fade=8", resume="auto")
    assert second == {**first, "images": 96}
    text = dump(fitted(recipes.find("progan")(COUNT), whole // 8))
    assert text["method"]["fade"] == 100_000  # type: ignore[index,call-overload]
