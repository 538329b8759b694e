"""Label maps: colors are labels, from files to planes and back to the user's mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import SMALL, toy_data, toy_images, toy_label_maps

from ganvas.core.errors import DataError, UserError
from ganvas.data import label_maps
from ganvas.data.label_maps import PALETTES, nearest_colors, parse_palette
from ganvas.inference.image_input import require_labels
from ganvas.inference.load import load as load_model
from ganvas.nets.label_map import label_planes
from ganvas.training.trainer import train

COLORS = (0x000000, 0x0000FF, 0xFF0000)


def folder(tmp_path: Path) -> Path:
    toy_images(tmp_path / "B", 12)
    toy_label_maps(tmp_path / "A", 12)
    return tmp_path


@pytest.mark.parametrize(("size", "load"), [(20, None), (14, None), (32, None), (16, 30)])
def test_resizing_makes_no_new_label(size: int, load: int | None, tmp_path: Path) -> None:
    feed = label_maps(folder(tmp_path), size=size, load=load)
    assert feed.info.palette == COLORS
    assert feed.info.shape.palette == COLORS
    assert feed.info.classes == ("#000000", "#0000ff", "#ff0000")
    x = ((feed.draw(0, 8, seed=0).x + 1) * 127.5).round().byte().movedim(1, -1).reshape(-1, 3)
    assert {tuple(c) for c in x.tolist()} <= {(0, 0, 0), (0, 0, 255), (255, 0, 0)}
    assert any("3 labels" in note and "#ff0000" in note for note in feed.info.notes)


def test_either_side_may_be_the_label_map(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "A").rename(tmp_path / "C")
    (tmp_path / "B").rename(tmp_path / "A")
    (tmp_path / "C").rename(tmp_path / "B")
    assert label_maps(tmp_path, size=20, direction="b2a").info.palette == COLORS
    with pytest.raises(DataError, match=r"different colors.*data\.palette"):
        label_maps(tmp_path, size=20)


def test_lossy_label_maps_need_a_palette(tmp_path: Path) -> None:
    folder(tmp_path)
    for file in list((tmp_path / "A").iterdir()):
        pixels = np.asarray(Image.open(file)).astype(int)
        noise = np.random.default_rng(0).integers(-20, 20, pixels.shape)
        Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(file)
    with pytest.raises(DataError, match="saved with loss"):
        label_maps(tmp_path, size=20)
    feed = label_maps(tmp_path, size=20, palette="#000000,#0000ff,#ff0000")
    assert feed.info.palette == COLORS


def test_a_palette_is_a_name_or_colors() -> None:
    assert parse_palette("facades") == PALETTES["facades"]
    assert parse_palette(["black", "#00f"]) == (0x000000, 0x0000FF)
    for wrong in ("facade", "#12", ["red"], ["red", "#ff0000"]):
        with pytest.raises(DataError, match="palette"):
            parse_palette(wrong)


def test_planes_are_the_nearest_colors() -> None:
    pixels = np.array([[[10, 0, 0], [250, 9, 0], [30, 30, 200]]], np.uint8)
    assert nearest_colors(pixels, COLORS).tolist() == [[[0, 0, 0], [255, 0, 0], [0, 0, 255]]]
    x = torch.from_numpy(pixels).movedim(-1, 0)[None].float() / 127.5 - 1
    assert label_planes(x, COLORS)[0, :, 0].argmax(0).tolist() == [0, 2, 1]


def test_a_photograph_is_no_label_map() -> None:
    require_labels(np.zeros((4, 4, 3), np.uint8), COLORS)
    with pytest.raises(DataError, match=r"none of the model's colors.*#0000ff"):
        require_labels(np.full((4, 4, 3), 128, np.uint8), COLORS)
    with pytest.raises(DataError, match="none"):
        require_labels(np.full((4, 4, 3), 32_896, np.uint16), COLORS)


def test_a_saved_model_knows_the_colors_of_its_labels(tmp_path: Path) -> None:
    out = tmp_path / "run"
    data = toy_data("spade_small", tmp_path / "data")
    trained = train(
        "spade_small", str(data), out=out, images=1, set=SMALL["spade_small"], device="cpu"
    )
    model = load_model(out)
    palette = model.runtime.description["shape"].get("palette")
    assert palette == list(COLORS)
    painted = Image.new("RGB", (32, 32), "#0000ff")
    images = [m.translate(painted, output="torch") for m in (trained, model)]
    torch.testing.assert_close(*images)
    with pytest.raises(UserError, match="none of the model's colors"):
        model.translate(Image.new("RGB", (32, 32), "#00ff00"))
