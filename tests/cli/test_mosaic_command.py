"""Mosaic restoration by the commands: pairs, a model of them, and the restored region."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toys import SMALL, toy_data
from typer.testing import CliRunner

from ganvas.apps.cli import app
from ganvas.core.errors import UserError
from ganvas.data import pairs
from ganvas.data.prepare import mosaic_pairs
from ganvas.evaluation.paired import compare
from ganvas.inference.masks import Masks, marked
from ganvas.inference.model import Model
from ganvas.inference.translate_files import Translated, translate_files
from ganvas.metrics.classifiers import Classifier
from ganvas.training.trainer import train

TOY = [s for s in SMALL["restore"] if not s.startswith(("data.", "batch"))]


def red(image: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Class 1 where the image is red."""
    heat = torch.nn.functional.adaptive_avg_pool2d((image[0, 0] - image[0, -2])[None], (6, 6))[
        0
    ].relu()
    return torch.stack([torch.zeros(()), 20 * heat.max() - 4]), heat


@pytest.fixture(autouse=True)
def _finds_red(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Classifier("finds-red", "abc", red, ["nothing", "red thing"])
    monkeypatch.setattr(mosaic_pairs, "classifier", lambda name, weights: found)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 images of different sizes with a red spot, one without, and one broken."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for i in range(24):
        h, w = int(rng.integers(40, 60)), int(rng.integers(40, 70))
        pixels = rng.integers(60, 120, (h, w, 3))
        y, x = int(rng.integers(0, h - 16)), int(rng.integers(0, w - 16))
        pixels[y : y + 16, x : x + 16] = rng.integers([200, 10, 10], [255, 60, 60], (16, 16, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(
            folder / ("more" if i % 2 else "") / f"{i:02d}.png"
        )
    Image.fromarray(rng.integers(60, 120, (50, 50, 3)).astype(np.uint8)).save(folder / "plain.png")
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff no more")
    return folder


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def opened(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image)


def asked(**more: Any) -> dict[str, Any]:
    return {"network": "finds-red", "wanted": "red thing", "blocks": (4, 6), **more}


def test_the_whole_pipeline(photos: Path, tmp_path: Path) -> None:
    made, runs = tmp_path / "pairs", tmp_path / "run"
    said = run(
        "data", "mosaic", photos, "--classifier", "finds-red", "--class", "red thing",
        "--out", made, "--block", 4, "--size", 32,
    )  # fmt: skip
    assert "24 pairs" in said
    assert "torn.jpg" in said
    assert "plain.png: finds-red does not find the class" in said
    for part in ("train", "test"):
        for file in (made / part / "A").rglob("*.png"):
            name = file.relative_to(made / part / "A")
            a, b, mask = (
                opened(file),
                opened(made / part / "B" / name),
                opened(made / part / "masks" / name) > 0,
            )
            assert a.shape == b.shape == (32, 32, 3)
            assert np.array_equal(a[~mask], b[~mask])
            assert (a[mask] != b[mask]).any()
            assert (b[..., 0] > 190)[mask].sum() >= 0.8 * (b[..., 0] > 190).sum(), (
                "the red spot is hidden"
            )
            assert Masks(None).of(file, name).mask[mask].mean() > 0.9, "and found again"
    assert pairs(made, size=32).info.count + pairs(made, size=32, part="test").info.count == 24

    model = train("restore", made, out=runs, size=32, batch=2, images=4, set=TOY)
    assert isinstance(model, Model)
    held_out, out = made / "test", tmp_path / "restored"
    said = run("translate", runs, held_out / "A", "--mask", held_out / "masks", "--out", out)
    restored = sorted(p for p in out.rglob("*.png"))
    assert f"{len(restored)} images" in said
    for file in restored:
        name = file.relative_to(out)
        a, mask = opened(held_out / "A" / name), opened(held_out / "masks" / name) > 0
        assert np.array_equal(opened(file)[~mask], a[~mask]), (
            "outside the mask every bit is the original's"
        )
        assert (opened(file)[mask] != a[mask]).any()
    record = compare(out, held_out / "B", protocol="rgb", mask=held_out / "masks")
    assert record["psnr"]["protocol"] == "rgb, masked"
    assert "ms-ssim" not in record
    found = tmp_path / "found"
    run("translate", runs, next((held_out / "A").rglob("*.png")), "--find-mask", "--out", found)
    assert len(list(found.iterdir())) == 1


def test_it_goes_on_where_it_stopped_and_overwrites_nothing(photos: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    first = mosaic_pairs.make(photos, whole, **asked())
    assert (first.made, first.kept, len(first.skipped)) == (24, 0, 2)
    mosaic_pairs.make(photos, out, **asked())
    files = {p.relative_to(out): p for p in out.rglob("*.png")}
    for name in list(files)[::5]:
        files[name].unlink()  # as if a call was killed before it wrote them
    kept = next(iter(p for p in files.values() if p.exists()))
    kept.write_bytes(b"mine")
    second = mosaic_pairs.make(photos, out, **asked())
    assert second.made > 0
    assert second.made + second.kept == 24
    assert kept.read_bytes() == b"mine"
    assert all(p == kept or p.read_bytes() == (whole / n).read_bytes() for n, p in files.items())
    assert {json.loads((out / "mosaic.json").read_text())["label"]} == {"red thing"}
    with pytest.raises(UserError, match=r"was made with blocks \[4, 6\] \(now \[8\]\)"):
        mosaic_pairs.make(photos, out, **asked(blocks=(8,)))
    with pytest.raises(UserError, match="not an empty folder"):
        mosaic_pairs.make(photos, photos.parent, **asked())
    with pytest.raises(UserError, match="would be taken for photographs"):
        mosaic_pairs.make(photos, photos / "pairs", **asked())


def test_redaction_hides_every_region(tmp_path: Path) -> None:
    """Of two objects, pairs for training hide the stronger one; a redaction hides both."""
    pixels = np.full((80, 160, 3), 90, np.uint8)
    pixels[30:50, 20:40], pixels[30:50, 120:140] = (230, 20, 20), (250, 20, 20)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "two.png")
    left, right = np.s_[36:44, 26:34], np.s_[36:44, 126:134]
    red = lambda file, part: (opened(file)[part][..., 0] > 200).mean()  # noqa: E731
    said = run(
        "data", "mosaic", tmp_path / "in", "--classifier", "finds-red", "--class", "red thing",
        "--out", tmp_path / "out", "--block", 40, "--redact",
    )  # fmt: skip
    assert "Check every image" in said
    assert red(tmp_path / "out" / "two.png", left) == red(tmp_path / "out" / "two.png", right) == 0
    mosaic_pairs.make(tmp_path / "in", tmp_path / "pairs", **asked(blocks=(40,), test=0))
    file = tmp_path / "pairs" / "train" / "A" / "two.png"
    assert (red(file, left), red(file, right)) == (1, 0)


def test_redaction_writes_only_redacted_images(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "redacted"
    with Image.open(photos / "00.png") as image:
        image.convert("RGBA").save(photos / "00.png")
        image.convert("RGB").save(photos / "tagged.jpg", exif=b"Exif\0\0secret")
    report = mosaic_pairs.make(photos, out, **asked(blocks=(8,), redact=True))
    assert report.made == len(list(out.rglob("*.png"))) == 25
    assert not {p.name for p in out.rglob("*") if p.is_dir()} - {"more"}
    for file in out.rglob("*.png"):
        name = file.relative_to(out)
        source = photos / name if (photos / name).exists() else photos / "tagged.jpg"
        assert opened(file).shape == opened(source).shape, "whole, at its own size, alpha kept"
        assert b"secret" not in file.read_bytes()
        assert b"finds-red found red thing" in file.read_bytes()


def test_settings_that_cannot_be(photos: Path, tmp_path: Path) -> None:
    for wrong, what in (
        ({"blocks": (1,)}, "2 pixels or more"),
        ({"size": 4}, "no room"),
        ({"threshold": 0}, "above 0"),
        ({"least": 2}, "probability"),
        ({"test": 1}, "less than 1"),
        ({"wanted": "red thin"}, "Near: red thing"),
    ):
        with pytest.raises(UserError, match=what):
            mosaic_pairs.make(photos, tmp_path / "out", **asked(**wrong))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="folder or a zip"):
        mosaic_pairs.make("digits", tmp_path / "out", **asked())
    with Image.open(photos / "00.png") as image:
        image.save(photos / "00.bmp")
    with pytest.raises(UserError, match="would both become"):
        mosaic_pairs.make(photos, tmp_path / "out", **asked())
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="no images"):
        mosaic_pairs.make(tmp_path / "none", tmp_path / "out", **asked())


def test_masks_that_do_not_fit(photos: Path, tmp_path: Path) -> None:
    picture = photos / "00.png"
    h, w, _ = opened(picture).shape
    mask = tmp_path / "mask.png"
    Image.new("L", (w, h)).save(mask)
    with pytest.raises(UserError, match="is empty"):
        Masks(mask).of(picture, "00.png")
    Image.new("L", (w + 1, h), 255).save(mask)
    with pytest.raises(UserError, match=f"is {w + 1}x{h} pixels and .* is {w}x{h}"):
        Masks(mask).of(picture, "00.png")
    (tmp_path / "masks").mkdir()
    with pytest.raises(UserError, match="no mask of the name 00"):
        Masks(tmp_path / "masks").of(picture, "00.png")
    with pytest.raises(UserError, match="there is no mask"):
        Masks(tmp_path / "nowhere")
    with pytest.raises(UserError, match="say where the mosaic is"):
        Masks(None).of(picture, "00.png")
    painted = Image.new(
        "RGBA", (2, 1), (255, 255, 255, 0)
    )  # white, and transparent: nothing was painted
    painted.putpixel((1, 0), (255, 255, 255, 255))
    assert marked(painted).tolist() == [[False, True]]


@pytest.mark.parametrize("mode", ["L", "RGBA", "RGB", "I;16"])
def test_restored_images_keep_their_mode(mode: str, photos: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (33, 37, {"RGB": 3, "RGBA": 4}.get(mode, 1)), np.uint8)
    if mode == "I;16":
        pixels = pixels.astype(np.uint16) * 211
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(tmp_path / "x.png")
    mask = np.zeros((33, 37), np.uint8)
    mask[5:20, 7:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    model = train(
        "restore",
        toy_data("restore", tmp_path / "data"),
        out=tmp_path / "run",
        size=16,
        batch=2,
        images=2,
        set=TOY,
    )
    assert model.info["recipe"] == "restore"
    report = translate_files(
        tmp_path / "run", [tmp_path / "x.png"], tmp_path / "out", masks=Masks(tmp_path / "mask.png")
    )
    assert report == Translated(made=1)
    out = opened(tmp_path / "out" / "x.png").reshape(pixels.shape)
    assert out.dtype == pixels.dtype
    assert np.array_equal(out[mask == 0], pixels[mask == 0])
    assert (out[mask > 0] != pixels[mask > 0]).mean() > 0.5
    if mode == "RGBA":
        assert np.array_equal(out[..., 3], pixels[..., 3])
