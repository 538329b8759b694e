"""The contract of a method, tested on every recipe at toy size."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

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
    Update,
    config,
)
from ganvas.core.errors import CapabilityError, UserError
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.inference import model_file
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.methods.base import citation
from ganvas.nets.augment import named
from ganvas.nets.layers import Strided1x1
from ganvas.training import probe

every_recipe = pytest.mark.parametrize("recipe", sorted(recipes.all_recipes()))
# For what takes long: the other recipes differ in numbers only.
DISTINCT = distinct_recipes()
STEPS = 6
CUTS = (1, 3, 5)  # steps before which a run is saved


@dataclass
class Trained:
    """A run of `STEPS` steps, two for recipes that are not distinct, and what was seen."""

    recipe: str
    run: Run
    engine: Engine
    cuts: Path  # folder of the checkpoints at `CUTS`
    logs: list[dict[str, float]]  # of each step
    states: list[dict[str, torch.Tensor]]  # after each step
    moves: list[tuple[str, set[str]]]  # of each update after the first step: (player, who moved)

    @cached_property
    def model(self) -> Method:
        """Its copy for inference."""
        return self.engine.model()

    def engine_of(self, *settings: str) -> Engine:
        """A new engine of the same run with other settings, before its first step."""
        run = self.run
        for assignment in settings:
            run = config.override(run, assignment)
        return Engine(run, run.data())


@pytest.fixture(scope="module", params=sorted(recipes.all_recipes()))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Every recipe in turn. The tests leave its engine and its model as they are."""
    recipe = request.param
    assert recipe in SMALL, f"give {recipe} a toy size in tests/toys.py"
    folder = tmp_path_factory.mktemp(recipe)
    run = toy_run(recipe, toy_data(recipe, folder / "data"), "seed=3")
    made = Trained(recipe, run, Engine(run, run.data()), folder, [], [], [])
    engine, apply = made.engine, made.engine.apply

    def watched(update: Any) -> Any:
        before = {p: [w.detach().clone() for w in ws] for p, ws in engine.parameters.items()}
        outcome = apply(update)
        moved = {
            player
            for player, weights in engine.parameters.items()
            if any(not torch.equal(a, b) for a, b in zip(before[player], weights, strict=True))
        }
        made.moves.append((update.player, moved))
        return outcome

    for step in range(STEPS if recipe in DISTINCT else CUTS[0] + 1):
        if step in CUTS:
            checkpoint.save(folder / f"cut{step}", *engine.state())
        made.logs.append(floats(engine.step()))
        made.states.append(full_state(engine))
        engine.apply = watched  # from the second step: the first fills batch norms and pools
    engine.apply = apply
    return made


