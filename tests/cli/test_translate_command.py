"""`ganvas translate`: imported networks, large images, folders, kills, processes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processes import ENVIRONMENT, ganvas
from safetensors.torch import load_file
from test_cli import pixels
from toys import lively, toy_images

from ganvas.core import Shape, environment
from ganvas.core.environment import memory
from ganvas.core.errors import UserError
from ganvas.inference import image_input
from ganvas.inference.importers import import_network
from ganvas.inference.importers.as_method import import_model
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.inference.tiling import graph
from ganvas.inference.translate_files import Translated, translate_files
from ganvas.media import grid, provenance
from ganvas.methods import Pix2Pix
from ganvas.nets import image_to_image, patchgan, super_resolution


def model(net: torch.nn.Module, out: Path) -> Path:
    torch.save(net.state_dict(), out.with_suffix(".pth"))
    import_model(out.with_suffix(".pth"), out)
    return out


def photo(file: Path, width: int, height: int, mode: str = "RGB") -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(
        file
    )
    return file


def test_options_of_import(tmp_path: Path) -> None:
    """A setting that the file does not show must be given, and is kept."""
    net = super_resolution.CompactNet(3, 4, 1, 2, prelu=False)
    torch.save(net.state_dict(), tmp_path / "c.pth")
    command = ("import", tmp_path / "c.pth", "--out", tmp_path / "m")
    refused = ganvas(*command, ok=False)
    assert refused.returncode == 1
    assert "--option act_type=relu|leakyrelu" in refused.stderr
    assert not (tmp_path / "m").exists()
    ganvas(*command, "--option", "act_type=leakyrelu")
    assert load(tmp_path / "m").info["options"] == {"act_type": "leakyrelu"}


def test_import_and_translate_just_work(shared: Path, tmp_path: Path) -> None:
    """CUT's generator, from its file to the image, to the rounding of one gray level."""
    source = shared / "golden" / "cut" / "generator.pth"
    (tmp_path / "latest_net_G.pth").write_bytes(source.read_bytes())
    file = photo(tmp_path / "photo.png", 61, 45)
    told = ganvas("import", tmp_path / "latest_net_G.pth", "--out", tmp_path / "m").stdout
    assert "anti-aliased ResNet" in told
    done = ganvas("translate", tmp_path / "m", file, cwd=tmp_path)
    assert "1 image in translated" in done.stdout
    made = pixels(tmp_path / "translated" / "photo.png")
    x = torch.from_numpy(pixels(file).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    x = torch.nn.functional.pad(x, (0, 3, 0, 3), mode="reflect")
    with torch.no_grad():
        theirs = grid.to_uint8(import_network(source)(x)[0, :, :45, :61])
    assert np.abs(made.astype(int) - theirs).max() <= 1
    golden = load_file(source.with_suffix(".safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(
            import_network(source)(golden["input"]), golden["output"], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize(("mode", "side"), [("RGB", 40), ("L", 40), ("RGBA", 17)])
def test_streamed_images_equal_those_in_memory(mode: str, side: int, tmp_path: Path) -> None:
    """Images of any mode and size; the upscaling network multiplies the size."""
    file = photo(tmp_path / "photo.png", 131, 77, mode)
    channels = {"RGB": 3, "L": 1, "RGBA": 4}[mode]
    nets = (
        image_to_image.ResNetGenerator(channels, channels, width=4, blocks=2),
        image_to_image.UNetGenerator(channels, channels, width=4, depth=5),
        super_resolution.MSRResNet(channels, 8, 2),
    )
    for net in nets:
        folder = model(lively(net), tmp_path / type(net).__name__)
        loaded = load(folder)
        whole = loaded.translate(file, output="torch")
        torch.testing.assert_close(
            loaded.translate(file, output="torch", tile=side), whole, rtol=1e-4, atol=1e-4
        )
        narrow = load(folder, precision="bf16").translate(file, output="torch", tile=side)
        assert (narrow - whole).abs().mean() < 0.05
        assert translate_files(folder, [file], folder / "made", tile=side) == Translated(made=1)
        made = folder / "made" / "photo.png"
        assert np.abs(pixels(made).astype(int) - np.asarray(loaded.translate(file))).max() <= 1
        assert provenance.read(made)["facts"]["source"] == "photo.png"
        assert [p.name for p in made.parent.iterdir()] == ["photo.png"], (
            "what was stored for a while is gone"
        )
        with pytest.raises(UserError, match="smallest tile has 16"):
            loaded.translate(file, tile=3)


class Failing(torch.nn.Module):
    """A network that runs out of memory a given number of times."""

    def __init__(self, net: torch.nn.Module, times: int) -> None:
        super().__init__()
        self.net, self.times, self.multiple = net, times, 4

    def forward(self, x: Any) -> Any:
        if self.times:
            self.times -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        return self.net(x)


def test_out_of_memory_goes_on_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(model(lively(image_to_image.ResNetGenerator(width=4, blocks=2)), tmp_path / "m"))
    method: Any = loaded.method
    x = torch.rand(2, 3, 30, 50) * 2 - 1
    whole = loaded.translate(x, output="torch")
    method.G_ab = Failing(method.G_ab, 1)
    torch.testing.assert_close(loaded.translate(x, output="torch"), whole, rtol=1e-4, atol=1e-4)
    method.G_ab.times = 9
    with pytest.raises(
        UserError, match="50x30 pixels needs more memory than there is, even in the smallest tiles"
    ):
        loaded.translate(x, output="torch")
    # What looks at the whole image at once is done whole, and refused where that is too much.
    method.G_ab = torch.nn.Sequential(
        method.G_ab.net, torch.nn.Flatten(2), torch.nn.Unflatten(2, (32, 52))
    )
    torch.testing.assert_close(
        loaded.translate(x, output="torch", tile=16), whole, rtol=1e-4, atol=1e-4
    )
    monkeypatch.setattr(environment, "memory", lambda device: 1 << 20)
    with pytest.raises(UserError, match="cannot run in tiles: it calls flatten"):
        loaded.translate(x, output="torch")
    monkeypatch.undo()
    monkeypatch.setattr(
        graph.OnDisk, "write", lambda *_: (_ for _ in ()).throw(UserError("disk is full"))
    )
    with pytest.raises(UserError, match="disk is full"):
        loaded.translate(Image.new("RGB", (30, 30)), tile=16)


def test_a_folder_survives_kills_and_broken_files(tmp_path: Path) -> None:
    folder = model(lively(image_to_image.ResNetGenerator(width=8, blocks=9)), tmp_path / "m")
    garden = toy_images(tmp_path / "garden", 40, side=96)
    (garden / "deep").mkdir()
    (garden / "003.png").rename(garden / "deep" / "003.png")
    (garden / "cut.png").write_bytes((garden / "000.png").read_bytes()[:100])
    (garden / "text.jpg").write_text("not an image")
    out = tmp_path / "made"
    code = (  # the fourth image is never finished, so that the kill comes while it is at work
        "import sys, threading\n"
        "from ganvas.inference import translate_files as translating\n"
        "from ganvas.__main__ import main\n"
        "whole, count = translating.translate_file, iter(range(99))\n"
        "def stuck(*given):\n"
        "    if next(count) == 3:\n        print(flush=True); threading.Event().wait()\n"
        "    return whole(*given)\n"
        "translating.translate_file = stuck\nmain()\n"
    )
    command = [sys.executable, "-c", code, "translate", folder, garden, "--out", out]
    victim = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "\n"
    victim.kill()
    victim.stdout.close()
    victim.wait()
    before = {p: p.read_bytes() for p in out.rglob("[!.]*.png")}
    assert 3 <= len(before) < 40
    for file in before:
        assert pixels(file).shape == (96, 96, 3), "what is there is whole"
    abandoned = out / ".000.png.1.tmp"
    abandoned.write_bytes(b"half an image")
    os.utime(abandoned, (0, 0))

    report = translate_files(folder, [garden], out)
    assert (report.made, report.kept) == (40 - len(before), len(before))
    assert [s.split(": ")[0].rpartition("/")[2] for s in report.skipped] == ["cut.png", "text.jpg"]
    assert all(p.read_bytes() == data for p, data in before.items()), (
        "what was made is not made again"
    )
    assert not abandoned.exists()
    assert (out / "deep" / "003.png").is_file()


def test_processes_share_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model(lively(image_to_image.ResNetGenerator(width=2, blocks=1)), tmp_path / "m")
    garden = toy_images(tmp_path / "garden", 5, side=16)
    monkeypatch.setenv("WORLD_SIZE", "2")
    counts = []
    for rank in "10":
        monkeypatch.setenv("RANK", rank)
        counts.append(translate_files(folder, [garden], tmp_path / "made"))
    assert counts == [Translated(made=2), Translated(made=3)]
    assert len(list((tmp_path / "made").iterdir())) == 5


def test_a_hundred_megapixels_are_opened_here_alone(tmp_path: Path) -> None:
    """Elsewhere an image of so many pixels is refused as a possible bomb."""
    folder = model(lively(image_to_image.ResNetGenerator(1, 1, width=2, blocks=1)), tmp_path / "m")
    file = tmp_path / "large.png"
    Image.new("1", (10_000, 9_500)).save(file)
    loaded = load(folder)
    decoded = image_input.decoded(file)
    assert (decoded.width, decoded.height) == (10_000, 9_500)
    assert not loaded._translator.fits(10_000 * 9_500) or memory(torch.device("cpu")) > 700 << 30
    with pytest.raises(UserError, match="possible bomb"):
        loaded.fitted(file)


def test_a_seed_names_what_a_network_draws(tmp_path: Path) -> None:
    """Whole and in tiles: another seed, another result; the same seed, the same result."""
    shape = Shape(3, 16, 16)
    G = partial(image_to_image.UNetGenerator, width=4, depth=3, dropout=2)
    method = Pix2Pix(shape, G, partial(patchgan.PatchDiscriminator, width=4, layers=1))
    lively(method)
    drawing = Model(method.eval(), {"shape": asdict(shape)})
    file = photo(tmp_path / "photo.png", 48, 40)
    for tile in (None, 16):
        one, again, other = (
            drawing.translate(file, output="torch", seed=s, tile=tile) for s in (0, 0, 1)
        )
        assert torch.equal(one, again)
        assert not torch.equal(one, other)


def test_results_of_another_model_or_direction_are_not_taken_for_its_own(tmp_path: Path) -> None:
    one, two = (
        model(lively(super_resolution.CompactNet(3, 4, 1, 2)), tmp_path / name) for name in "ab"
    )
    file, out = photo(tmp_path / "p.png", 12, 8), tmp_path / "out"
    assert translate_files(one, [file], out).made == 1
    again = translate_files(one, [file], out)
    assert (again.made, again.kept) == (0, 1)
    kept = (out / "p.png").read_bytes()
    with pytest.raises(UserError, match=r"p\.png is the result of another model, input or options"):
        translate_files(two, [file], out)
    assert (out / "p.png").read_bytes() == kept
    with pytest.raises(UserError, match="is the result of another model, input or options"):
        translate_files(one, [file], out, seed=1)


def test_an_image_is_no_folder_for_results(tmp_path: Path) -> None:
    net = model(super_resolution.CompactNet(3, 4, 1, 2), tmp_path / "m")
    file = photo(tmp_path / "p.png", 12, 8)
    with pytest.raises(UserError, match=r"out is a folder, .*; got .*x\.png, the name of an"):
        translate_files(net, [file], tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_weights_of_another_project_are_no_broken_model(tmp_path: Path) -> None:
    net = super_resolution.CompactNet(3, 4, 1, 2)
    torch.save(net.state_dict(), tmp_path / "c.pth")
    with pytest.raises(UserError, match=r"ganvas import \S+c\.pth --out models/c"):
        load(tmp_path / "c.pth")


def test_pickles_of_networks_are_named(tmp_path: Path) -> None:
    """As of StyleGAN2-ADA and StyleGAN3: they hold code, and are not opened."""
    file = tmp_path / "network.pkl"
    file.write_bytes(pickle.dumps({"G_ema": Path("code"), "training_set_kwargs": {}}, 4))
    with pytest.raises(UserError, match=r"is a pickle of Python objects.*\['G_ema'\]"):
        import_network(file)
