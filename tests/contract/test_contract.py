"""What every method must do, whatever it is."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
import torch
from toys import SMALL, toy_data, toy_run

from ganvas import recipes
from ganvas.core import Couples, Encodes, Method, Run, Samples, Styled, Translates, Truncates, config
from ganvas.core.errors import UserError
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.inference import model_file
from ganvas.inference.load import load
from ganvas.inference.model import Model

every_recipe = pytest.mark.parametrize("recipe", sorted(recipes.all_recipes()))
STEPS = 6


def small(recipe: str, tmp_path: Path, *more: str) -> tuple[Run, Engine]:
    assert recipe in SMALL, f"give {recipe} a toy size in tests/toys.py"
    run = toy_run(recipe, toy_data(recipe, tmp_path / "data"), *more)
    return run, Engine(run, run.data())


def everything(engine: Engine) -> dict[str, torch.Tensor]:
    """Weights, averages, optimizer state, pools."""
    values, shared, own = engine.state()
    return {k: v.clone() for k, v in {**shared, **own}.items()} | {
        "clock": torch.tensor(list(values["clock"].values()))
    }


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    unequal = [k for k in a if not torch.equal(a[k], b[k])]
    assert not unequal, f"not bitwise equal: {unequal[:5]}"


@every_recipe
def test_resume_is_bitwise_at_every_cut(recipe: str, tmp_path: Path) -> None:
    """Weights, optimizers, averages, pools and logs of a run that was cut are those of one that was not."""
    run, straight = small(recipe, tmp_path, "seed=3")
    logs, states = [], []
    for step in range(STEPS):
        values, shared, own = straight.state()
        checkpoint.save(tmp_path / f"cut{step}", values, shared, own)
        logs.append({k: float(v) for k, v in straight.step().items()})
        states.append(everything(straight))
    for cut in range(1, STEPS):
        engine = Engine(run, run.data())
        path = checkpoint.all_of(tmp_path / f"cut{cut}")[-1]
        engine.load_state(*checkpoint.load(path))
        for step in range(cut, STEPS):
            assert {k: float(v) for k, v in engine.step().items()} == logs[step], f"cut {cut}, step {step}"
        assert_same(everything(engine), states[-1])


@every_recipe
def test_a_run_written_down_is_the_same_run(recipe: str, tmp_path: Path) -> None:
    run, engine = small(recipe, tmp_path)
    again = config.load(config.dump(run))
    assert config.dump(again) == config.dump(run)
    other = Engine(again, again.data())
    engine.step()
    other.step()
    assert_same(everything(engine), everything(other))


@every_recipe
def test_another_seed_is_another_run(recipe: str, tmp_path: Path) -> None:
    _, one = small(recipe, tmp_path)
    _, two = small(recipe, tmp_path, "seed=1")
    assert one.step() != two.step()


@every_recipe
def test_each_player_moves_and_nobody_else_does(recipe: str, tmp_path: Path) -> None:
    """In a step, or in the few that a toy run takes to pass through its stages."""
    _, engine = small(recipe, tmp_path)
    engine.step()  # past the first batch-norm and pool fills
    movers: list[str] = []
    plain = engine.apply

    def watched(update):
        before = {p: [w.detach().clone() for w in ws] for p, ws in engine.parameters.items()}
        outcome = plain(update)
        for player, weights in engine.parameters.items():
            moved = any(not torch.equal(a, b) for a, b in zip(before[player], weights, strict=True))
            assert moved == (player == update.player), f"{player} moved={moved} in {update.player}'s turn"
        movers.append(update.player)
        return outcome

    engine.apply = watched
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


@every_recipe
def test_the_model_file_makes_the_same_images(recipe: str, tmp_path: Path) -> None:
    run, engine = small(recipe, tmp_path)
    for _ in range(3):
        engine.step()
    model = engine.model()
    shape = engine.feed.info.shape
    facts = {"shape": asdict(shape), "task": "images"}
    model_file.save(tmp_path / "model", model, run, shape, facts)
    kept, loaded = Model(model, facts), load(tmp_path / "model")
    if isinstance(model, Samples):
        assert torch.equal(kept.sample(4, seed=7, output="torch"), loaded.sample(4, seed=7, output="torch"))
        assert not torch.equal(kept.sample(4, seed=7, output="torch"), kept.sample(4, seed=8, output="torch"))
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
            made = loaded.translate(x, to=to, output="torch")
            assert made.shape == (2, 3, 19 * model.upscale, 22 * model.upscale)
            assert torch.equal(made, kept.translate(x, to=to, output="torch"))
            whole, parts = (loaded.translate(x[:1], to=to, output="torch", tile=side) for side in (None, 16))
            torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)


@every_recipe
def test_labels_are_obeyed_or_refused(recipe: str, tmp_path: Path) -> None:
    _, engine = small(recipe, tmp_path)
    engine.step()
    if not isinstance(engine.method, Samples):
        pytest.skip("makes images from images")
    model = Model(
        engine.model(), {"shape": asdict(engine.feed.info.shape), "data": {"classes": engine.feed.info.classes}}
    )
    if not engine.method.classes:
        for ask in (lambda: model.sample(2, labels=[0, 1]), lambda: model.class_number("dark")):
            with pytest.raises(UserError, match="without labels"):
                ask()
        return
    one, other = (model.sample(2, seed=1, labels=[y, y], output="torch") for y in (0, 1))
    assert not torch.equal(one, other)
    coupled = isinstance(engine.method, Couples)  # domains: pairs of one latent; else all classes in turn
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
def test_images_stay_in_range(recipe: str, tmp_path: Path) -> None:
    _, engine = small(recipe, tmp_path)
    engine.step()
    model = engine.model()
    if isinstance(model, Samples):
        x = model.sample(8)
        assert x.dtype == torch.float32
        assert torch.isfinite(x).all()
        if not recipe.startswith(("progan", "style", "r3gan")):  # their generators' output is linear
            assert x.abs().max() <= 1


@every_recipe
def test_styles_and_truncation(recipe: str, tmp_path: Path) -> None:
    """What a method says it can do: its pictures are those of their styles, and truncation leads from them to one picture."""
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
    torch.testing.assert_close(model.truncated(z, 0.5, y), half)  # the same picture each time
    if isinstance(model, Styled):
        torch.testing.assert_close(model.truncated(z, 1.0, y), image)
        far, near = ((model.truncated(z, t, y) - model.truncated(z, 0.0, y)).abs().sum() for t in (0.5, 0.1))
        assert far > near > 0
        w = model.styles(z, y)
        assert w.shape[:2] == (3, model.layers)
        assert model.mean_style().shape == w.shape[2:]
        torch.testing.assert_close(model.synthesize(w), image)
        torch.testing.assert_close(model.train().synthesize(w), image)  # drawn noise is for training's own turns


@every_recipe
def test_micro_batches_give_the_gradients_of_the_whole(recipe: str, tmp_path: Path) -> None:
    """Where no layer shares statistics over the batch, cutting a batch changes nothing but rounding."""
    _, whole = small(recipe, tmp_path)
    if any("batch" in type(m).__name__.lower() for m in whole.method.modules()):
        pytest.skip("batch norm or minibatch statistics see the micro-batch: that is the method's nature")
    _, cut = small(recipe, tmp_path, "micro=1")
    a, b = whole.step(), cut.step()
    assert {k: float(v) for k, v in a.items()} == pytest.approx({k: float(v) for k, v in b.items()}, rel=1e-4, abs=1e-5)


@every_recipe
def test_the_docstring_names_its_paper_and_what_differs(recipe: str) -> None:
    method = recipes.find(recipe)(1).method
    assert isinstance(method, partial)
    doc = inspect.getdoc(method.func) or ""
    assert isinstance(method.func, type)
    assert issubclass(method.func, Method)
    assert re.search(r"arXiv:\d{4}\.\d{4,5}", doc.splitlines()[0]), "the first line: title, authors, year, arXiv id"
    assert "Differs from the paper:" in doc
    assert getattr(method.func, "__final__", False), "methods are final: a paper is not another paper's subclass"
