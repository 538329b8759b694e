"""Imported generators: the same images from our model folder, by the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.evaluation.paired import compare
from ganvas.inference.importers import import_network
from ganvas.inference.importers.as_method import import_model
from ganvas.inference.latent.naming import latents
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.inference.translate_files import translate_files
from ganvas.nets import super_resolution


@pytest.mark.parametrize(
    "name",
    [
        "dcgan/generator",
        "mimicry/wgan_gp_generator_32",
        "mimicry/sngan_generator_32",
        "pgan_zoo/generator",
        "pgan_zoo/checkpoint_dict",
        "stylegan1_zoo/generator",
        "stylegan2_ada/generator",
        "r3gan/generator",
        "projected_gan/fastgan_generator_lite",
    ],
)
def test_generators_are_sampled(name: str, shared: Path, tmp_path: Path) -> None:
    file = shared / "golden" / f"{name}.pth"
    header = import_model(file, tmp_path / "m")
    model = load(tmp_path / "m")
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
    "name",
    [
        "stylegan2_ada/generator_conditional",
        "r3gan/generator_conditional",
        "biggan_pytorch/generator_64_hier_shared_attn",
        "biggan_pytorch/generator_cifar32",
        "hf_biggan/biggan_deep_128",
    ],
)
def test_generators_with_classes(name: str, shared: Path, tmp_path: Path) -> None:
    """Classes by number; the reference output is the file's own project for the same z."""
    file = shared / "golden" / f"{name}.pth"
    classes = import_model(file, tmp_path / "m")["shape"]["classes"]
    model = load(tmp_path / "m")
    assert model.method.classes == classes >= 5
    z = latents(model.method, [(5, 0), (5, 1)])  # type: ignore[arg-type]
    z, y = rng.truncated(z, 2.0) if "deep" in name else z, torch.tensor([4, 2])
    with torch.no_grad():
        theirs = import_network(file)(z, y)
    made = model.sample(2, seed=5, labels=[4, 2], output="torch")
    torch.testing.assert_close(made, theirs, rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match=f"from 0 to {classes - 1}"):
        model.sample(1, labels=[classes])


def test_coupled_generators(shared: Path, tmp_path: Path) -> None:
    """Pairs in turn; each pair equals the reference's output for one z."""
    file = shared / "golden" / "cogan" / "generator_pair.pth"
    assert import_model(file, tmp_path / "m")["shape"] == {
        "channels": 1,
        "height": 28,
        "width": 28,
        "classes": 0,
    }
    model = load(tmp_path / "m")
    made = model.sample(4, seed=5, output="torch")
    with torch.no_grad():
        a, b = import_network(file)(latents(model.method, [(5, 0), (5, 1)]))  # type: ignore[arg-type]
    torch.testing.assert_close(
        (made + 1) / 2, torch.stack([a[0], b[0], a[1], b[1]]), rtol=1e-5, atol=1e-5
    )
    assert torch.equal(model.sample(2, seed=5, labels=[1, 1], output="torch"), made[1::2])
    assert model.class_number("b") == 1


def test_unit_translates_both_ways(shared: Path, tmp_path: Path) -> None:
    file = shared / "golden" / "unit" / "vaegen.pth"
    import_model(file, tmp_path / "m")
    model = load(tmp_path / "m")
    t = load_file(file.with_suffix(".safetensors"))
    torch.testing.assert_close(
        model.translate(t["input"], output="torch"), t["output_ab"], rtol=1e-5, atol=1e-5
    )
    assert not torch.equal(model.translate(t["input"], to="a", output="torch"), t["output_ab"])


def test_truncation_is_the_projects_own(shared: Path, tmp_path: Path) -> None:
    def both(name: str) -> tuple[Model, Any, Any]:
        file = shared / "golden" / f"{name}.pth"
        import_model(file, tmp_path / name)
        model = load(tmp_path / name)
        return model, latents(model.method, [(5, 0)]), import_network(file)  # type: ignore[arg-type]

    for name in ("stylegan1_zoo/generator", "stylegan2_ada/generator"):
        model, z, net = both(name)
        made = model.sample(seed=5, truncation=0.6, output="torch")
        with torch.no_grad():
            torch.testing.assert_close(made, net(z, truncation=0.6), rtol=1e-4, atol=1e-4)
        assert len(model.mix([(0, 0)], [(1, 0)])) == 4
    model, z, net = both("hf_biggan/biggan_deep_128")
    for truncation in (0.43, 1.0, 0.2):  # each with statistics of its own
        made = model.sample(seed=5, labels=[3], truncation=truncation, output="torch")
        with torch.no_grad():
            theirs = net(rng.truncated(z, 2.0) * truncation, torch.eye(12)[3:4], truncation)
        torch.testing.assert_close(made, theirs, rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="up to 1"):
        model.sample(truncation=1.5)
    with pytest.raises(UserError, match="has no truncation"):
        both("r3gan/generator")[0].sample(truncation=0.5)


