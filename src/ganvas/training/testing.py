"""Contract checks for methods and recipes of other packages."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas.core import Outcome, Run, Samples, Translates, Update, config
from ganvas.core.errors import UserError
from ganvas.core.sizes import sides
from ganvas.data import domains, label_maps, pairs
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.inference import model_file
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.training.with_data import with_data

STEPS = 4  # of each check
IMAGES = 12  # toy images per domain


def check_method(
    recipe: Callable[[int], Run],
    *,
    data: str | Path | None = None,
    set: config.Assignments = (),
) -> None:
    """Check that a recipe and its method fulfill the contract of ganvas.

    The checks train a few steps on the CPU:
    1. the recipe's description (run.json) leads to the same run,
    2. a run that is resumed at any step is bitwise equal to one that was not stopped,
    3. in each update the named player's weights change, and no others,
    4. bf16 training keeps finite float32 weights,
    5. the model file generates or translates the same images as the model.

    recipe: a function `recipe(count) -> Run`, as an entry point of the group
        `ganvas.recipes` names it.
    data: training data. None: toy images of the recipe's kind and size.
    set: settings that make the networks small, as in `ganvas.train`.

    Raises `AssertionError`, with what was found, if a check fails, and `UserError` for
    a setting that does not fit.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = _toy_data(recipe(1), root / "data") if data is None else Path(data)
        run = with_data(recipe(IMAGES), source, None, config.assignments(set))
        check_description(run)
        check_resume(run, root / "cuts")
        check_movers(run)
        check_bf16(run)
        check_model_file(run, root / "model")


def check_description(run: Run) -> None:
    """The description of a run can be read, and leads to the same first step."""
    try:
        again = config.load(config.dump(run))
    except UserError as e:
        raise AssertionError(
            f"the description of the run cannot be read: {e}. The package needs an entry "
            "point of the group ganvas.recipes"
        ) from e
    assert config.dump(again) == config.dump(run), "the description changes when it is read"
    one, two = _engine(run), _engine(again)
    one.step()
    two.step()
    _assert_equal(_state(one), _state(two), "after a step of the run read from its description")


def check_resume(run: Run, folder: Path) -> None:
    """A resumed run is bitwise equal to one that was not stopped, at every cut."""
    straight = _engine(run)
    for step in range(STEPS):
        values, shared, own = straight.state()
        checkpoint.save(folder / str(step), values, shared, own)
        straight.step()
    for cut in range(1, STEPS):
        engine = _engine(run)
        engine.load_state(*checkpoint.load(checkpoint.all_of(folder / str(cut))[-1]))
        for _ in range(cut, STEPS):
            engine.step()
        _assert_equal(_state(engine), _state(straight), f"after resuming at step {cut}")


def check_movers(run: Run) -> None:
    """In each update the player's own weights change, and no others."""
    engine = _engine(run)
    engine.step()  # the first step may fill pools and statistics
    seen: list[str] = []
    apply = engine.apply

    def watched(update: Update) -> Outcome:
        before = {p: [w.detach().clone() for w in ws] for p, ws in engine.parameters.items()}
        outcome = apply(update)
        for player, weights in engine.parameters.items():
            pairs_of_weights = zip(before[player], weights, strict=True)
            moved = any(not torch.equal(a, b) for a, b in pairs_of_weights)
            assert moved == (player == update.player), (
                f"weights of {player} {'changed' if moved else 'did not change'} in an update "
                f"of {update.player}"
            )
        seen.append(update.player)
        return outcome

    engine.apply = watched
    players = engine.method.players
    while not all(p in seen for p in players) and engine.clock.step < 2 * STEPS:
        engine.step()
    missing = [p for p in players if p not in seen]
    assert not missing, f"no update of {', '.join(missing)} in {engine.clock.step} steps"


def check_bf16(run: Run) -> None:
    """bf16 training keeps finite float32 weights."""
    engine = _engine(config.override(run, "precision=bf16"))
    for _ in range(2):
        engine.step()
    kinds = {str(w.dtype) for w in engine.method.parameters()}
    assert kinds == {"torch.float32"}, f"weights must stay in float32; got {', '.join(kinds)}"
    engine.check_weights()


def check_model_file(run: Run, folder: Path) -> None:
    """The model file generates or translates the same images as the model."""
    engine = _engine(run)
    for _ in range(2):
        engine.step()
    method, shape = engine.model(), engine.feed.info.shape
    assert isinstance(method, Samples | Translates), (
        f"{type(method).__name__} neither samples nor translates (ganvas.core.Samples, Translates)"
    )
    facts = {"shape": asdict(shape), "task": "images"}
    model_file.save(folder, method, run, shape, facts)
    model, loaded = Model(method, facts), load(folder)
    if isinstance(method, Samples):
        one, two = (m.sample(4, seed=7, output="torch") for m in (model, loaded))
        assert torch.equal(one, two), "the model file generates other images than the model"
        assert torch.isfinite(one).all(), "generated images are not finite"
        other = model.sample(4, seed=8, output="torch")
        assert not torch.equal(one, other), "another seed generates the same images"
    if isinstance(method, Translates):
        batch = engine.feed.fixed(2)
        for to in method.directions:
            x = batch.a if to == "b" else batch.b
            one, two = (m.translate(x, to=to, output="torch") for m in (model, loaded))
            assert torch.equal(one, two), "the model file translates differently from the model"


def _engine(run: Run) -> Engine:
    return Engine(run, run.data())


def _state(engine: Engine) -> dict[str, Tensor]:
    """Copies of weights, averages, optimizer state, pools and the clock."""
    values, shared, own = engine.state()
    clock = {"clock": torch.tensor(list(values["clock"].values()))}
    return {k: v.clone() for k, v in {**shared, **own}.items()} | clock


def _assert_equal(a: dict[str, Tensor], b: dict[str, Tensor], when: str) -> None:
    names = sorted(a.keys() ^ b.keys()) + [
        k for k in a.keys() & b.keys() if not torch.equal(a[k], b[k])
    ]
    assert not names, f"not bitwise equal {when}: {', '.join(names[:5])}"


def _toy_data(run: Run, folder: Path) -> Path:
    """Random images of the kind and size that `run` takes, in two classes."""
    assert isinstance(run.data, partial)
    size = run.data.keywords.get("size") or 32
    height, width = sides(size)
    load_size = run.data.keywords.get("load")
    if load_size is not None:
        height, width = (load_size, load_size) if isinstance(load_size, int) else load_size
    names = {domains: ("trainA", "trainB"), pairs: ("A", "B"), label_maps: ("A", "B")}.get(
        run.data.func, ("one", "two")
    )
    for images, name in zip(_random_images(height, width), names, strict=True):
        (folder / name).mkdir(parents=True)
        for i, image in enumerate(images):
            if run.data.func is label_maps and name == "A":
                image = image.point([255 * (level // 128) for level in range(256)] * 3)
            image.save(folder / name / f"{i:03d}.png")
    return folder


def _random_images(height: int, width: int) -> Iterator[list[Image.Image]]:
    rng = np.random.default_rng(0)
    for _ in range(2):
        pixels = rng.integers(0, 256, (IMAGES, height, width, 3), dtype=np.uint8)
        yield [Image.fromarray(x) for x in pixels]
