"""`ganvas export`: files that other runtimes open, beside torch."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from ganvas import load
from ganvas.core.errors import CapabilityError, OutputError, UserError
from ganvas.inference.exporters import ncnn
from ganvas.inference.exporters.export import TOLERANCE, export
from ganvas.inference.exporters.int8 import calibration
from ganvas.inference.exporters.network import network
from ganvas.nets.layers import Dropout


@pytest.fixture(scope="module", autouse=True)
def _exported_once() -> Iterator[None]:
    """Equal networks are exported once: torch takes ten seconds for the smallest."""
    made: dict[object, Any] = {}
    export_of_torch = torch.onnx.export

    def once(module: torch.nn.Module, example: tuple[torch.Tensor, ...], **options: Any) -> Any:
        key = module(*example).numpy().tobytes(), str(options)
        if key not in made:
            made[key] = export_of_torch(module, example, **options)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", once)
        yield


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


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_generators_of_8_bits(form: str, toy: Any, tmp_path: Path) -> None:
    """The file is smaller, its images are close to torch's, and its cost is what it is."""
    run = toy("styles").run
    file = tmp_path / {"onnx": "s.onnx", "openvino": "s.xml"}[form]
    made = export(run, form, file, quantized=True)
    cost = made.cost
    assert cost is not None
    assert (cost.calibrated, cost.measured) == (64, 16)
    parts = sorted(tmp_path.iterdir())
    assert [p.name for p in parts] == (["s.bin", "s.xml"] if form == "openvino" else ["s.onnx"])
    assert sum(p.stat().st_size for p in parts) == cost.bytes_after
    assert 10 < cost.psnr < 60  # not equal, as a file of 32 bits would be
    if form == "openvino":  # at toy size, its text outweighs the weights
        assert 'element_type="i8"' in file.read_text()
    else:
        assert cost.bytes_after < cost.bytes_before
        model = onnx.load(file)
        facts = json.loads({p.key: p.value for p in model.metadata_props}["ganvas"])
        assert (facts["bits"], facts["recipe"]) == (8, toy("styles").recipe)
        weights = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8]
        assert max(int(np.prod(t.dims)) for t in weights) > 100
        exported = network(load(run))
        total = []
        for inputs in calibration(exported, None).others:
            named = {i.name: x.numpy() for i, x in zip(exported.inputs, inputs, strict=True)}
            error = ran(file, **named) - exported.reference(inputs).numpy()
            total.extend(-10 * np.log10(np.square(error).mean((1, 2, 3))))
        assert np.mean(total) == pytest.approx(cost.psnr, abs=0.1)


def test_translators_of_8_bits(toy: Any, tmp_path: Path, command: Any) -> None:
    file, data = tmp_path / "t.onnx", toy("domains").data
    given = ("export", toy("domains").run, "--to", "onnx", "--direction", "a", "--int8")
    given += ("--out", file)
    refused = command(*given)
    assert refused.status == 1
    assert "name their folder with calibrate (--calibrate)" in refused.err
    ended = command(*given, "--calibrate", data)
    assert ended.status == 0
    assert re.search(r"8 bits, calibrated on \d+ images: 0\.\d+ to 0\.\d+ MiB", ended.out)
    assert re.search(r"\d+ other images of 8 bits against 32: PSNR \d+\.\d dB", ended.out)
    x = np.random.default_rng(0).random((2, 3, 24, 36), np.float32)  # sides stay free
    assert ran(file, image=x).shape == x.shape


def test_calibration_images_are_not_those_that_measure(toy: Any, tmp_path: Path) -> None:
    exported = network(load(toy("domains").run))
    for i in range(5):
        Image.new("RGB", (20, 30), (50 * i,) * 3).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".6.png").touch()
    inputs = calibration(exported, tmp_path)
    values = [[float(image.mean() * 255) for (x,) in part for image in x] for part in inputs]
    assert values == [pytest.approx([0, 50, 100, 150]), pytest.approx([200])]
    generated = calibration(network(load(toy("styles").run)), None)
    latents = [{tuple(z.tolist()) for x in part for z in x[0]} for part in generated]
    assert [len(part) for part in latents] == [64, 16]
    assert not latents[0] & latents[1]


def test_what_has_no_8_bits(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise, out, pictures = toy("noise").run, tmp_path / "m.onnx", tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (20, 30)).save(pictures / "0.png")
    refused: list[tuple[Path, dict[str, Any], str]] = [
        (noise, {"calibrate": pictures}, "are for files of 8 bits"),
        (noise, {"calibrate": pictures, "quantized": True}, "calibrated by its own latents"),
        (toy("domains").run, {"calibrate": pictures, "quantized": True}, "holds 1 image; a"),
        (toy("domains").run, {"calibrate": out, "quantized": True}, "there is no folder"),
    ]
    for run, options, message in refused:
        with pytest.raises(UserError, match=message):
            export(run, "onnx", out, **options)
    with pytest.raises(UserError, match="8 bits are onnx or openvino; got torchscript"):
        export(noise, "torchscript", tmp_path / "m.pt", quantized=True)
    with pytest.raises(CapabilityError, match="images of 4 channels"):
        calibration(replace(network(load(noise)), channels=4), None)
    monkeypatch.setattr("ganvas.inference.exporters.int8.OPERATIONS", ["LSTM"])
    with pytest.raises(CapabilityError, match="no convolution and no linear layer"):
        export(toy("styles").run, "onnx", out, quantized=True)  # which is exported already
    assert list(tmp_path.iterdir()) == [pictures]


@pytest.mark.parametrize("kind", ["domains", "upscaling", "pairs"])
def test_ncnn(kind: str, toy: Any, tmp_path: Path) -> None:
    """Its own runtime, at three sizes, by the exporter; and here at a size of its own."""
    file = tmp_path / "m.param"
    made = export(toy(kind).run, "ncnn", file)
    assert made.free_sides
    assert len({one.sizes for one in made.compared}) == 3
    assert max(one.difference for one in made.compared) <= TOLERANCE
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.bin", "m.param"]
    exported = network(load(toy(kind).run))
    x = (torch.rand(1, 3, 2 * exported.size[0], 2 * exported.size[1]),)
    found = ncnn.run(file, exported, x)
    assert np.abs(found - exported.reference(x).numpy()).max() <= TOLERANCE
    changed = bytearray((tmp_path / "m.bin").read_bytes())
    changed[4:] = bytes(len(changed) - 4)  # the weights are read from the .bin
    (tmp_path / "m.bin").write_bytes(changed)
    assert np.abs(ncnn.run(file, exported, x) - found).max() > TOLERANCE


def test_what_ncnn_cannot_run(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CapabilityError, match="generates them from noise"):
        export(toy("noise").run, "ncnn", tmp_path / "m.param")
    with pytest.raises(UserError, match=r"ends in \.param"):
        export(toy("domains").run, "ncnn", tmp_path / "m.ncnn")
    exported = network(load(toy("domains").run))

    class Variance(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.var_mean(x, (1, 2, 3), keepdim=True)[0]

    with pytest.raises(CapabilityError, match=r"ncnn has no .*var_mean"):
        ncnn.write(replace(exported, module=Variance()), tmp_path / "m.param", {})
    monkeypatch.setitem(sys.modules, "pnnx", None)
    with pytest.raises(UserError, match=r"ganvas\[ncnn\]"):
        export(toy("domains").run, "ncnn", tmp_path / "n.param")


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
