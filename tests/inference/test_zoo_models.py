"""Models of the zoo: small files that load by name."""

from pathlib import Path

import add_to_zoo as zoo_tool
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ganvas
from ganvas.core.errors import UserError
from ganvas.inference import zoo


@pytest.mark.parametrize("name", zoo.names())
def test_models_of_the_zoo_are_small_and_run(name):
    """Each model is at most 3 MB, generates, and its card says that it does."""
    folder = zoo.FOLDER / name
    assert (folder / "model.safetensors").stat().st_size <= zoo_tool.MAX_BYTES
    assert "generated" in (folder / "README.md").read_text()
    model = ganvas.load(f"zoo:{name}")
    if model.info["task"] == "images":
        images = model.sample(2, seed=0, output="numpy")
    else:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        images = model.translate(noise, output="numpy")
    assert np.asarray(images).std() > 0


def test_the_zoo_is_of_twelve_models_at_most():
    """A clone carries all of them."""
    assert len(zoo.names()) <= zoo_tool.MAX_MODELS


def test_a_small_model_is_its_run_in_half_precision(tmp_path, monkeypatch):
    """Weights in the zoo are those of the run, rounded to float16, in float32."""
    run = ganvas.train("dcgan_digits", "digits", out=tmp_path / "run", images=64, batch=32)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    folder = zoo_tool.add(tmp_path / "run", "digits", "last")
    assert {v.dtype for v in load_file(folder / "model.safetensors").values()} >= {torch.float16}
    model = ganvas.load("zoo:digits")
    whole = run.method.state_dict()
    for name, weight in model.method.state_dict().items():
        kept = whole[name]
        expected = kept.half().float() if kept.dtype == torch.float32 else kept
        assert torch.equal(weight, expected)
    assert np.array(model.sample(1, seed=0)[0]).std() > 0


def test_a_model_that_the_zoo_lacks_is_named(tmp_path, monkeypatch):
    """The message has the nearest name, or says where the zoo is."""
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"no model 'letters'. The zoo comes with a checkout"):
        ganvas.load("zoo:letters")
    (tmp_path / "letters-gan").mkdir()
    Path(tmp_path / "letters-gan" / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"no model 'leters-gan'. Did you mean 'letters-gan'"):
        ganvas.load("zoo:leters-gan")


def test_a_full_zoo_and_large_models_are_refused(tmp_path, monkeypatch):
    """Nothing is left of a model that was refused."""
    ganvas.train("dcgan_digits", "digits", out=tmp_path / "run", images=64, batch=32)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    monkeypatch.setattr(zoo_tool, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="takes at most 1,000"):
        zoo_tool.add(tmp_path / "run", "digits", "last")
    assert zoo.names() == []
    monkeypatch.setattr(zoo_tool, "MAX_MODELS", 0)
    with pytest.raises(UserError, match="already has 0 models"):
        zoo_tool.add(tmp_path / "run", "digits", "last")
