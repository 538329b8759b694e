"""Other projects' generators as models: the same pictures from a folder of ours, by the shell's commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ganvas import bundle
from ganvas.errors import UserError
from ganvas.imported import import_model
from ganvas.importing import import_network
from ganvas.inspect.latents import latents


@pytest.mark.parametrize(
    "name", ["dcgan/generator", "mimicry/wgan_gp_generator_32", "pgan_zoo/generator", "pgan_zoo/checkpoint_dict"]
)
def test_generators_are_sampled(name: str, shared: Path, tmp_path: Path) -> None:
    file = shared / "golden" / f"{name}.pth"
    header = import_model(file, tmp_path / "m")
    model = bundle.load(tmp_path / "m")
    made = model.sample(3, seed=5, output="torch")
    assert list(made.shape[1:]) == [header["shape"][k] for k in ("channels", "height", "width")]
    net = import_network(file)
    z = latents(model.method, [(5, i) for i in range(3)])  # type: ignore[arg-type]
    z = z[..., None, None] if name.startswith("dcgan") else z
    with torch.no_grad():
        torch.testing.assert_close(made, net(z.flatten(1)), rtol=1e-5, atol=1e-5)
    assert len(model.walk(2, frames=2)) == 4
    with pytest.raises(UserError, match="not an empty folder"):
        import_model(file, tmp_path / "m")


@pytest.mark.parametrize(
    "name", ["resnet9_instance", "resnet6_batch_dropout", "unet128_instance", "unet256_batch_dropout"]
)
def test_translators_translate(name: str, shared: Path, tmp_path: Path) -> None:
    file = shared / "golden" / "cyclegan_pix2pix" / f"{name}.pth"
    header = import_model(file, tmp_path / "m")
    model = bundle.load(tmp_path / "m")
    x = load_file(file.with_suffix(".safetensors"))["input"].float()
    made = model.translate(x, output="torch")
    assert made.shape[0] == x.shape[0]
    assert made.shape[2:] == x.shape[2:]
    assert header["shape"]["channels"] == x.shape[1]
    if "batch" not in name or name.startswith("resnet"):
        with torch.no_grad():
            torch.testing.assert_close(made, import_network(file)(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="translates to b"):
        model.translate(x, to="a")


@pytest.mark.parametrize("name", ["dcgan/discriminator", "cyclegan_pix2pix/pixel_batch", "pgan_zoo/discriminator"])
def test_discriminators_are_for_python(name: str, shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="from Python only"):
        import_model(shared / "golden" / f"{name}.pth", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_what_does_not_fit_is_said(shared: Path, tmp_path: Path) -> None:
    weights = torch.load(shared / "golden" / "dcgan" / "generator.pth", weights_only=True)
    del weights["main.4.bias"]
    torch.save(weights, tmp_path / "g.pth")
    with pytest.raises(UserError, match=r"g\.pth looks like a DCGAN generator .*main\.4\.bias"):
        import_model(tmp_path / "g.pth", tmp_path / "m")
