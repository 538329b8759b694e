"""Images of other sizes than the training's, and how far a sampler is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toys import toy_run

from ganvas.core import Shape
from ganvas.core.errors import CapabilityError, UserError
from ganvas.inference.model import Model


def model(recipe: str, side: int) -> Model:
    torch.manual_seed(0)
    method: Any = toy_run(recipe, Path("unused")).method(Shape(3, side, side))
    if recipe == "singan":
        method.G.amplitudes.fill_(1.0)
    shape = {"channels": 3, "height": side, "width": side, "classes": 0}
    return Model(method, {"shape": shape})


def test_a_pyramid_of_noise_has_any_size() -> None:
    singan, done = model("singan", 20), []
    x = singan.sample(3, size=(31, 14), output="torch", batch=2, on_progress=done.append)
    assert x.shape == (3, 3, 31, 14)
    assert done == [2.0, 3.0]
    assert torch.equal(x[2:], singan.sample(3, size=(31, 14), output="torch", batch=1)[2:])
    same = [singan.sample(2, size=size, output="torch") for size in (None, 20)]
    assert torch.equal(*same)
    method: Any = singan.method
    sizes = method.at_size((40, 10)).sizes
    assert sizes == [(2 * h, round(w / 2)) for h, w in method.sizes]
    assert method.sizes[-1] == (20, 20), "the model keeps its own"
    with pytest.raises(UserError, match=r"size takes pixels, .* got \(0, 14\)"):
        singan.sample(1, size=(0, 14))


def test_other_methods_have_one_size_and_tell_how_far_they_are() -> None:
    transformer, done = model("sparse_transformer_small", 4), []
    transformer.sample(2, output="torch", on_progress=done.append)
    assert done[:2] == [2 * t / 48 for t in (1, 2)]
    assert (len(done), done[-1]) == (48, 2.0)
    with pytest.raises(CapabilityError, match=r"4x4 pixels .* alone. Methods that can: SinGAN$"):
        transformer.sample(1, size=8)
