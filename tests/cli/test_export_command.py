"""`ganvas export`: files that other runtimes open, beside torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from ganvas import load
from ganvas.core.errors import CapabilityError, OutputError, UserError
from ganvas.inference.exporters.export import TOLERANCE, export
from ganvas.inference.exporters.network import network
from ganvas.nets.layers import Dropout


def ran(file: Path, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["result"], inputs)[0])


def test_onnx_of_styles_takes_labels_and_truncation(toy: Any, tmp_path: Path) -> None:
    """Against the library's own samples: another path than the exporter's comparison."""
    file, model = tmp_path / "new" / "s.onnx", load(toy("styles").run)
    made = export(toy("styles").run, "onnx", file)
    assert [one.name for one in made.inputs] == ["latent", "label", "truncation"]
    assert len(made.compared) == 3
    assert max(one.difference for one in made.compared) <= TOLERANCE
    assert [p.name for p in file.parent.iterdir()] == ["s.onnx"]
    onnx.checker.check_model(onnx.load(file), full_check=True)
    facts = json.loads({p.key: p.value for p in onnx.load(file).metadata_props}["ganvas"])
    assert facts["weights"] == model.facts["weights"]
    method: Any = model.method
    for n, psi in ((1, 1.0), (4, 0.5)):
        z, y = method.latent(n), torch.arange(n) % 2
        with torch.inference_mode():
            expected = method.truncated(z, psi, y).clamp(-1, 1).add(1).div(2).numpy()
        found = ran(file, latent=z.numpy(), label=y.numpy(), truncation=np.array(psi, np.float32))
        assert np.abs(found - expected).max() <= TOLERANCE


def test_onnx_of_a_translator_takes_any_size(toy: Any, tmp_path: Path, command: Any) -> None:
    file, run = tmp_path / "t.onnx", toy("domains").run
    ended = command("export", run, "--to", "onnx", "--direction", "a", "--out", file)
    assert ended.status == 0
    assert ended.out.count("largest difference") == 3
    assert "image: [batch, 3, height, width], in [0, 1], sides multiples of 4" in ended.out
    x = torch.rand(2, 3, 24, 36)
    expected = load(run).translate(2 * x - 1, to="a", output="torch").clamp(-1, 1)
    assert np.abs(ran(file, image=x.numpy()) - ((expected + 1) / 2).numpy()).max() <= TOLERANCE


@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*:DeprecationWarning")
@pytest.mark.parametrize("kind", ["labels", "pairs", "upscaling"])
def test_torchscript_needs_no_ganvas(kind: str, toy: Any, tmp_path: Path) -> None:
    file = tmp_path / "m.pt"
    made = export(toy(kind).run, "torchscript", file)
    assert max(one.difference for one in made.compared) <= TOLERANCE
    assert ("dropout" in " ".join(made.notes)) == (kind == "pairs")
    extra = {"ganvas.json": ""}
    loaded = torch.jit.load(str(file), _extra_files=extra)
    assert json.loads(extra["ganvas.json"])["recipe"] == toy(kind).recipe
    exported = network(load(toy(kind).run))
    inputs = exported.examples()[2]
    with torch.inference_mode():
        assert (loaded(*inputs) - exported.module(*inputs)).abs().max() <= TOLERANCE


def test_pix2pix_without_its_dropout_is_what_is_exported(toy: Any) -> None:
    """Norms in training mode, of one image each, are exchanged for instance norms."""
    model = load(toy("pairs").run)
    for module in model.method.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    x = torch.rand(3, 3, 16, 16)
    expected = (model.translate(2 * x - 1, output="torch").clamp(-1, 1) + 1) / 2
    with torch.inference_mode():
        assert (network(model).module(x) - expected).abs().max() <= TOLERANCE


def test_openvino_files(toy: Any, tmp_path: Path) -> None:
    made = export(toy("noise").run, "openvino", tmp_path / "m.xml")
    assert max(one.difference for one in made.compared) <= TOLERANCE
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.bin", "m.xml"]


def test_what_cannot_be_exported(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = toy("noise").run
    refused: list[tuple[str, str, dict[str, Any], str]] = [
        ("onix", "m.onnx", {}, "Did you mean 'onnx'"),
        ("onnx", "m.pt", {}, r"ends in \.onnx"),
        ("torchscript", "m.pt", {"to": "a"}, "generates images from noise"),
        ("torchscript", "m.pt", {"truncation": 0.5}, "has no truncation"),
    ]
    for form, name, options, message in refused:
        with pytest.raises(UserError, match=message):
            export(run, form, tmp_path / name, **options)
    with pytest.raises(CapabilityError, match="an input of the exported network"):
        export(toy("styles").run, "torchscript", tmp_path / "m.pt", truncation=0.5)
    with pytest.raises(CapabilityError, match="translates to b or a, not to 'c'"):
        export(toy("domains").run, "torchscript", tmp_path / "m.pt", to="c")
    monkeypatch.setattr("ganvas.inference.exporters.export.TOLERANCE", -1.0)
    with pytest.raises(CapabilityError, match="differ from torch's"):
        export(run, "torchscript", tmp_path / "m.pt")
    assert not list(tmp_path.iterdir()), "nothing stays of what was not equal"


def test_a_failed_export_keeps_what_was_there(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older file of that name, and a file beside it that only looks like OpenVINO's."""
    for name in ("m.pt", "m.bin"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr("ganvas.inference.exporters.export.TOLERANCE", -1.0)
    with pytest.raises(CapabilityError, match="Nothing was written"):
        export(toy("noise").run, "torchscript", tmp_path / "m.pt")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"m.pt": "m.pt", "m.bin": "m.bin"}


def test_an_export_that_cannot_be_written(toy: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"):
        export(toy("noise").run, "torchscript", tmp_path / "file" / "m.pt")
