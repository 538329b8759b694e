"""`export --to basicsr`: the same weights, read back by ganvas and by spandrel."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ganvas import import_network, methods
from ganvas.core import Shape
from ganvas.core.errors import UserError
from ganvas.inference.exporters import basicsr
from ganvas.inference.exporters.export import export
from ganvas.inference.exporters.network import network
from ganvas.inference.importers.as_method import import_model
from ganvas.inference.model import Model
from ganvas.nets import super_resolution as nets

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
