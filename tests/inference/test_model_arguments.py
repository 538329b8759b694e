"""What the methods of `Model` take, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import ganvas
from ganvas import recipes
from ganvas.core import Shape
from ganvas.core.config import override
from ganvas.core.errors import UserError
from ganvas.engine.build import build
from ganvas.inference import render
from ganvas.inference.model import Model


def model(labels: bool) -> Model:
    """A DCGAN of 16x16 images with random weights."""
    run = recipes.find("dcgan")(8)
    for setting in ("G.width=4", "D.width=4", f"labels={json.dumps(labels)}"):
        run = override(run, setting)
    method = build(run, Shape(3, 16, 16, 2 * labels))
    data = {"classes": ["rose", "tulip"]} if labels else {}
    return Model(method, {"shape": {"height": 16, "width": 16, "channels": 3}, "data": data})


@pytest.fixture(scope="module")
def flowers() -> Model:
    return model(labels=True)


def test_a_label_is_a_name_or_a_number_everywhere(flowers: Model) -> None:
    assert flowers.classes == ("rose", "tulip")
    tulips = partial(flowers.sample, 3, output="torch")
    assert torch.equal(tulips(label="tulip"), tulips(labels=[1, "tulip", 1]))
    ones: Any = torch.ones(3, dtype=torch.int64)
    assert torch.equal(tulips(label=1), tulips(labels=ones))
    names = [(0, 0), (0, 1)]
    assert torch.equal(
        flowers.walk(names, frames=2, label="tulip", output="torch"),
        flowers.walk(names, frames=2, label=1, output="torch"),
    )
    assert model(labels=False).classes == ()


REFUSED: dict[str, Callable[[Model], object]] = {
    "n takes int; got '4'": lambda m: m.sample("4"),  # pyright: ignore
    "seed takes int; got 'a'": lambda m: m.sample(seed="a"),  # pyright: ignore
    "seed -1": lambda m: m.sample(seed=-1),
    r"labels takes a list of \(int or str\) or None; got 'rose'": lambda m: m.sample(
        2, labels="rose"
    ),
    "label and labels": lambda m: m.sample(2, label=0, labels=[0, 1]),
    "batch is 0": lambda m: m.sample(batch=0),
    "label takes": lambda m: m.walk(label=0.5),  # pyright: ignore
    "'pil', 'numpy' or 'torch'": lambda m: m.sample(output="jpg"),  # pyright: ignore
    "no class 'daisy'": lambda m: m.sample(label="daisy"),
    r"\.mp4 or \.gif.*\.png.*got 'w\.avi'": lambda m: render.walk(m, Path("w.avi")),
}


@pytest.mark.parametrize("message", REFUSED)
def test_mistakes_are_explained(flowers: Model, message: str) -> None:
    with pytest.raises(UserError, match=message):
        REFUSED[message](flowers)


def test_a_model_without_labels_says_how_to_get_them() -> None:
    with pytest.raises(UserError, match=r"leave the label out.*--set labels=true"):
        model(labels=False).sample(label="rose")


def test_other_files_than_models_are_named(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "grid.png")
    (tmp_path / "run.json").write_text(json.dumps({"ganvas": "0"}))
    for name, what in (("grid.png", "is an image"), ("run.json", "is a text file")):
        with pytest.raises(UserError, match=f"{what}.* Expected a run"):
            ganvas.load(tmp_path / name)
