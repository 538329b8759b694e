"""Super-resolution by the commands, from a folder of photographs to the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from processes import Command
from toys import SMALL, toy_images

from ganvas.apps.cli.common import usage_of
from ganvas.core.errors import UserError
from ganvas.data import check
from ganvas.evaluation.evaluate import measure
from ganvas.evaluation.paired import compare
from ganvas.inference.model import Model
from ganvas.inference.translate_files import Translated, translate_files
from ganvas.training.trainer import train

TOY = [s for s in SMALL["srresnet"] if not s.startswith(("data.", "batch"))]


def trained(photos: Path, out: Path, *more: str) -> Model:
    return train("srresnet", photos, out=out, size=16, batch=2, images=4, set=[*TOY, *more])


def opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.copy()


def test_from_photographs_to_figures(tmp_path: Path) -> None:
    photos, out = toy_images(tmp_path / "photos", 8, side=32), tmp_path / "run"
    model = trained(photos, out)
    sheet = opened(out / "samples" / "000000004.png")
    assert sheet.height >= 3 * 16, "input, result, and what it should be"
    assert "Rows: input, output, target." in (out / "report.html").read_text(encoding="utf-8")
    assert "4 times as large" in (out / "model" / "README.md").read_text(encoding="utf-8")
    assert "translate" in usage_of(out, {**model.info, "scale": 4})
    assert "small/" in usage_of(out, {**model.info, "scale": 4}), "small images are enlarged"
    record: dict[str, Any] = measure(out, photos, n=8)["to b"]
    assert record["values"]["frechet"] >= 0
    assert any("ganvas pixels" in note for note in record["notes"])

    inputs = tmp_path / "small"
    inputs.mkdir()
    large = opened(photos / "000.png")
    large.resize((8, 8)).save(inputs / "000.png")
    large.resize((7, 5)).convert("L").save(inputs / "gray.png")
    large.resize((1, 3)).convert("RGBA").save(inputs / "alpha.png")
    assert translate_files(out, [inputs], tmp_path / "made") == Translated(made=3)
    made = {f.stem: opened(f) for f in (tmp_path / "made").iterdir()}
    sizes = {name: (image.mode, image.size) for name, image in made.items()}
    assert sizes == {"000": ("RGB", (32, 32)), "gray": ("L", (28, 20)), "alpha": ("RGBA", (4, 12))}
    assert compare(tmp_path / "made" / "000.png", photos / "000.png")["psnr"]["mean"] > 0


def test_mistakes_are_reported_before_training(tmp_path: Path) -> None:
    photos = toy_images(tmp_path / "photos", 2, side=32)
    with pytest.raises(UserError, match=r"enlarges 4 times.* reduced 2 times: .*G\.scale=2"):
        trained(photos, tmp_path / "run", "data.scale=2")
    with pytest.raises(UserError, match=r"smaller than 21x21 .*crops of 16x16"):
        trained(toy_images(tmp_path / "tiny", 2, side=20), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_photograph_is_enough(tmp_path: Path) -> None:
    """No samples, so no quality curve; the model is written."""
    trained(toy_images(tmp_path / "photos", 1, side=21), tmp_path / "run")
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert not (tmp_path / "run" / "measures.jsonl").exists()


def test_large_photographs_are_advised_to_enlarge(tmp_path: Path) -> None:
    assert any("srresnet" in c for c in check(toy_images(tmp_path / "large", 2, side=128)).fits)
    assert not any("srresnet" in c for c in check(toy_images(tmp_path / "small", 2, side=64)).fits)


def test_a_sheet_of_a_chain_of_ones_own(tmp_path: Path, command: Command) -> None:
    """Of the file that trains with it, at a scale of 1."""
    photos, file = toy_images(tmp_path / "photos", 6, side=48), tmp_path / "chain.toml"
    file.write_text('batch = 4\n[[data.degrade]]\nstep = "jpeg"\nquality = [1, 1]\n')
    args = ("data", "degrade", photos, "--size", 32, "--scale", 1)
    assert command(*args, "--out", tmp_path / "own.png", "--config", file).status == 0
    assert command(*args, "--out", tmp_path / "real.png").status == 0
    assert (tmp_path / "own.png").read_bytes() != (tmp_path / "real.png").read_bytes()
    file.write_text("batch = 4\n")
    ended = command(*args, "--out", tmp_path / "none.png", "--config", file)
    assert (ended.status, "has no data.degrade" in ended.err) == (1, True)
