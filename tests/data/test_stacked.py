"""Images of many channels and 16 bits: exact values, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.core.errors import UserError
from ganvas.data import stacks
from ganvas.data.degradations import edges


def values_of(feed) -> np.ndarray:
    """The pixels [N, H, W, C] of all images, as stored."""
    (batch,) = feed.batches(100)
    return ((batch.y.double() + 1) * 32767.5).round().long().movedim(1, -1).numpy()


def noise(*shape: int, high: int = 65536) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape)


@pytest.mark.parametrize("channels", [1, 2, 5, 16])
def test_arrays_keep_every_value_of_16_bits(channels: int, tmp_path: Path) -> None:
    pixels = noise(3, 20, 24, channels).astype(np.uint16)
    for i, one in enumerate(pixels):
        moved = one.transpose(2, 0, 1) if channels > 1 else one[..., 0]
        np.save(tmp_path / f"{i}.npy", moved if i == 1 else one)
    feed = stacks(tmp_path)
    assert feed.info.shape.size == (20, 24)
    assert feed.info.channels == channels
    assert (values_of(feed) == pixels).all()
    mirrored = feed.draw(0, 64, seed=0)
    assert torch.isin(mirrored.y[0], feed.fixed(3).y).all()


def test_pages_and_gray_files_are_read_as_they_are(tmp_path: Path) -> None:
    pages = noise(16, 16, 3).astype(np.uint16)
    images = [Image.fromarray(np.ascontiguousarray(pages[..., i])) for i in range(3)]
    (tmp_path / "tif").mkdir()
    images[0].save(tmp_path / "tif" / "1.tif", save_all=True, append_images=images[1:])
    assert (values_of(stacks(tmp_path / "tif")) == pages).all()
    (tmp_path / "png").mkdir()
    images[0].save(tmp_path / "png" / "1.png")
    assert (values_of(stacks(tmp_path / "png")) == pages[..., :1]).all()
    (tmp_path / "eight").mkdir()
    Image.fromarray(noise(16, 16, high=256).astype(np.uint8)).save(tmp_path / "eight" / "1.png")
    assert (values_of(stacks(tmp_path / "eight")) == 257 * noise(16, 16, 1, high=256)).all()


def test_parts_and_files_of_the_system(tmp_path: Path) -> None:
    for name in ("train/1", "train/2", "test/3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", noise(16, 16, 1).astype(np.uint16))
    (tmp_path / "train" / "._1.npy").write_bytes(b"no array")
    assert [stacks(tmp_path, part=part).info.count for part in ("train", "test")] == [2, 1]
    only = stacks(tmp_path / "train", part="test").info
    assert (only.count, only.notes[0]) == (
        2,
        "there is no test part: all images are used instead",
    )


def test_a_window_maps_and_clips(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.array([[-2000, -1000], [0, 1500]], np.int16))
    feed = stacks(tmp_path, window=[-1000, 1000])
    assert values_of(feed).ravel().tolist() == [0, 0, 32768, 65535]
    with pytest.raises(UserError, match=r"int16, from -2000 to 1500: name.*data\.window"):
        stacks(tmp_path)
    with pytest.raises(UserError, match="black and white"):
        stacks(tmp_path, window=[5, 5])


def test_sketches_are_edges_of_the_mean(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", noise(16, 16, 4).astype(np.uint16))
    batch = stacks(tmp_path).fixed(1)
    assert batch.x.shape == batch.y.shape
    torch.testing.assert_close(batch.x[:, :1], edges(batch.y.mean(1, keepdim=True)))


def test_sizes_are_covered_and_crops_lie_anywhere(tmp_path: Path) -> None:
    for i, shape in enumerate([(40, 50), (30, 90)]):
        np.save(tmp_path / f"{i}.npy", np.full((*shape, 2), 1000 * (i + 1), np.uint16))
    feed = stacks(tmp_path, size=(16, 32))
    assert feed.info.shape.size == (16, 32)
    assert sorted(np.unique(values_of(feed)).tolist()) == [1000, 2000]
    with pytest.raises(UserError, match="one size or a size"):
        stacks(tmp_path)
    assert "2 images smaller than 64x64, enlarged" in stacks(tmp_path, size=64).info.notes
    cropped = stacks(tmp_path, size=8, load=16)
    assert cropped.draw(0, 4, seed=0).y.shape == (4, 2, 8, 8)


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda f: np.save(f, np.zeros((17, 18, 19))), r"shape \[17, 18, 19\]"),
        (lambda f: np.save(f, np.full((4, 4), "x")), "expected numbers"),
        (lambda f: np.save(f, np.array([[None]]), allow_pickle=True), "cannot be read"),
        (lambda f: f.write_bytes(b"\x93NUMPY\x01\x00nonsense"), "cannot be read"),
        (lambda f: f.write_bytes(b""), "cannot be read"),
        (lambda f: f.with_suffix(".tif").write_bytes(b"II*\0\xff\xff\xff\xff"), "cannot be read"),
        (lambda f: f.with_suffix(".txt").write_text("x"), "has no images"),
    ],
)
def test_what_cannot_be_read_is_named(write, error: str, tmp_path: Path) -> None:
    write(tmp_path / "1.npy")
    with pytest.raises(UserError, match=error):
        stacks(tmp_path)


def test_nan_and_mixed_channels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no"):
        stacks(tmp_path / "none")
    np.save(tmp_path / "1.npy", np.array([[0.5, np.nan]]))
    with pytest.raises(UserError, match="NaN or infinite"):
        stacks(tmp_path, window=[0, 1])
    np.save(tmp_path / "1.npy", np.zeros((4, 4), np.uint16))
    np.save(tmp_path / "2.npy", np.zeros((4, 4, 2), np.uint16))
    with pytest.raises(UserError, match=r"4x4 with 2 channels and .* 4x4 with 1 channel"):
        stacks(tmp_path)
