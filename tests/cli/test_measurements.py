"""Models of measurements: 16 bits, floats and many channels from the data to the files."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from toys import SMALL

import ganvas
from ganvas.core import environment
from ganvas.core.errors import CapabilityError, DataError, UserError
from ganvas.evaluation.evaluate import measure
from ganvas.inference.translate_files import translate_files
from ganvas.media.values import Values
from ganvas.methods import CycleGAN
from ganvas.training import probe, snapshot

HOW: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}


def noise(*shape: int, high: int = 4096) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape).astype(np.uint16)


def trained(recipe: str, data: Path, out: Path, *settings: str) -> Path:
    own = [s for s in SMALL[recipe] if not s.startswith(("data.", "batch"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "write_report", lambda run, **_: None)
        patch.setattr(probe, "IMAGES", 8)
        ganvas.train(
            recipe, data, out=out, size=16, batch=2, images=2, set=[*own, *settings], device="cpu"
        )
    return out


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two domains of 3 channels in 12 of 16 bits, and a CycleGAN trained on them."""
    folder = tmp_path_factory.mktemp("domains")
    for domain in "AB":
        (folder / "data" / domain).mkdir(parents=True)
        for name, pixels in ("0", noise(24, 20, 3)), ("stack", noise(7, 24, 20, 3)):
            values = pixels >> (domain == "B")
            tifffile.imwrite(folder / "data" / domain / f"{name}.tif", values, **HOW)
    run = trained(
        *("cyclegan", folder / "data", folder / "run"), "data.load=18", "data.window=[0,4095]"
    )
    return folder / "data", run