def floats(log: Mapping[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in log.items()}


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


def test_resume_is_bitwise_from_the_written_description(trained: Trained) -> None:
    """A resumed run equals an uninterrupted one: weights, optimizers, averages, logs.

    The last cut is resumed in a new engine and the others in the same one, as after a
    rewind. One goes on to the end; the others take a step, after which the whole state is equal."""
    run = config.load(config.dump(trained.run))
    assert config.dump(run) == config.dump(trained.run)
    engine = Engine(run, run.data())
    for cut in reversed(CUTS if trained.recipe in DISTINCT else CUTS[:1]):
        engine.load_state(*checkpoint.load(checkpoint.all_of(trained.cuts / f"cut{cut}")[-1]))
        for step in range(cut, STEPS if cut == CUTS[1] else cut + 1):
            assert floats(engine.step()) == trained.logs[step], f"cut {cut}, step {step}"
            assert_same(full_state(engine), trained.states[step])


def test_another_seed_gives_another_run(trained: Trained) -> None:
    engine = trained.engine_of("seed=1")
    log, state = floats(engine.step()), full_state(engine)
    # Where the last layer starts at zero, the first losses are the same.
    assert log != trained.logs[0] or any(
        not torch.equal(v, trained.states[0][k]) for k, v in state.items()
    )


def test_an_update_moves_its_player_and_no_other(trained: Trained) -> None:
    """Every player moves within the few steps in which a toy run passes all stages."""
    for player, moved in trained.moves:
        assert moved <= {player}, f"{moved} moved in {player}'s turn"
    if trained.recipe in DISTINCT:
        everyone = set(trained.engine.method.players)
        assert {p for _, moved in trained.moves for p in moved} == everyone


def test_bf16_trains_on_float32_weights(trained: Trained) -> None:
    """And all terms of its losses are in float32 or wider."""
    engine = trained.engine_of("precision=bf16")
    apply = engine.apply

    def checked(objective: Any) -> Any:
        def terms(batch: Any) -> Any:
            found = objective(batch)
            named = {"loss": found.loss, **found.log}
            narrow = [k for k, v in named.items() if v.dtype in (torch.bfloat16, torch.float16)]
            assert not narrow, f"{narrow} of {objective.__qualname__}"
            return found

        return terms

    def watched(update: Any) -> Any:
        if isinstance(update, Update):
            one: Any = update.objective
            made = checked(one) if callable(one) else [checked(each) for each in one]
            update = replace(update, objective=made)
        return apply(update)

    engine.apply = watched
    staged = type(engine.method).stage is not Method.stage
    for _ in range(STEPS if staged and trained.recipe in DISTINCT else 1):
        engine.step()
    assert {w.dtype for w in engine.method.parameters()} == {torch.float32}
    engine.check_weights()


def test_augmentation_changes_all_that_discriminators_see(trained: Trained) -> None:
    """No layer of a discriminator sees more images than were augmented."""
    if trained.recipe not in DISTINCT:
        return
    method = trained.engine.method
    run = replace(trained.run, augment=named("translation"))
    if method.unaugmented or not any(hasattr(method, D) for D in method.discriminators):
        with pytest.raises(CapabilityError, match="leave augment out"):
            Engine(run, run.data())
        return
    engine, augmented, seen = Engine(run, run.data()), [0], Counter[str]()
    engine.method.augment.register_forward_hook(  # type: ignore[union-attr, operator]
        lambda module, inputs, output: augmented.append(len(output))
    )
    for player in engine.method.discriminators:
        for name, layer in engine.method.get_submodule(player).named_modules():
            if isinstance(layer, torch.nn.Conv2d):
                place = f"{player}.{name}"

                def count(module: Any, inputs: Any, place: str = place) -> None:
                    seen[place] += len(inputs[0])

                layer.register_forward_pre_hook(count)  # type: ignore[arg-type]
    for _ in range(STEPS):  # the first stage of some moves no discriminator
        if not sum(augmented):
            engine.step()
    assert sum(augmented)
    assert max(seen.values(), default=0) <= sum(augmented)


# Discriminators that return no scores, or that see real images changed.
UNSCORED = {"s3gan", "singan"}
REAL_UNKNOWN = UNSCORED | {"multiscale_patch"}


def test_the_monitor_sees_scores(trained: Trained) -> None:
    method, recipe = trained.engine.method, trained.recipe
    if recipe not in DISTINCT or not any(hasattr(method, D) for D in method.discriminators):
        return
    # DeOldify's G moves only while D's loss is low.
    engine = trained.engine_of(*["threshold=10"] * (recipe.startswith("deoldify")))
    rehearsal, found = probe.Rehearsal(engine), {}
    for _ in range(STEPS):
        found |= rehearsal(engine, engine.feed)
        if {"D/real", "D/generated"} <= found.keys():
            break
        engine.step()
    family = type(method).__module__.rpartition(".")[2]
    assert ("D/real" in found) == (family not in REAL_UNKNOWN), family
    assert ("D/generated" in found) == (family not in UNSCORED), family


def test_a_loaded_model_gives_the_same_images(trained: Trained, tmp_path: Path) -> None:
    if trained.recipe not in DISTINCT:
        return
    run, engine = trained.run, trained.engine
    model = trained.model
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
        labels, side = [0] * 3 if model.classes else None, model_side(model, engine)
        images = loaded.sample(3, seed=1, labels=labels, output="numpy")
        assert images.shape == (3, side, side, 3)
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


def test_labels_select_classes_or_raise(trained: Trained) -> None:
    engine = trained.engine
    if not isinstance(engine.method, Samples):
        return
    model = Model(
        trained.model,
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


def model_side(model: Method, engine: Engine) -> int:
    return model.current_stage.resolution or engine.feed.info.height


def test_no_strided_convolution_of_single_pixels(trained: Trained) -> None:
    """Their gradients corrupt memory in oneDNN: see `nets.layers.Strided1x1`."""
    convs = [m for m in trained.engine.method.modules() if isinstance(m, torch.nn.Conv2d)]
    found = [m for m in convs if m.kernel_size == (1, 1) and m.stride != (1, 1)]
    assert [m for m in found if not isinstance(m, Strided1x1)] == []


def test_images_stay_in_range(trained: Trained) -> None:
    model = trained.model
    if isinstance(model, Samples):
        x = model.sample(8)
        assert x.dtype == torch.float32
        assert torch.isfinite(x).all()
        linear = ("progan", "style", "r3gan")  # generators whose output is not bounded
        if not trained.recipe.startswith(linear):
            assert x.abs().max() <= 1


def test_styles_and_truncation(trained: Trained) -> None:
    """Samples equal the images of their styles; truncation moves them to one image."""
    model = trained.model
    if not isinstance(model, Samples) or not isinstance(model, Truncates):
        return
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
        training = trained.engine.model().train()
        assert isinstance(training, Styled)
        torch.testing.assert_close(training.synthesize(w), image)  # only updates draw noise


def test_micro_batches_give_the_gradients_of_the_batch(trained: Trained) -> None:
    """Micro-batches change only rounding, unless a layer has statistics of the batch."""
    if any("batch" in type(m).__name__.lower() for m in trained.engine.method.modules()):
        return
    cut = trained.engine_of("micro=1")
    assert floats(cut.step()) == pytest.approx(trained.logs[0], rel=1e-4, abs=1e-5)


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
