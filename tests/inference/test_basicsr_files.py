"""`export --to basicsr`: the same weights, read back by ganvas and by spandrel."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toys import SMALL, toy_data

from ganvas import import_network, methods
from ganvas.core import Shape
from ganvas.core.errors import UserError
from ganvas.engine.restore import weights_of
from ganvas.inference.exporters import basicsr
from ganvas.inference.exporters.export import export
from ganvas.inference.exporters.network import network
from ganvas.inference.importers.as_method import import_model
from ganvas.inference.model import Model
from ganvas.nets import super_resolution as nets
from ganvas.training import snapshot
from ganvas.training.trainer import train

# In a process of its own, since spandrel imports torchvision for two networks that are
# not read here, and a stub must not stay in this one.
SPANDREL = """
import importlib.machinery, sys, types
for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__spec__ = importlib.machinery.ModuleSpec(name, None)
functional = sys.modules["torchvision.transforms.functional"]
functional.normalize = functional.rotate = functional.InterpolationMode = None
import torch
from spandrel import ModelLoader
torch.set_num_threads(1)
denoiser, *files = sys.argv[1:]
for file in files:
    model = ModelLoader().load_from_file(file)
    x = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.save(model.model.eval()(x), file + ".result")
    print(model.architecture.id, model.scale)
