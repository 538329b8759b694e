"""Images and reductions of them as files: crops that lie at the same place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from ganvas import data
from ganvas.core.errors import UserError
from ganvas.data.real_degradation import RealDegradation
from ganvas.data.reductions import upscalers
from ganvas.media.resize import bicubic


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def folders(root: Path, scale: int, *sizes: tuple[int, int]) -> str:
    """LOW,HIGH: each image is its reduction with pixels repeated."""
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate(sizes):
        small = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        save(root / "low" / f"{i}x{scale}.png", small)
        save(root / "high" / f"{i}.png", small.repeat(scale, 0).repeat(scale, 1))
    return f"{root / 'low'},{root / 'high'}"


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_crops_of_both_lie_at_the_same_place(tmp_path: Path, scale: int) -> None:
    """Mirrored or not, with gray reductions beside color ones, in training and test."""
    source = folders(tmp_path, scale, (20, 30), (24, 17), (9, 40))
    feed = data.super_resolution(source, size=12 * scale, scale=scale)
    assert feed.scale == scale
    assert any("2.png" in s for s in feed.info.skipped), "too small for a crop and its margin"
    places = set()
    for batch in [feed.draw(0, 64, seed=0), feed.fixed(3), *feed.batches(4)]:
        assert batch.a.shape[-2:] == (12, 12)
        assert batch.b.shape[-2:] == (12 * scale, 12 * scale)
        assert torch.equal(batch.b[..., ::scale, ::scale], batch.a)
        assert torch.equal(batch.x, batch.a)
        places |= {float(image.sum()) for image in batch.a}
    assert len(places) > 40, "crops lie anywhere, not only at the tiles' corners"
    turned = data.super_resolution(source, size=12 * scale, scale=scale, turn=True)
    batch = turned.draw(0, 64, seed=0)
    assert torch.equal(batch.b[..., ::scale, ::scale], batch.a)
    assert not torch.equal(batch.a, feed.draw(0, 64, seed=0).a)
    with pytest.raises(UserError, match="turns crops by quarters"):
        data.super_resolution(source, size=(12 * scale, 24 * scale), scale=scale, turn=True)
    test = data.super_resolution(source, size=12 * scale, scale=scale, part="test", flip=False)
    batch = next(test.batches(4))
    assert torch.equal(batch.b[..., ::scale, ::scale], batch.a)


def test_data_check_suggests_super_resolution(tmp_path: Path) -> None:
    """Upscalers, and no pix2pix, which would enlarge the inputs before it sees them."""
    report = data.check(folders(tmp_path, 4, (48, 48), (48, 50)))
    scales = "--set data.scale=4 --set G.scale=4"
    assert report.scale == 4
    assert not any("pix2pix" in line for line in report.fits)
    for line, start in zip(report.fits, ("compact", "esrgan"), strict=False):
        assert line.startswith(f"ganvas train {start} "), line
        assert scales in line
    assert upscalers(5, [20, 20, 100, 100])[0][:2] == ("compact", 75)
    assert upscalers(1, [200, 200]) == upscalers(4, [5, 20]) == []


def test_what_does_not_fit_is_named_in_one_line(tmp_path: Path) -> None:
    source = folders(tmp_path, 2, (30, 30), (30, 40))
    for scale, message in ((4, "all are 2 times as large: --set data.scale=2"), (2, "")):
        if message:
            with pytest.raises(UserError, match=message):
                data.super_resolution(source, size=24, scale=scale)
        else:
            data.super_resolution(source, size=24, scale=scale)
    save(tmp_path / "high" / "1.png", np.zeros((61, 80, 3), np.uint8))
    with pytest.raises(UserError, match=r"1x2.png 40x30 and 1.png 80x61") as error:
        data.super_resolution(source, size=24, scale=2)
    assert "\n" not in str(error.value)
    (tmp_path / "high" / "1.png").unlink()
    with pytest.raises(UserError, match="no partner of the same name"):
        data.super_resolution(source, size=24, scale=2)
    (tmp_path / "low" / "1x2.png").unlink()
    with pytest.raises(UserError, match="degrade makes others"):
        data.super_resolution(source, size=24, scale=2, degrade=RealDegradation())
    turned = ",".join(reversed(source.split(",")))
    with pytest.raises(UserError, match="must be exactly 2 times as large"):
        data.super_resolution(turned, size=24, scale=2)


MEASURED = {
    "uint8, type": ("uint8", "type", 255, 2),
    "12 bits in 16": ("uint16", (0, 4095), 4095, 5),
    "uint32": ("uint32", (1000, 70_000), 69_000, 1),
    "float32": ("float32", (-1, 3), None, 16),
}


def measured(kind: str, span: Any, *shape: int) -> np.ndarray:
    low, high = (0, 255) if span == "type" else span
    values = low + (high - low) * np.random.default_rng(0).random(shape)
    return values.astype(kind) if kind == "float32" else np.rint(values).astype(kind)


@pytest.mark.parametrize("ending", [".tif", ".npy"])
@pytest.mark.parametrize("name", MEASURED)
def test_measurements_are_reduced_in_their_own_steps(
    tmp_path: Path, name: str, ending: str
) -> None:
    """Crops of the files' own values, and reductions that files of their type hold."""
    kind, span, steps, channels = MEASURED[name]
    every = measured(kind, span, 2, 40, 44, channels)
    for i, values in enumerate(every):
        if ending == ".npy":
            np.save(tmp_path / f"{i}.npy", values.transpose(2, 0, 1) if i else values)
        else:
            pages = values[..., 0] if channels == 1 else values
            contiguous = None if channels == 1 else "contig"
            tifffile.imwrite(
                tmp_path / f"{i}.tif", pages, photometric="minisblack", planarconfig=contiguous
            )
    feed = data.super_resolution(tmp_path, size=24, scale=2, window=span, flip=False)
    assert feed.info.values is not None
    assert (feed.info.channels, feed.info.values.type) == (channels, kind)
    unit = feed.info.values.to_unit(every)
    batch = feed.draw(0, 4, seed=0)
    for crop in batch.y.permute(0, 2, 3, 1).numpy():
        places = np.lib.stride_tricks.sliding_window_view(unit, crop.shape, (1, 2, 3))
        assert np.abs(places[:, :, :, 0] - crop).max((3, 4, 5)).min() < 4e-5, "a crop of a file"
    expected = bicubic(batch.y, 0.5).clamp(-1, 1)
    levels = (batch.x.double() + 1) / 2 * (steps or 1)
    if steps is None:
        assert torch.equal(batch.x, expected)
    else:
        assert (levels - levels.round()).abs().max() < 0.02
        assert (batch.x - expected).abs().max() <= 1.01 / steps