def test_a_cyclegan_keeps_type_and_range(domains: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = domains
    record = json.loads((run / "run.json").read_text())
    assert record["data"]["values"] == {"low": 0.0, "high": 4095.0, "type": "uint16"}
    model = ganvas.load(run / "model")
    assert model.runtime.values == Values(0, 4095, "uint16")
    report = translate_files(run, [data / "A"], tmp_path)
    assert (report.made, report.skipped) == (2, [])
    assert tifffile.imread(tmp_path / "stack.tif").shape == (7, 24, 20, 3)
    found = tifffile.imread(tmp_path / "0.tif")
    assert (found.shape, found.dtype) == ((24, 20, 3), np.uint16)
    assert 255 < found.max() <= 4095
    assert ganvas.verify(tmp_path / "0.tif").state == "signed"
    assert np.array_equal(model.translate(data / "A" / "0.tif", output="numpy"), found)
    assert model.translate(data / "A" / "0.tif").size == (20, 24)
    assert translate_files(run, [data / "A"], tmp_path).kept == 2
    assert measure(run, data, n=8)


def test_a_run_goes_on_with_values_of_its_own_type_only(
    domains: tuple[Path, Path], tmp_path: Path
) -> None:
    for domain in "AB":
        (tmp_path / domain).mkdir()
        tifffile.imwrite(tmp_path / domain / "0.tif", noise(24, 20, 3).astype(np.float32), **HOW)
    with pytest.raises(DataError, match=r"have the values .*float32.*, expected .*uint16"):
        ganvas.resume(domains[1], images=4, data=tmp_path)


@pytest.mark.parametrize("tiles", [None, 16])
def test_an_identity_changes_no_value(
    domains: tuple[Path, Path], tiles: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every value of 12 bits; 3 channels as pages of an OME stack, with its metadata."""
    monkeypatch.setattr(CycleGAN, "translate", lambda self, x, to="b": x + 0.0)
    stack = np.resize(np.arange(4096, dtype=np.uint16), (2, 3, 80, 60))
    tags = {"axes": "ZCYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    source, out = tmp_path / "in" / "stack.ome.tif", tmp_path / "out"
    source.parent.mkdir()
    tifffile.imwrite(source, stack, ome=True, metadata=tags, photometric="minisblack")
    assert translate_files(domains[1], [source], out, tile=tiles).made == 1
    with tifffile.TiffFile(out / "stack.ome.tif") as file:
        assert file.is_ome
        assert 'PhysicalSizeX="0.25"' in (file.ome_metadata or "")
        assert file.series[0].axes == "ZCYX"
        assert np.array_equal(file.asarray(), stack)
        page: Any = file.pages[0]
        assert b"compositeWithTrainedAlgorithmicMedia" in page.tags[700].value


def test_large_images_take_constant_memory_of_their_own(
    domains: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In tiles, the values are those of the whole image."""
    pixels = noise(300, 280, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", tile=(64, 64), **HOW)
    translate_files(domains[1], [tmp_path / "a.tif"], tmp_path / "whole")
    monkeypatch.setattr(environment, "memory", lambda device=None: 1 << 24)
    translate_files(domains[1], [tmp_path / "a.tif"], tmp_path / "tiles")
    one, other = (tifffile.imread(tmp_path / n / "a.tif").astype(int) for n in ("whole", "tiles"))
    assert np.abs(one - other).max() <= 1


def test_what_does_not_fit_costs_one_line(domains: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = domains
    folder = tmp_path / "in"
    folder.mkdir()
    tifffile.imwrite(folder / "1.tif", noise(20, 20), **{**HOW, "planarconfig": None})
    tifffile.imwrite(folder / "2.tif", noise(20, 20, 3).astype(np.float32), **HOW)
    (folder / "3.tif").write_bytes((data / "A" / "0.tif").read_bytes()[:900])
    (folder / "4.png").write_bytes(b"")
    tifffile.imwrite(folder / "5.tif", noise(20, 20, 3), **HOW)
    report = translate_files(run, [folder], tmp_path / "out")
    assert report.made == 1
    channels, kind, cut, other = report.skipped
    assert "1.tif has 1 channel; the model was trained on images with 3" in channels
    assert "2.tif holds float32; the model was trained on uint16 from 0 to 4095" in kind
    assert "3.tif: " in cut
    assert "4.png: this model is for measurements, and this is no TIFF file" in other
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["5.tif"]
    with pytest.raises(CapabilityError, match="leave the format out"):
        translate_files(run, [folder], tmp_path / "out", format="jpg")
    with pytest.raises(CapabilityError, match="give the path of a TIFF file"):
        ganvas.load(run).translate(Image.new("RGB", (20, 20)))
    with pytest.raises(UserError, match="there is no file"):
        ganvas.load(run).translate(tmp_path / "none.tif")
    with pytest.raises(DataError, match=r"2\.tif holds float32"):
        ganvas.load(run).translate(folder / "2.tif")


def test_samples_of_5_channels_of_floats(
    tmp_path: Path, command: Any, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    values = noise(8, 16, 16, 5).astype(np.float32) - 1000
    tifffile.imwrite(data / "stack.tif", values, **HOW)
    run = trained("dcgan", data, tmp_path / "run", "data.window=[-1000,3095]")
    model = ganvas.load(run)
    found = model.sample(3, output="numpy")
    assert (found.shape, found.dtype) == ((3, 16, 16, 5), np.float32)
    assert not np.array_equal(found, np.rint(found))
    assert torch.equal(model.sample(3, output="torch")[0], model.sample(1, output="torch")[0])
    assert model.sample(1)[0].size == (80, 16)  # channels side by side
    assert command("sample", run, "-n", 3, "--out", tmp_path / "s").status == 0
    assert command("sample", run, "-n", 3, "--out", tmp_path / "grid.png").status == 0
    with caplog.at_level(logging.WARNING):
        again = tifffile.imread(tmp_path / "s" / "1.tif")
    assert not caplog.records
    assert np.allclose(again, found[1], rtol=1e-6)
    assert ganvas.verify(tmp_path / "s" / "1.tif").generated
    os_sign = command("sample", run, "-n", 1, "--out", tmp_path / "bare", "--no-sign")
    assert os_sign.status == 0
    assert ganvas.verify(tmp_path / "bare" / "0.tif").state == "marked"
    assert measure(run, data, n=8)["values"]


UPSCALER = ["G.width=16", "G.blocks=1", "optim.G.lr=1e-2", "data.window=[0,4095]"]


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SRResNet x4 of 5 channels in 12 of 16 bits, with real pairs to be measured on."""
    folder = tmp_path_factory.mktemp("upscaler")
    for name in ("data", "low", "high"):
        (folder / name).mkdir()
    tifffile.imwrite(folder / "data" / "0.tif", noise(3, 40, 44, 5), **HOW)
    tifffile.imwrite(folder / "low" / "a.tif", noise(2, 20, 24, 5), **HOW)
    high = noise(2, 20, 24, 5).repeat(4, 1).repeat(4, 2)
    tifffile.imwrite(folder / "high" / "a.tif", high, **HOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "write_report", lambda run, **_: None)
        patch.setattr(probe, "IMAGES", 8)
        test = f"{folder / 'low'},{folder / 'high'}"
        ganvas.train(
            *("srresnet", folder / "data"),
            out=folder / "run",
            size=16,
            batch=2,
            images=8,
            test=test,
            set=UPSCALER,
            device="cpu",
        )
    return folder


def test_an_upscaler_is_measured_in_the_range_of_the_data(upscaler: Path, tmp_path: Path) -> None:
    """The figures are those of the files, in which 5 channels are no colors."""
    run = upscaler / "run"
    record = json.loads((run / "run.json").read_text())
    assert record["data"]["values"] == {"low": 0.0, "high": 4095.0, "type": "uint16"}
    assert (record["held_out"]["pairs"], record["held_out"]["protocol"]) == (2, "gray-crop4")
    translate_files(run, [upscaler / "low"], tmp_path)
    made, true = (tifffile.imread(f / "a.tif") for f in (tmp_path, upscaler / "high"))
    assert made.shape == (2, 80, 96, 5)
    apart = (made.astype(float) - true)[:, 4:-4, 4:-4] / 4095
    expected = (-10 * np.log10(np.square(apart).mean((1, 2)))).mean()
    measured = json.loads((run / "measures.jsonl").read_text().splitlines()[-1])
    assert measured["psnr"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("tile", [32, 100])
def test_an_upscaler_in_tiles_gives_the_same_bits(
    upscaler: Path, tile: int, tmp_path: Path
) -> None:
    """16 bits of 5 channels, the size of a pixel, and the place on Earth."""
    scale = (33550, 12, 3, (10.0, 20.0, 0.0), True)
    how = {**HOW, "resolution": (300, 300), "extratags": [scale]}
    tifffile.imwrite(tmp_path / "a.tif", noise(80, 104, 5), **how)
    for name, side in (("whole", None), ("tiles", tile)):
        translate_files(upscaler / "run", [tmp_path / "a.tif"], tmp_path / name, tile=side)
    one, other = (tifffile.imread(tmp_path / n / "a.tif") for n in ("whole", "tiles"))
    assert (one.shape, one.dtype) == ((320, 416, 5), np.uint16)
    assert 255 < one.max() <= 4095
    assert np.array_equal(one, other)
    with tifffile.TiffFile(tmp_path / "tiles" / "a.tif") as file:
        page: Any = file.pages[0]
        assert page.tags[33550].value == (2.5, 5.0, 0.0)
        assert page.tags["XResolution"].value == (1200, 1)


def test_esrgan_plays_on_16_channels_of_floats(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for i in range(8):
        np.save(data / f"{i}.npy", noise(176, 180, 16).astype(np.float32) - 1000)
    own = ["G.width=4", "G.blocks=1", "G.growth=2", "D.width=2", "pretrain=2"]
    window = "data.window=[-1000,3095]"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "write_report", lambda run, **_: None)
        patch.setattr(probe, "IMAGES", 8)
        model = ganvas.train(
            *("esrgan", data), out=tmp_path / "run", batch=2, images=6, set=[*own, window]
        )
    low = tmp_path / "a.tif"
    tifffile.imwrite(low, noise(12, 10, 16).astype(np.float32) - 1000, **HOW)
    found = model.translate(low, output="numpy")
    assert (found.shape, found.dtype) == ((48, 40, 16), np.float32)
    assert measure(tmp_path / "run", data, n=8)


def test_mistakes_of_an_upscaler_of_measurements_cost_one_line(
    upscaler: Path, tmp_path: Path
) -> None:
    data = upscaler / "data"
    vgg, layers = tmp_path / "vgg.pth", [(3, 4), (4, 4), (4, 8), (8, 8)]
    widths = {f"features.{2 * i}": pair for i, pair in enumerate(layers)}
    state = {f"{k}.weight": torch.zeros(b, a, 3, 3) for k, (a, b) in widths.items()}
    torch.save(state | {f"{k}.bias": torch.zeros(b) for k, (_, b) in widths.items()}, vgg)
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 64)).save(photos / "0.png")
    refused: list[tuple[str, list[str], dict[str, Any], str]] = [
        ("srgan", [f"vgg={vgg}", "layer=relu2_2", "D.width=2"], {}, "1 or 3 channels; .* has 5"),
        ("realesrgan", ["D.width=2", "G.growth=2"], {}, "of 8 bits, as JPEG is"),
        ("srresnet", [], {"test": photos}, "got 5 channels; the images have 3"),
    ]
    for recipe, settings, more, message in refused:
        settings += ["G.width=4", "G.blocks=1"]
        with pytest.raises(UserError, match=message) as error:
            ganvas.train(
                *(recipe, data),
                **{"out": tmp_path / "run", "size": 16, "images": 2, "device": "cpu", **more},
                set=[*settings, "data.window=[0,4095]"],
            )
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run").exists()
