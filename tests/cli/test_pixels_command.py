"""`ganvas pixels` on two folders and two files, and the usual mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from typer.testing import CliRunner

from ganvas.apps.cli import app
from ganvas.core.errors import UserError
from ganvas.evaluation.paired import compare, window_of
from ganvas.media.resize import bicubic
from ganvas.metrics.psnr_ssim import ms_ssim, psnr, ssim


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three images and the same with noise, as PNG and BMP; one is large enough for MS-SSIM."""
    rng = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    for name, side in (("one", 40), ("two", 64), ("three", 200)):
        coarse = torch.from_numpy(rng.uniform(40, 215, (1, 3, side // 8, side // 8)))
        x = bicubic(coarse, 8)[0].permute(1, 2, 0).clamp(0, 255).numpy()
        y = (x + rng.normal(0, 6, x.shape)).clip(0, 255)
        Image.fromarray(x.astype(np.uint8)).save(tmp_path / "a" / f"{name}.png")
        Image.fromarray(y.astype(np.uint8)).save(tmp_path / "b" / f"{name}.bmp")
    return tmp_path / "a", tmp_path / "b"


def tensor(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 255


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["pixels", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_two_folders(folders: tuple[Path, Path]) -> None:
    a, b = folders
    record = json.loads(run(a, b, "--protocol", "rgb", "--json"))
    assert record["count"] == 3
    by_name = {r["name"]: r for r in record["images"]}
    for name, row in by_name.items():
        x, y = tensor(a / name), tensor((b / name).with_suffix(".bmp"))
        assert row["psnr"] == pytest.approx(float(psnr(x, y, "rgb")))
        assert row["ssim"] == pytest.approx(float(ssim(x, y, "rgb")))
        assert "ms-ssim" not in row
    values = [r["psnr"] for r in record["images"]]
    assert record["psnr"]["mean"] == pytest.approx(np.mean(values))
    half = 4.302653 * np.std(values, ddof=1) / 3**0.5  # Student's t, 2 degrees of freedom
    assert record["psnr"]["high"] - record["psnr"]["mean"] == pytest.approx(half)
    assert (record["psnr"]["protocol"], record["psnr"]["unit"]) == ("rgb", "dB")
    assert record["notes"] == ["no ms-ssim: it needs sides of at least 176 pixels, and 2 have less"]
    text = run(a, b)
    assert "psnr                 y-crop4    " in text
    assert " dB  [" in text
    assert "ssim                 y-crop4    0." in text
    assert "at least 184 pixels" in text


def test_two_files(folders: tuple[Path, Path]) -> None:
    a, b = folders[0] / "three.png", folders[1] / "three.bmp"
    record = compare(a, b)
    assert record["ms-ssim"]["mean"] == pytest.approx(float(ms_ssim(tensor(a), tensor(b))))
    assert record["psnr"]["low"] is None
    same = json.loads(run(a, a, "--json"))  # Infinity is no JSON
    assert same["psnr"]["mean"] is None
    assert same["ssim"]["mean"] == pytest.approx(1)
    assert same["notes"] == ["equal images, of infinite PSNR: three.png"]
    assert "psnr                 y-crop4    infinite" in run(a, a)


def test_gray_images_have_a_protocol_of_their_own(folders: tuple[Path, Path]) -> None:
    """The same gray pixels give 1.32 dB less as L than as RGB, whose luma has 219 levels of 255."""
    a, b = folders
    for file in (*a.iterdir(), *b.iterdir()):
        with Image.open(file) as image:
            image.convert("L").convert("RGB").save(file)
    as_rgb = compare(a, b)
    assert as_rgb["psnr"]["protocol"] == "y-crop4"
    for i, file in enumerate(
        f for name in ("one", "two", "three") for f in (a / f"{name}.png", b / f"{name}.bmp")
    ):
        with Image.open(file) as image:
            image.convert("L").save(file)
        if i == 1:
            record = compare(a, b)
            assert record["psnr"]["protocol"] == "y-crop4 and gray-crop4"
            assert record["notes"][0].startswith("1 of 3 pairs are gray")
    record = compare(a, b)
    assert record["psnr"]["protocol"] == record["ssim"]["protocol"] == "gray-crop4"
    assert as_rgb["psnr"]["mean"] - record["psnr"]["mean"] == pytest.approx(1.32, abs=0.01)
    assert compare(a, b, protocol="rgb-crop4")["psnr"]["protocol"] == "rgb-crop4"
    assert compare(a, b, protocol="rgb-crop4")["psnr"]["mean"] == pytest.approx(
        record["psnr"]["mean"]
    )


def test_lpips_beside_them(folders: tuple[Path, Path], shared: Path) -> None:
    record = compare(*folders, lpips="squeeze-caffe", weights=shared / "data" / "weights")
    figure = record["lpips-squeeze-caffe"]
    assert 0 < figure["mean"] < 1
    assert figure["weights"]["backbone"].startswith("320eff10")
    assert all("lpips-squeeze-caffe" in r for r in record["images"])


def test_bicubic_on_set5_is_28_43_db_from_files(shared: Path, tmp_path: Path) -> None:
    for path in (shared / "data" / "set5_lr_x4").glob("*.png"):
        low = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None]
        for folder, pixels in (("up", bicubic(low, 4)[0].permute(1, 2, 0).numpy()), ("hr", None)):
            (tmp_path / folder).mkdir(exist_ok=True)
            if pixels is None:
                original = Image.open(shared / "data" / "set5" / path.name)
                original.crop((0, 0, low.shape[-1] * 4, low.shape[-2] * 4)).save(
                    tmp_path / folder / path.name
                )
            else:
                Image.fromarray(pixels).save(tmp_path / folder / path.name)
    record = compare(tmp_path / "up", tmp_path / "hr")
    assert record["count"] == 5
    assert record["psnr"]["mean"] == pytest.approx(28.43, abs=0.02)


def test_mistakes_name_what_is_wrong(folders: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = folders
    with pytest.raises(UserError, match="Did you mean 'y-crop"):
        run(a, b, "--protocol", "y-crop")
    with pytest.raises(UserError, match="there is no"):
        run(a, tmp_path / "nowhere")
    with pytest.raises(UserError, match="two images or two folders"):
        run(a / "one.png", b)
    with pytest.raises(UserError, match=r"one\.png is 40x40 pixels and .*two\.bmp is 64x64"):
        run(a / "one.png", b / "two.bmp")
    with pytest.raises(UserError, match="LPIPS has no backbone"):
        run(a, b, "--lpips", "resnet")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty too").mkdir()
    with pytest.raises(UserError, match="no images"):
        run(tmp_path / "empty", tmp_path / "empty too")
    gray = tmp_path / "gray.png"
    Image.open(a / "one.png").convert("L").save(gray)
    with pytest.raises(UserError, match=r"gray\.png is gray and .*one\.bmp is not"):
        run(gray, b / "one.bmp")
    assert compare(gray, gray)["count"] == 1
    Image.new("RGB", (40, 40)).convert("RGBA").save(tmp_path / "alpha.png")
    assert compare(tmp_path / "alpha.png", b / "one.bmp")["notes"][0] == "alpha is laid over white"
    small = tmp_path / "small.png"
    Image.new("RGB", (12, 12)).save(small)
    with pytest.raises(UserError, match=r"small\.png: .*at least 19 pixels"):
        run(small, small)
    (b / "two.bmp").rename(b / "other.bmp")
    with pytest.raises(UserError, match=r"no partner .*other\.bmp, two\.png"):
        run(a, b)
    (b / "other.bmp").rename(b / "two.bmp")
    (b / "two.bmp").write_bytes(b"BM nothing")
    with pytest.raises(UserError, match=r"two\.bmp cannot be read"):
        run(a, b)


def _photograph(folder: Path) -> Path:
    """A folder with one pristine image, for NIQE."""
    folder.mkdir()
    noise = np.random.default_rng(1).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "1.png")
    return folder


def stacks(folder: Path, name: str, *arrays: np.ndarray) -> list[Path]:
    """One TIFF file for each array, in folders a, b, and so on."""
    files = [folder / letter / name for letter, _ in zip("ab", arrays, strict=True)]
    for file, array in zip(files, arrays, strict=True):
        file.parent.mkdir(exist_ok=True)
        tifffile.imwrite(file, array, photometric="minisblack", planarconfig="contig")
    return files


def test_measurements_are_compared_in_all_channels_and_bits(tmp_path: Path) -> None:
    """16 bits, 4 channels and two pages: the error of one channel counts a quarter."""
    rng = np.random.default_rng(0)
    x = rng.integers(1000, 9000, (2, 24, 20, 4)).astype(np.uint16)
    y = x.copy()
    y[..., 1] += 16
    one, other = stacks(tmp_path, "scan.tif", x, y)
    record = json.loads(run(one, other, "--protocol", "rgb", "--json"))
    expected = -10 * np.log10((16 / 65535) ** 2 / 4)
    assert record["count"] == 2, "pages are images"
    assert record["psnr"]["mean"] == pytest.approx(expected)
    assert record["psnr"]["protocol"] == "all, uint16 from 0 to 65535"
    first = torch.from_numpy(np.stack([x[0], y[0]]) / 65535).permute(0, 3, 1, 2)
    similar = [float(ssim(first[:1, c : c + 1], first[1:, c : c + 1], "rgb")) for c in range(4)]
    assert record["images"][0]["ssim"] == pytest.approx(np.mean(similar))
    window = compare(one.parent, other.parent, protocol="y-crop2", window=(1000, 9000))
    assert window["psnr"]["mean"] == pytest.approx(-10 * np.log10((16 / 8000) ** 2 / 4), abs=0.05)
    assert window["psnr"]["protocol"] == "all-crop2, uint16 from 1000 to 9000"
    with pytest.raises(UserError, match="has 4 channels, and niqe takes 1 or 3"):
        compare(one, other, niqe=_photograph(tmp_path / "sharp"))
    floats = stacks(tmp_path, "float.tif", x[0].astype(np.float32), y[0].astype(np.float32))
    with pytest.raises(UserError, match=r"name the values .* as in --window -1000,1000"):
        compare(*floats)
    with pytest.raises(UserError, match=r"expected the values that become black"):
        window_of("0-5")
    assert window_of("0,9000") == (0.0, 9000.0)
    assert compare(*floats, window=(0, 9000))["psnr"]["mean"] > 50