from ganvas import load
from ganvas.inference.importers.as_method import import_model
print(import_model(denoiser, denoiser + ".model")["imported"])
model = load(denoiser + ".model")
x = torch.rand(1, 1, 12, 16, generator=torch.Generator().manual_seed(0))
torch.save(model.translate(2 * x - 1, output="torch"), denoiser + ".result")
"""
NETS = {
    "ESRGAN": partial(nets.RRDBNet, width=8, blocks=2),
    "ESRGAN x2": partial(nets.RRDBNet, width=8, blocks=1, scale=2),
    "Compact": partial(nets.CompactNet, width=8, layers=3, scale=3),
}


def test_spandrel_and_ganvas_compute_the_same_bits(tmp_path: Path) -> None:
    """Files of both kinds; and ganvas imports what spandrel alone knows, DnCNN."""
    x = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    files, expected = [], []
    for name, make in NETS.items():
        method = methods.SRResNet(Shape(3, 32, 32), G=make)
        for weight in method.parameters():
            torch.nn.init.normal_(weight, std=0.1)
        model = Model(method, {"shape": {"channels": 3, "height": 32, "width": 32, "classes": 0}})
        for suffix in (".pth", ".safetensors"):
            file = tmp_path / f"{name.replace(' ', '-')}{suffix}"
            basicsr.write(network(model), file, {"recipe": "esrgan"})
            method.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
            with torch.inference_mode():
                result = method.G(x)
                options = {"scale": "2"} if name == "ESRGAN x2" else {}
                assert torch.equal(import_network(file, options=options)(x), result)
            files.append(file)
            expected.append((name.split(" ")[0], make.keywords.get("scale", 4), result))
    if importlib.util.find_spec("spandrel") is None:
        pytest.skip("spandrel is not installed")
    layers = [torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU()]
    layers += [n for _ in range(7) for n in (torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.ReLU())]
    noise = torch.nn.Sequential(*layers, torch.nn.Conv2d(8, 1, 3, padding=1))
    denoiser = tmp_path / "dncnn.pth"
    torch.save({f"model.{k}": v for k, v in noise.state_dict().items()}, denoiser)
    command = [sys.executable, "-c", SPANDREL, str(denoiser), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, imported = done.stdout.splitlines()
    assert imported == "DnCNN (spandrel)"
    gray = torch.rand(1, 1, 12, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        clean = (gray - noise(gray)).clamp(0, 1)
    assert torch.allclose(torch.load(f"{denoiser}.result") / 2 + 0.5, clean, atol=1e-6)
    for file, line, (name, scale, result) in zip(files, lines, expected, strict=True):
        assert line == f"{name} {scale}"
        assert torch.equal(torch.load(f"{file}.result"), result), file


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("rrdbnet_x4", ".pth"), ("srvgg_compact_x4", ".safetensors"), ("msrresnet_x4", ".pth")],
)
def test_imports_are_exported_with_their_own_tensors(
    name: str, suffix: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.inference.exporters.network.BATCHES", (1, 1, 1))  # faster
    golden = shared / "golden" / "basicsr" / f"{name}.pth"
    import_model(golden, tmp_path / "model")
    theirs = torch.load(golden, weights_only=True)
    theirs = theirs.get("params_ema", theirs.get("params", theirs))
    made = export(tmp_path / "model", "basicsr", tmp_path / f"x{suffix}")
    assert len(made.compared) == 3
    assert max(one.difference for one in made.compared) < 1e-6
    if suffix == ".pth":
        parts = torch.load(made.file, weights_only=True)
        assert list(parts) == ["params_ema", "params"]
        ours = parts["params_ema"]
    else:
        ours = load_file(made.file)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_what_basicsr_does_not_have(tmp_path: Path) -> None:
    method = methods.SRResNet(Shape(3, 32, 32), G=partial(nets.SRResNet, width=4, blocks=1))
    info = {"shape": {"channels": 3, "height": 32, "width": 32, "classes": 0}}
    ready = network(Model(method, info))
    with pytest.raises(UserError, match=r"BasicSR has no SRResNet; it has RRDBNet \(esrgan"):
        basicsr.write(ready, tmp_path / "x.pth", {})
    assert not list(tmp_path.iterdir())


def trained_discriminator(recipe: str, folder: Path) -> Path:
    """A run of two steps of the game."""
    run = folder / recipe
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "write_report", lambda run, **_: None)
        own = [s for s in SMALL[recipe] if not s.startswith("pretrain")]
        data = toy_data(recipe, folder / "data")
        train(recipe, str(data), out=run, images=4, set=[*own, "pretrain=0"], device="cpu")
    return run


@pytest.mark.parametrize(
    ("recipe", "golden", "suffix"),
    [
        ("realesrgan", "unet_discriminator_sn", ".pth"),
        ("realesrgan", "unet_discriminator_sn", ".safetensors"),
        ("esrgan", "vgg_discriminator_128", ".pth"),
    ],
)
def test_discriminators_have_basicsr_names_and_the_same_results(
    recipe: str, golden: str, suffix: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run, file = trained_discriminator(recipe, tmp_path), tmp_path / f"D{suffix}"
    made = export(run, "basicsr", file, network="D")
    assert len(made.compared) == 3
    assert max(one.difference for one in made.compared) < 1e-5
    assert "num_in_ch 3, num_feat 2" in made.notes[-1]
    method, _ = weights_of(run)
    D = method.get_submodule("D")
    side = 128 if recipe == "esrgan" else 40
    x = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        found, expected = import_network(file)(x), D(x)
    assert expected.std() > 0
    assert torch.allclose(found.view_as(expected), expected, atol=1e-5)
    state: Any = torch.load(file, weights_only=True) if suffix == ".pth" else load_file(file)
    if suffix == ".pth":
        assert list(state) == ["params"]
        state = state["params"]
    if recipe == "realesrgan":  # torch's own layers give the same weight
        layer = torch.nn.utils.spectral_norm(torch.nn.Conv2d(4, 8, 4, bias=False))
        names = ("weight_orig", "weight_u", "weight_v")
        layer.load_state_dict({n: state[f"conv2.{n}"] for n in names})
        layer.eval()(torch.zeros(1, 4, 8, 8))
        ours: Any = D.get_submodule("conv2")
        assert torch.allclose(layer.weight, ours.weight, atol=1e-6)
    shared: Path = request.getfixturevalue("shared")
    theirs = torch.load(shared / "golden" / "basicsr" / f"{golden}.pth", weights_only=True)
    assert state.keys() == theirs["params"].keys()
    assert {k: (v.ndim, v.dtype) for k, v in state.items()} == {
        k: (v.ndim, v.dtype) for k, v in theirs["params"].items()
    }


def test_what_has_no_discriminator(tmp_path: Path) -> None:
    run = trained_discriminator("srgan", tmp_path)
    refused: list[tuple[Path, str, dict[str, str], str]] = [
        (run, "basicsr", {"network": "D"}, "no SRDiscriminator; of discriminators it has UNet"),
        (run / "model", "basicsr", {"network": "D"}, "holds no discriminator: give the run"),
        (run, "onnx", {"network": "D"}, "exported to basicsr, not to onnx"),
        (run, "basicsr", {"network": "d"}, "expected G or D"),
        (run, "basicsr", {"network": "D", "to": "b"}, "no direction and no truncation"),
    ]
    for place, form, options, message in refused:
        name = "x.onnx" if form == "onnx" else "x.pth"
        with pytest.raises(UserError, match=message):
            export(place, form, tmp_path / name, **options)  # pyright: ignore[reportArgumentType]
        assert not (tmp_path / name).exists()
