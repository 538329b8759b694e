"""The invisible mark: what it survives, which images carry it, and what verify says."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from ganvas.media import encode, invisible_mark
from ganvas.media.generated import generated
from ganvas.media.invisible_mark import THRESHOLD, found, score
from ganvas.media.verify import verify


@pytest.fixture(autouse=True)
def _marking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(invisible_mark.MARK_VARIABLE, "1")


def scene(height: int = 256, width: int = 256, channels: int = 3) -> np.ndarray:
    """Shapes with texture, uint8 [H, W, C]."""
    rng = np.random.default_rng(height)
    noise = rng.standard_normal((height, width, channels))
    parts = [ndimage.gaussian_filter(noise, (s, s, 0)) * s for s in (1, 4, 16)]
    return (128 + 40 * np.sum(parts, 0)).clip(0, 255).astype(np.uint8)


def gray(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"))


def saved(pixels: np.ndarray, path: Path) -> Image.Image:
    generated(pixels).save(path)
    with Image.open(path) as image:
        return image.copy()


def test_it_survives_what_the_page_promises(tmp_path: Path) -> None:
    plain = scene()
    image = saved(plain, tmp_path / "a.png")
    assert abs(np.asarray(image).astype(int) - plain).max() <= invisible_mark.STRONGEST * 4
    jpeg = io.BytesIO()
    image.convert("RGB").save(jpeg, "JPEG", quality=75)
    changes = {
        "saved again": image,
        "JPEG 75": Image.open(jpeg),
        "half": image.resize((128, 128), Image.Resampling.BICUBIC),
        "three quarters": image.crop((37, 11, 229, 203)),
    }
    assert {name: score(gray(one)) > THRESHOLD for name, one in changes.items()} == dict.fromkeys(
        changes, True
    )
    assert score(gray(Image.fromarray(plain))) < THRESHOLD - 1
    assert score(gray(image), key=1) < THRESHOLD - 1, "another key"
    for flat in (0, 255):
        assert score(np.full((256, 256), flat, np.uint8)) < THRESHOLD


def test_which_images_carry_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.png"
    for small in ((255, 300), (300, 255), (64, 64)):
        assert np.array_equal(np.asarray(saved(scene(*small), file)), scene(*small))
    assert found(file) is None, "64 px tell nothing"
    paper = scene()
    paper[100:200, 50:250] = 255
    assert (np.asarray(saved(paper, file))[100:200, 50:250] == 255).all(), "no specks on white"
    deep = scene().astype(np.uint16) * 257
    generated(deep).save(file)
    with Image.open(file) as image:
        assert np.array_equal(np.asarray(image), scene()), "measurements stay as they are"
    alpha = np.dstack([scene(), scene()[..., :1]])
    image = saved(alpha, file)
    assert np.array_equal(np.asarray(image)[..., 3], alpha[..., 3])
    assert found(file)
    monkeypatch.setenv(invisible_mark.MARK_VARIABLE, "0")
    assert np.array_equal(np.asarray(saved(scene(), file)), scene())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_bands_carry_the_mark_of_the_whole(suffix: str, tmp_path: Path) -> None:
    pixels = scene(300, 270, 1)
    whole, bands, exact = (tmp_path / f"{name}{suffix}" for name in ("whole", "bands", "exact"))
    generated(pixels).save(whole)
    cuts = [pixels[:7], pixels[7:200], pixels[200:]]
    encode.save_rows(encode.Rows(iter(cuts), 270, 300, 1), bands)
    encode.save_rows(encode.Rows(iter(cuts), 270, 300, 1), exact, exact=True)
    with Image.open(whole) as one, Image.open(bands) as two, Image.open(exact) as three:
        assert np.array_equal(np.asarray(one), np.asarray(two))
        assert np.array_equal(np.asarray(three), pixels[..., 0])
    assert found(bands)
    assert not found(exact)


def test_verify_finds_it_after_another_program_has_saved_the_file(
    command: Any, tmp_path: Path
) -> None:
    signed, again, plain = (tmp_path / name for name in ("signed.png", "again.jpg", "plain.png"))
    image = saved(scene(), signed)
    image.save(again, quality=75)
    Image.fromarray(scene()).save(plain)
    verdict = verify(signed)
    assert (verdict.state, verdict.pixels) == ("signed", True)
    verdict = verify(again)
    assert (verdict.state, verdict.generated, verdict.pixels) == ("pixels", True, True)
    assert verify(plain).pixels is False
    ended = command("verify", again)
    assert ended.status == 4
    assert "marked in its pixels only" in ended.out
    assert "pixels: marked invisibly" in ended.out
    saved(scene(200, 255), plain)
    assert "images with a side below 256 px carry none" in command("verify", plain).out


def test_no_mark_says_what_it_gives_up(command: Any, toy: Any, tmp_path: Path) -> None:
    grids = [tmp_path / name for name in ("with.png", "without.png")]
    common = ("sample", toy("noise").run, "-n", 676, "--out")
    assert command(*common, grids[0]).status == 0
    ended = command(*common, grids[1], "--no-mark")
    assert "note: --no-mark: The pixels carry no invisible mark" in ended.err
    assert [found(path) for path in grids] == [True, False]
    with Image.open(grids[1]) as image:
        assert min(image.size) >= invisible_mark.SIDE
