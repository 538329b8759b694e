"""Autoencoders of other projects: their names, shapes and results, in and out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from autoencoders import CASES, RECORD, SIDE, images, seen, weights
from safetensors.torch import load_file, save_file

from ganvas import import_network
from ganvas.core import Shape
from ganvas.inference.exporters import diffusers, taming
from ganvas.inference.exporters.network import network
from ganvas.inference.importers.as_method import as_method
from ganvas.inference.model import Model


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_results_and_names_are_those_of_the_project(name: str, tmp_path: Path) -> None:
    """An import has the project's result, and its export the project's names."""
    case: dict[str, Any] = json.loads(RECORD.read_text())[name]
    settings, shapes = case["settings"], case["shapes"]
    assert settings == CASES[name], "python tests/golden/autoencoders.py --write"
    state, form = weights(shapes), "taming" if "CompVis" in name else "diffusers"
    source = tmp_path / "source"
    if form == "diffusers":
        source.mkdir()
        save_file(state, source / "diffusion_pytorch_model.safetensors")
        config = {"_class_name": name.partition(" ")[0], **settings}
        (source / "config.json").write_text(json.dumps(config))
    else:
        torch.save({"state_dict": {**state, "loss.logvar": torch.zeros(())}, "epoch": 3}, source)
    net = import_network(source)
    assert seen(net.eval()(images())) == pytest.approx(case["result"], abs=1e-5)

    method, _ = as_method(net, name, Shape(3, SIDE, SIDE))
    info = {"shape": {"channels": 3, "height": SIDE, "width": SIDE, "classes": 0}}
    ready, out = network(Model(method, info)), tmp_path / "out.ckpt"
    module = diffusers if form == "diffusers" else taming
    module.write(ready, out, {})
    x = ready.examples()[1]
    result = torch.from_numpy(module.run(out, ready, x))
    torch.testing.assert_close(result, ready.reference(x), atol=1e-5, rtol=0)
    if form == "diffusers":
        exported = load_file(out / "diffusion_pytorch_model.safetensors")
        again = json.loads((out / "config.json").read_text())
        assert {k: again[k] for k in settings} == settings
        assert again["_class_name"] == name.partition(" ")[0]
    else:
        exported = torch.load(out, weights_only=True)["state_dict"]
        note = taming.note(ready)
        for setting in ("ch", "ch_mult", "num_res_blocks", "z_channels", "embed_dim", "n_embed"):
            if setting in settings:
                assert f'{setting}": {settings[setting]}' in note.replace(
                    f"{setting}: ", f'{setting}": '
                )
    assert {key: list(value.shape) for key, value in exported.items()} == shapes
    assert all(torch.equal(exported[key], state[key]) for key in state)
