"""The contract of a method, tested on every recipe at toy size."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
import torch
from toys import SMALL, distinct_recipes, toy_data, toy_run

from ganvas import recipes
from ganvas.core import (
    Couples,
    Encodes,
    Method,
    Run,
    Samples,
    Styled,
    Translates,
    Truncates,
    config,
)
from ganvas.core.errors import UserError
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.inference import model_file
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.methods.base import citation
from ganvas.nets.layers import Strided1x1

every_recipe = pytest.mark.parametrize("recipe", sorted(recipes.all_recipes()))
# For tests that take long: the other recipes differ in numbers only.
distinct_recipe = pytest.mark.parametrize("recipe", distinct_recipes())
STEPS = 6


def small(recipe: str, tmp_path: Path, *more: str) -> tuple[Run, Engine]:
    assert recipe in SMALL, f"give {recipe} a toy size in tests/toys.py"
    run = toy_run(recipe, toy_data(recipe, tmp_path / "data"), *more)
    return run, Engine(run, run.data())


def full_state(engine: Engine) -> dict[str, torch.Tensor]:
    """Weights, averages, optimizer state, image pools and clock."""
    values, shared, own = engine.state()
    return {k: v.clone() for k, v in {**shared, **own}.items()} | {
        "clock": torch.tensor(list(values["clock"].values()))
    }


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    unequal = [k for k in a if not torch.equal(a[k], b[k])]
    assert not unequal, f"not bitwise equal: {unequal[:5]}"


@distinct_recipe
def test_resume_is_bitwise_at_every_cut(recipe: str, tmp_path: Path) -> None:
    """A resumed run equals an uninterrupted one: weights, optimizers, averages, logs."""
    run, straight = small(recipe, tmp_path, "seed=3")
    logs, states = [], []
    for step in range(STEPS):
        values, shared, own = straight.state()
        checkpoint.save(tmp_path / f"cut{step}", values, shared, own)
        logs.append({k: float(v) for k, v in straight.step().items()})
        states.append(full_state(straight))
    for cut in range(1, STEPS):
        engine = Engine(run, run.data())
        path = checkpoint.all_of(tmp_path / f"cut{cut}")[-1]
        engine.load_state(*checkpoint.load(path))
        for step in range(cut, STEPS):
            assert {k: float(v) for k, v in engine.step().items()} == logs[step], (
                f"cut {cut}, step {step}"
            )
        assert_same(full_state(engine), states[-1])


@every_recipe
def test_a_run_survives_dump_and_load(recipe: str, tmp_path: Path) -> None:
    run, engine = small(recipe, tmp_path)
    again = config.load(config.dump(run))
    assert config.dump(again) == config.dump(run)
    other = Engine(again, again.data())
    engine.step()
    other.step()
    assert_same(full_state(engine), full_state(other))


@every_recipe
def test_another_seed_gives_another_run(recipe: str, tmp_path: Path) -> None:
    _, one = small(recipe, tmp_path)
    _, two = small(recipe, tmp_path, "seed=1")
    assert one.step() != two.step()


@every_recipe
def test_an_update_moves_its_player_and_no_other(recipe: str, tmp_path: Path) -> None:
    """Every player moves within the few steps in which a toy run passes all stages."""
    _, engine = small(recipe, tmp_path)
    engine.step()  # past the first batch-norm and pool fills
    movers: list[str] = []
    apply = engine.apply

    def checked_apply(update):
        before = {p: [w.detach().clone() for w in ws] for p, ws in engine.parameters.items()}
        outcome = apply(update)
        for player, weights in engine.parameters.items():
            moved = any(not torch.equal(a, b) for a, b in zip(before[player], weights, strict=True))
            assert moved == (player == update.player), (
                f"{player} moved={moved} in {update.player}'s turn"
            )
        movers.append(update.player)
        return outcome

    engine.apply = checked_apply
    while set(movers) != set(engine.method.players) and engine.clock.step < STEPS:
        engine.step()
    assert set(movers) == set(engine.method.players)


@every_recipe
def test_bf16_trains_on_float32_weights(recipe: str, tmp_path: Path) -> None:
    _, engine = small(recipe, tmp_path, "precision=bf16")
    for _ in range(2):
        engine.step()
    assert {w.dtype for w in engine.method.parameters()} == {torch.float32}
    engine.check_weights()


@distinct_recipe
def test_a_loaded_model_gives_the_same_images(recipe: str, tmp_path: Path) -> None:
    run, engine = small(recipe, tmp_path)
    for _ in range(3):
        engine.step()
    model = engine.model()
    shape = engine.feed.info.shape
    facts = {"shape": asdict(shape), "task": "images"}
    model_file.save(tmp_path / "model", model, run, shape, facts)
    saved, loaded = Model(model, facts), load(tmp_path / "model")
    if isinstance(model, Samples):
        assert torch.equal(
            saved.sample(4, seed=7, output="torch"), loaded.sample(4, seed=7, output="torch")
        )
        assert not torch.equal(
            saved.sample(4, seed=7, output="torch"), saved.sample(4, seed=8, output="torch")
        )
        labels = [0] * 3 if model.classes else None
        images = loaded.sample(3, seed=1, labels=labels, output="numpy")
        assert images.shape == (3, model_side(engine), model_side(engine), 3)
        if isinstance(model, Encodes):
            assert isinstance(loaded.method, Encodes)
            batch = engine.feed.fixed(3)
            x = batch.x if "x" in batch else batch.a
            assert torch.equal(loaded.method.encode(x), model.encode(x))
            assert model.sample(3, z=model.encode(x)).shape == x.shape
    assert isinstance(model, Samples | Translates)
    if isinstance(model, Translates):
        x = torch.rand(2, 3, 19, 22) * 2 - 1  # any size
        for to in model.directions:
            translated = loaded.translate(x, to=to, output="torch")
            assert translated.shape == (2, 3, 19 * model.upscale, 22 * model.upscale)
            assert torch.equal(translated, saved.translate(x, to=to, output="torch"))
            whole, tiled = (
                loaded.translate(x[:1], to=to, output="torch", tile=side) for side in (None, 16)
            )
            torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4)


@every_recipe
def test_labels_select_classes_or_raise(recipe: str, tmp_path: Path) -> None:
    _, engine = small(recipe, tmp_path)
    engine.step()
    if not isinstance(engine.method, Samples):
        pytest.skip("translates images")
    model = Model(
        engine.model(),
        {"shape": asdict(engine.feed.info.shape), "data": {"classes": engine.feed.info.classes}},
    )
    if not engine.method.classes:
        for call in (lambda: model.sample(2, labels=[0, 1]), lambda: model.class_number("dark")):
            with pytest.raises(UserError, match="without labels"):
                call()
        return
    one, other = (model.sample(2, seed=1, labels=[y, y], output="torch") for y in (0, 1))
    assert not torch.equal(one, other)
    # Coupled domains share a latent; other methods go through the classes in turn.
    coupled = isinstance(engine.method, Couples)
    turns = torch.stack([one[0], other[0 if coupled else 1]])
    assert torch.equal(model.sample(2, seed=1, output="torch"), turns)
    second = "b" if coupled else "light"
    assert model.class_number(second) == 1
    with pytest.raises(UserError, match="from 0 to 1"):
        model.sample(2, labels=[0, 2])
    with pytest.raises(UserError, match=f"Did you mean '{second}'"):
        model.class_number(second + "e")


def model_side(engine: Engine) -> int:
    return engine.method.current_stage.resolution or engine.feed.info.height


@every_recipe
def test_no_strided_convolution_of_single_pixels(recipe: str, tmp_path: Path) -> None:
    """Their gradients corrupt memory in oneDNN: see `nets.layers.Strided1x1`."""
    _, engine = small(recipe, tmp_path)
    convs = [m for m in engine.method.modules() if isinstance(m, torch.nn.Conv2d)]
    found = [m for m in convs if m.kernel_size == (1, 1) and m.stride != (1, 1)]
    assert [m for m in found if not isinstance(m, Strided1x1)] == []


@every_recipe
def test_images_stay_in_range(recipe: str, tmp_path: Path) -> None:
    _, engine = small(recipe, tmp_path)
    engine.step()
    model = engine.model()
    if isinstance(model, Samples):
        x = model.sample(8)
        assert x.dtype == torch.float32
        assert torch.isfinite(x).all()
        if not recipe.startswith(
            ("progan", "style", "r3gan")
        ):  # their generators' output is linear
            assert x.abs().max() <= 1


@every_recipe
def test_styles_and_truncation(recipe: str, tmp_path: Path) -> None:
    """Samples equal the images of their styles; truncation moves them to one image."""
    _, engine = small(recipe, tmp_path)
    for _ in range(5):
        engine.step()
    model = engine.model()
    if not isinstance(model, Samples) or not isinstance(model, Truncates):
        pytest.skip("does not truncate")
    z, y = model.latent(3), torch.zeros(3, dtype=torch.int64) if model.classes else None
    image = model.sample(3, z=z, y=y)
    half = model.truncated(z, 0.5, y)
    assert half.shape == image.shape
    torch.testing.assert_close(model.truncated(z, 0.5, y), half)  # the same image each time
    if isinstance(model, Styled):
        torch.testing.assert_close(model.truncated(z, 1.0, y), image)
        far, near = (
            (model.truncated(z, t, y) - model.truncated(z, 0.0, y)).abs().sum() for t in (0.5, 0.1)
        )
        assert far > near > 0
        w = model.styles(z, y)
        assert w.shape[:2] == (3, model.layers)
        assert model.mean_style().shape == w.shape[2:]
        torch.testing.assert_close(model.synthesize(w), image)
        torch.testing.assert_close(model.train().synthesize(w), image)  # only updates draw noise


@every_recipe
def test_micro_batches_give_the_gradients_of_the_batch(recipe: str, tmp_path: Path) -> None:
    """Micro-batches change only rounding, unless a layer has statistics of the batch."""
    _, whole = small(recipe, tmp_path)
    if any("batch" in type(m).__name__.lower() for m in whole.method.modules()):
        pytest.skip("batch norm or minibatch statistics use the micro-batch")
    _, cut = small(recipe, tmp_path, "micro=1")
    a, b = whole.step(), cut.step()
    assert {k: float(v) for k, v in a.items()} == pytest.approx(
        {k: float(v) for k, v in b.items()}, rel=1e-4, abs=1e-5
    )


@every_recipe
def test_the_docstring_names_its_paper_and_what_differs(recipe: str) -> None:
    method = recipes.find(recipe)(1).method
    assert isinstance(method, partial)
    doc = inspect.getdoc(method.func) or ""
    assert isinstance(method.func, type)
    assert issubclass(method.func, Method)
    source = r"(arXiv:\d{4}\.\d{4,5}|github\.com/[\w-]+/[\w-]+)"
    assert re.search(rf"\S\. .+, \d{{4}}, {source}\.$", citation(method.func)), (
        "the first two paragraphs: title, then authors, year, arXiv id or a project's address"
    )
    assert "Differs from the paper:" in doc
    assert getattr(method.func, "__final__", False), (
        "methods are final: a paper is not another paper's subclass"
    )
