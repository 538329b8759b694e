"""Each latent in every class: alphabets of a model with labels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from ganvas import recipes
from ganvas.core import Shape
from ganvas.core.errors import UserError
from ganvas.inference import render
from ganvas.inference.latent.naming import latents
from ganvas.inference.model import Model
from ganvas.methods import DCGAN
from ganvas.training.with_data import with_data

CLASSES = 3


def model(labels: bool = True) -> Model:
    run = with_data(
        recipes.find("dcgan_letters")(10),
        "",
        16,
        ["G.width=4", "D.width=4", f"labels={str(labels).lower()}"],
    )
    shape = Shape(channels=1, height=16, width=16, classes=CLASSES)
    method = run.method(shape)
    assert isinstance(method, DCGAN)
    return Model(method, {"shape": vars(shape), "data": {"classes": ["a", "b", "c"]}})


def test_every_latent_is_drawn_in_every_class() -> None:
    m = model()
    grid = m.sample(4, seed=5, all_classes=True, output="torch", batch=5)
    assert len(grid) == 4 * CLASSES
    z = latents(m.method, [(5, 2)])  # type: ignore[arg-type]
    row = m.method.sample(CLASSES, z=z.expand(CLASSES, -1), y=torch.arange(CLASSES))  # type: ignore[operator]
    torch.testing.assert_close(grid[2 * CLASSES : 3 * CLASSES], row)


def test_a_walk_shows_all_classes_in_two_rows(tmp_path: Path) -> None:
    assert render.walk(model(), tmp_path / "walk.gif", through="2", frames=3, all_classes=True) == 6
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.size[0] == film.size[1]  # three classes: two columns, two rows


def test_without_labels_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trained with labels"):
        model(labels=False).sample(1, all_classes=True)
    with pytest.raises(UserError, match="trained with labels"):
        render.walk(model(labels=False), tmp_path / "walk.gif", all_classes=True)
    with pytest.raises(UserError, match="excludes labels"):
        model().sample(1, labels=[0], all_classes=True)