@pytest.mark.parametrize(
    "name", ["msrresnet_x4", "rrdbnet_x4", "esrgan_oldarch_x4", "srvgg_compact_x4"]
)
def test_enlarging_networks(name: str, shared: Path, tmp_path: Path) -> None:
    file = shared / "golden" / "basicsr" / f"{name}.pth"
    import_model(file, tmp_path / "m")
    assert "4 times" in (tmp_path / "m" / "README.md").read_text()
    model = load(tmp_path / "m")
    x = load_file(file.with_suffix(".safetensors"))["input"].float()
    with torch.no_grad():
        theirs = import_network(file)(x).clamp(0, 1)
    torch.testing.assert_close(
        model.translate(2 * x - 1, output="torch"), 2 * theirs - 1, rtol=1e-4, atol=1e-4
    )
    with pytest.raises(UserError, match="translates images"):
        model.sample()


@pytest.mark.parametrize("scale", [1, 2])
def test_folding_networks_take_any_size(scale: int, tmp_path: Path) -> None:
    net = super_resolution.RRDBNet(width=4, blocks=1, growth=2, scale=scale)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    import_model(tmp_path / "net.pth", tmp_path / "m")
    model = load(tmp_path / "m")
    x = torch.rand(1, 3, 13, 10) * 2 - 1
    made = model.translate(x, output="torch")
    assert made.shape == (1, 3, 13 * scale, 10 * scale)
    # Far from the border that was filled up, it is the network's own.
    whole = model.translate(x[..., :12, :8], output="torch")
    assert whole.shape == (1, 3, 12 * scale, 8 * scale)
    with torch.no_grad():
        theirs = net((x[..., :12, :8] + 1) / 2).clamp(0, 1) * 2 - 1
    torch.testing.assert_close(whole, theirs, rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="multiples of"):
        net(x)


def test_an_srgan_restores_set5(shared: Path, tmp_path: Path) -> None:
    """leftthomas/SRGAN's generator: 30.66 dB on luminance, 4 pixels of border left out."""
    import_model(shared / "data" / "weights" / "srgan_x4_leftthomas.pth", tmp_path / "m")
    assert (
        translate_files(tmp_path / "m", [shared / "data" / "set5_lr_x4"], tmp_path / "made").made
        == 5
    )
    record = compare(tmp_path / "made", shared / "data" / "set5", protocol="y-crop4")
    assert record["psnr"]["mean"] == pytest.approx(30.66, abs=0.01)


@pytest.mark.parametrize(
    "name",
    ["resnet9_instance", "resnet6_batch_dropout", "unet128_instance", "unet256_batch_dropout"],
)
def test_translators_translate(name: str, shared: Path, tmp_path: Path) -> None:
    file = shared / "golden" / "cyclegan_pix2pix" / f"{name}.pth"
    header = import_model(file, tmp_path / "m")
    model = load(tmp_path / "m")
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


@pytest.mark.parametrize(
    "name", ["dcgan/discriminator", "cyclegan_pix2pix/pixel_batch", "pgan_zoo/discriminator"]
)
def test_discriminators_are_for_python(name: str, shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="from Python only"):
        import_model(shared / "golden" / f"{name}.pth", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_layers_that_do_not_fit_are_named(shared: Path, tmp_path: Path) -> None:
    weights = torch.load(shared / "golden" / "dcgan" / "generator.pth", weights_only=True)
    del weights["main.4.bias"]
    torch.save(weights, tmp_path / "g.pth")
    with pytest.raises(UserError, match=r"g\.pth looks like a DCGAN generator .*main\.4\.bias"):
        import_model(tmp_path / "g.pth", tmp_path / "m")
