"""Runs, models and checkpoints that version 0.1 wrote stay readable.

`version_0_1.zip` holds, for every recipe of that version at the toy size of tests/toys.py:
run.json, model.json, and the names, types and shapes of all tensors in its model file and
checkpoint; six runs are complete, with what the same version computed three steps later."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganvas.core import Method, Shape, config
from ganvas.core.errors import UserError
from ganvas.engine.engine import Engine
from ganvas.engine.restore import restore
from ganvas.inference.load import load

ARCHIVE = Path(__file__).with_name("version_0_1.zip")
TYPES = {"F32": torch.float32, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}


def archived(name: str) -> Any:
    with zipfile.ZipFile(ARCHIVE) as z:
        return json.loads(z.read(name))


TENSORS = archived("tensors.json")
EXPECTED = archived("expected.json")
with zipfile.ZipFile(ARCHIVE) as archive:
    COMPLETE = [r for r in TENSORS if f"runs/{r}/model/model.safetensors" in archive.namelist()]

# Since then crops of super-resolution may lie across stored tiles: other training data.
CROPPED = ("srgan", "srgan_basicsr", "srresnet")
every_old_recipe = pytest.mark.parametrize("recipe", sorted(TENSORS))
every_complete_run = pytest.mark.parametrize("recipe", COMPLETE)


def described(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[torch.dtype, list[int]]]:
    return {k: (v.dtype, list(v.shape)) for k, v in tensors.items()}


def recorded(recipe: str, part: str) -> dict[str, tuple[torch.dtype, list[int]]]:
    return {k: (TYPES[dtype], shape) for k, (dtype, shape) in TENSORS[recipe][part].items()}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's folder, with the data's place filled in as that version wrote it."""
    folder = tmp_path_factory.mktemp("old")
    with zipfile.ZipFile(ARCHIVE) as z:
        z.extractall(folder)
    for file in folder.rglob("run.json"):
        file.write_text(file.read_text().replace("@DATA@", str(folder)))
    return folder


@every_old_recipe
def test_an_old_run_and_its_model_have_the_same_tensors(recipe: str) -> None:
    """So its checkpoints and its model file load: names, types and shapes are unchanged."""
    record = archived(f"runs/{recipe}/run.json")
    shape = Shape(**record["shape"])
    run = config.load(record["run"])
    method = run.method(shape)
    state = method.state_dict()
    kept = {k: v for k, v in state.items() if k.split(".")[0] in method.ema_networks}
    assert described(kept) == recorded(recipe, "model")
    header = archived(f"runs/{recipe}/model/model.json")
    build: Any = config.load(header["method"], Callable[[Shape], Method])
    described_method = build(shape)
    assert described(described_method.state_dict()) == described(state)


@every_old_recipe
def test_an_old_checkpoint_has_the_tensors_of_the_engine(recipe: str, unpacked: Path) -> None:
    record = json.loads((unpacked / "runs" / recipe / "run.json").read_text())
    run = config.load(record["run"])
    feed = run.data()
    assert (feed.info.fingerprint == record["data"]["fingerprint"]) == (recipe not in CROPPED)
    engine = Engine(run, feed)
    for player in engine.optim:  # an optimizer has state from its first step on
        assert player in engine.method.players
    while engine.clock.images < record["images"]:
        engine.step()
    _, shared, own = engine.state()
    assert described(shared) == recorded(recipe, "shared")
    assert described(own) == recorded(recipe, "own")


@every_complete_run
def test_an_old_run_goes_on_as_the_version_that_wrote_it(recipe: str, unpacked: Path) -> None:
    expected = EXPECTED[recipe]
    if recipe in CROPPED:
        with pytest.raises(UserError, match="other data"):
            restore(unpacked / "runs" / recipe)
        return
    engine, *_ = restore(unpacked / "runs" / recipe, images=expected["after"])
    losses = []
    while engine.clock.images < expected["after"]:
        losses.append({k: float(v) for k, v in engine.step().items()})
    assert len(losses) == len(expected["losses"])
    for now, then in zip(losses, expected["losses"], strict=True):
        # processors differ in the last bits
        assert now == pytest.approx(then, rel=1e-3, abs=1e-5)


@every_complete_run
def test_an_old_model_opens_and_is_used(recipe: str, unpacked: Path) -> None:
    model = load(unpacked / "runs" / recipe)
    assert model.info["recipe"] == recipe
    if "sample" in EXPECTED[recipe]:
        assert len(model.sample(2, seed=7)) == 2
    else:
        assert model.translate(torch.zeros(1, 3, 16, 16), output="torch").isfinite().all()