def test_real_pairs_of_measurements_lie_at_the_same_place(tmp_path: Path) -> None:
    """Stacks, whose i-th pages form a pair; a stack without its page is named."""
    how: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
    small = measured("uint16", (0, 65535), 3, 24, 20, 2)
    (tmp_path / "low").mkdir()
    (tmp_path / "high").mkdir()
    tifffile.imwrite(tmp_path / "low" / "a.tif", small, **how)
    tifffile.imwrite(tmp_path / "high" / "a.tif", small.repeat(3, 1).repeat(3, 2), **how)
    source = f"{tmp_path / 'low'},{tmp_path / 'high'}"
    feed = data.super_resolution(source, size=36, scale=3, window="type")
    assert (feed.info.count, feed.info.channels) == (3, 2)
    for batch in [feed.draw(0, 16, seed=0), *feed.batches(2)]:
        assert torch.equal(batch.b[..., ::3, ::3], batch.a)
    assert data.check(source).scale == 3
    with pytest.raises(UserError, match="all are 3 times as large"):
        data.super_resolution(source, size=36, scale=2, window="type")
    tifffile.imwrite(tmp_path / "low" / "a.tif", small[:2], **how)
    with pytest.raises(UserError, match=r"a.tif holds 2 images and a.tif 3"):
        data.super_resolution(source, size=36, scale=3, window="type")


def test_measurements_that_make_no_sense(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", measured("uint16", (0, 4095), 64, 64))
    with pytest.raises(UserError, match=r"holds arrays \(\.npy\), whose values are no gray levels"):
        data.super_resolution(tmp_path, size=24, scale=2)
    with pytest.raises(UserError, match=r"of 8 bits, as JPEG is.*data\.degrade=null"):
        data.super_resolution(tmp_path, size=24, scale=2, window="type", degrade=RealDegradation())
    with pytest.raises(UserError, match="got both white and window"):
        data.super_resolution(tmp_path, size=24, scale=2, window="type", white=4095)
    with pytest.raises(UserError, match="got 3 channels; the images have 1"):
        data.super_resolution(tmp_path, size=24, scale=2, window="type", channels=3)
    whole = (tmp_path / "0.npy").read_bytes()
    (tmp_path / "1.npy").write_bytes(whole[:500])
    (tmp_path / "2.npy").write_bytes(b"no array")
    feed = data.super_resolution(tmp_path, size=24, scale=2, window="type")
    assert sorted(s.partition(" ")[0] for s in feed.info.skipped) == ["1.npy", "2.npy"]
    assert "\n" not in "".join(feed.info.skipped)
    (tmp_path / "0.npy").unlink()
    np.save(tmp_path / "0.npy", measured("uint8", "type", 64, 64, 4))
    eight = data.super_resolution(
        tmp_path, size=24, scale=2, window="type", degrade=RealDegradation()
    )
    assert eight.draw(0, 2, seed=0).x.shape == (2, 4, 12, 12)


def test_data_check_describes_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", measured("uint16", (0, 4095), 160, 150, 2))
    report = data.check(tmp_path)
    assert report.problem is None
    assert report.modes == {"uint16": 1}
    (command,) = [c for c in report.fits if "srresnet" in c]
    assert "--set 'data.window=[0,4095]'" in command
