"""Every image mode decodes to the right 8-bit pixels; unreadable files are named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_images import BAD, broken_set

from ganvas import data
from ganvas.core.errors import UserError
from ganvas.media import decode, samples

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
RGB = np.stack([RAMP, RAMP.T, 255 - RAMP], 2)


def saved(image: Image.Image, kind: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def read(image: Image.Image, kind: str = "PNG", **options) -> np.ndarray:
    file = saved(image, kind, **options)
    pixels = samples.as_array(decode.read(file))
    file.seek(0)
    header = decode.read_header(file)
    assert (header.height, header.width, header.channels) == pixels.shape, (
        "the header predicts the decoded image"
    )
    return pixels


def test_gray_and_color_are_kept():
    assert (read(Image.fromarray(RAMP))[..., 0] == RAMP).all()
    assert (read(Image.fromarray(RGB)) == RGB).all()


def test_gray_with_alpha():
    la = np.stack([RAMP, RAMP.T], 2)
    got = read(Image.merge("LA", [Image.fromarray(c) for c in (RAMP, RAMP.T)]))
    assert got.shape == (16, 16, 4)
    assert (got[..., 0] == la[..., 0]).all()
    assert (got[..., 3] == la[..., 1]).all()


def test_one_bit():
    bits = RAMP > 100
    assert (read(Image.fromarray(bits))[..., 0] == bits * 255).all()


def test_sixteen_bits_are_scaled_not_clipped():
    deep = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        got = read(Image.fromarray(deep), kind)[..., 0].astype(float)
        assert np.abs(got - deep / 257).max() <= 0.5
    dim = np.full(
        (4, 4), 200, np.uint16
    )  # 0.3% of the range: nearly black, however small its numbers
    assert read(Image.fromarray(dim)).max() == 1


def test_float_tiff():
    got = read(Image.fromarray((RAMP / 255).astype(np.float32)), "TIFF")
    assert (got[..., 0] == RAMP).all()


def test_palette_and_its_transparency():
    image = Image.frombytes("P", (16, 16), (RAMP // 64).tobytes())
    colors = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]
    image.putpalette(colors)
    expected = np.array(colors).reshape(4, 3)[RAMP // 64]
    assert (read(image) == expected).all()
    clear = read(image, transparency=0)
    assert clear.shape[2] == 4
    assert (clear[..., 3] == np.where(RAMP // 64 == 0, 0, 255)).all()


def test_rgb_with_a_transparent_color():
    got = read(Image.fromarray(RGB), transparency=tuple(int(v) for v in RGB[3, 5]))
    assert got.shape[2] == 4
    assert got[3, 5, 3] == 0
    assert got[0, 0, 3] == 255


def test_cmyk_jpeg():
    flat = Image.new("RGB", (32, 32), (200, 60, 30))
    got = read(flat.convert("CMYK"), "JPEG", quality=95)
    assert np.abs(got.astype(int) - (200, 60, 30)).max() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns = [
        lambda a: a,
        np.fliplr,
        lambda a: np.rot90(a, 2),
        np.flipud,
        lambda a: a.transpose(1, 0, 2),
    ]
    turns += [
        lambda a: np.rot90(a, -1),
        lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        lambda a: np.rot90(a, 1),
    ]
    shape = np.kron(np.array([[255, 0, 0], [90, 90, 160]], np.uint8), np.ones((16, 16), np.uint8))
    shape = np.stack([shape] * 3, 2)
    for kind in ("JPEG", "PNG", "TIFF"):
        got = read(Image.fromarray(shape), kind, exif=exif)
        want = turns[orientation - 1](shape)
        assert got.shape == want.shape
        assert np.abs(got.astype(int) - want).mean() < 4


ODD = {
    "text": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04abc\0\0\0\0\0",
    "undefined": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x07\0\0\0\x04\0\x06\0\0\0\0\0\0",
    "nine": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0\0\0\0\0",
    "many": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x02\0\x06\0\x06\0\0\0\0",
    "fraction": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x05\0\0\0\x01\0\0\0\x1a"
    b"\0\0\0\0\0\0\0\x06\0\0\0\0",
    "no TIFF": b"XX nothing that anyone wrote",
    "cut": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0",
    "loop": b"MM\0*\0\0\0\x08\0\0\0\0\0\x08",
    "empty": b"",
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("name", ODD)
def test_orientations_that_are_none(name: str, kind: str):
    """An orientation that is not a number from 1 to 8 is ignored."""
    wide = Image.fromarray(np.zeros((16, 32, 3), np.uint8))
    file = saved(wide, kind, exif=b"Exif\0\0" + ODD[name])
    file.seek(0)
    assert decode.read_header(file)[:2] == (32, 16)
    file.seek(0)
    assert decode.read(file).size == (32, 16)


def test_fit_at_sizes_whose_quotient_rounds():
    """A side divided by the scale and back may be a rounding error too large."""
    sides = np.random.default_rng(0).integers(2, 600, (400, 2)).tolist()
    for width, height in [*sides, (116, 107), (107, 116), (395, 197), (374, 237)]:
        for size in ((64, 64), (32, 32), (48, 64)):
            assert samples.fit(Image.new("L", (width, height)), size).size == size[::-1]


def test_channels():
    clear = Image.fromarray(np.dstack([RGB, np.zeros_like(RAMP)]))
    assert (samples.as_array(samples.to_channels(clear, 3)) == 255).all(), "laid over white"
    assert (samples.as_array(samples.to_channels(clear, 1)) == 255).all()
    solid = samples.to_channels(Image.fromarray(RAMP), 4)
    assert (samples.as_array(solid)[..., 3] == 255).all()
    assert (
        samples.as_array(samples.to_channels(Image.fromarray(RAMP), 3)) == RAMP[..., None]
    ).all()


def test_fit_covers_and_keeps_the_center():
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = 255  # only the middle third is white
    got = samples.as_array(samples.fit(Image.fromarray(wide), (16, 16)))
    assert got.shape == (16, 16, 3)
    assert got[:, 2:-2].min() > 250
    same = Image.fromarray(RGB)
    assert (samples.as_array(samples.fit(same, (16, 16))) == RGB).all()


def test_fit_does_not_alias():
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    got = samples.as_array(samples.fit(Image.fromarray(stripes), (32, 32)))
    assert np.abs(got.astype(int) - 127).max() < 12, "fine stripes become gray"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([False, True]), [0, 255]),
        (np.array([0, 65535], np.uint16), [0, 255]),
        (np.array([0.0, 1.0]), [0, 255]),
        (np.array([-1.0, 1.0], np.float32), [0, 255]),
        (np.array([0.0, 200.0]), [0, 200]),
        (np.array([3, 200], np.int64), [3, 200]),
    ],
)
def test_numbers_of_any_kind(values: np.ndarray, expected: list[int]):
    assert samples.eight_bit(values).tolist() == expected


def test_numbers_without_a_known_range():
    with pytest.raises(samples.Broken, match="from -5 to 900"):
        samples.eight_bit(np.array([-5.0, 900.0]))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_files_are_named_and_skipped(tmp_path: Path):
    folder = broken_set(tmp_path / "photos")
    feed = data.images(folder, size=24)
    assert feed.info.count == 8
    assert [s.split(":")[0] for s in feed.info.skipped] == BAD
    reasons = dict(s.split(": ", 1) for s in feed.info.skipped)
    assert "cut short" in reasons["cut.jpg"]
    assert reasons["dangling.png"] == "No such file or directory"
    assert "not an image" in reasons["text.png"]
    assert "bomb" in reasons["bomb.png"]
    assert "bomb" in reasons["large.png"]
    assert any("6 images cannot be used" in n for n in feed.info.notes)
    assert data.images(folder, size=24).info.skipped == feed.info.skipped, "remembered by the cache"
    with pytest.raises(UserError, match=r"6 images of photos cannot be used: bomb\.png"):
        data.images(folder, size=24, strict=True)


def test_only_bad_files(tmp_path: Path):
    (tmp_path / "set").mkdir()
    for i in range(12):
        (tmp_path / "set" / f"{i:02}.png").write_text("x")
    with pytest.raises(
        UserError, match=r"none of the images of set can be read: 00\.png.*and 2 more"
    ):
        data.images(tmp_path / "set", size=8)
