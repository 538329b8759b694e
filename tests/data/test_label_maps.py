"""Label maps: colors are labels, from files to planes and back to the user's mistakes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toys import SMALL, toy_data, toy_images, toy_label_maps

from ganvas.core.errors import DataError, UserError
from ganvas.data import check, label_maps
from ganvas.data.label_maps import PALETTES, color_name, nearest_colors, parse_palette
from ganvas.data.prepare import instance_shades
from ganvas.engine.records import shape_record
from ganvas.engine.restore import _open_data
from ganvas.inference.image_input import decoded, require_labels
from ganvas.inference.load import load as load_model
from ganvas.inference.translator import Translator
from ganvas.media.label_ids import colors_of, id_of
from ganvas.media.samples import nearest
from ganvas.nets.label_map import input_planes, instance_edges, label_planes
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


def test_the_check_of_pairs_shows_labels(tmp_path: Path) -> None:
    """Whichever side they are; photographs have too many colors."""
    folder(tmp_path)
    (note,) = (n for n in check(tmp_path).notes if "labels" in n)
    assert note.startswith("if the images of A are label maps: 3 labels")
    (tmp_path / "A").rename(tmp_path / "C")
    (tmp_path / "B").rename(tmp_path / "A")
    (tmp_path / "C").rename(tmp_path / "B")
    (note,) = (n for n in check(tmp_path).notes if "labels" in n)
    assert note.startswith("if the images of B are label maps, with --set data.direction=b2a: 3")


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
    assert {name: len(set(colors)) for name, colors in PALETTES.items()} == {
        "facades": 12,
        "cityscapes": 29,
        "voc": 22,
    }
    # Pascal VOC: aeroplane, bottle, potted plant
    assert [PALETTES["voc"][i] for i in (1, 5, 16)] == [0x800000, 0x800080, 0x004000]
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


def test_edges_are_where_a_neighbor_differs() -> None:
    x = torch.zeros(1, 3, 4, 5)
    x[:, 1, 1:, 3:] = 1
    expected = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0]])
    assert torch.equal(instance_edges(x)[0, 0], expected.float())
    planes = input_planes(x * 2 - 1, (0x000000, 0x00FF00), True)
    assert planes.shape == (1, 3, 4, 5)
    assert torch.equal(planes[0, 2], expected.float())


def two_instances(folder: Path, labels: tuple[int, int], ids: tuple[int, int]) -> Path:
    """Gray label maps of background and one label, of which two instances touch."""
    for name, values in (("labels", labels), ("instances", ids)):
        (folder / name).mkdir(parents=True)
        pixels = np.full((16, 16), 0 if name == "instances" else labels[0], np.uint16)
        if name == "labels":
            pixels[4:12] = labels[1]
        else:
            pixels[4:12, :8], pixels[4:12, 8:] = values
        image = Image.fromarray(pixels if name == "instances" else pixels.astype(np.uint8))
        image.save(folder / name / "1.png")
    return folder


@pytest.mark.parametrize("labels", [(0, 255), (7, 8)])
def test_shades_carry_the_instances(labels: tuple[int, int], tmp_path: Path) -> None:
    """From files to the networks: one label, and an edge between its two instances."""
    where = two_instances(tmp_path, labels, (26_000, 26_001))
    made = instance_shades.make(where / "labels", where / "instances", tmp_path / "set" / "A")
    assert made.maps == 1
    toy_images(tmp_path / "set" / "B", 1, side=16)
    (tmp_path / "set" / "B" / "000.png").rename(tmp_path / "set" / "B" / "1.png")
    feed = label_maps(tmp_path / "set", size=16, palette=made.palette, instances=True, flip=False)
    assert feed.info.classes == made.palette
    assert "50.0%" in feed.info.notes[-1]
    planes = input_planes(feed.draw(0, 1, seed=0).x, feed.info.palette, True)[0]
    assert planes[1].sum() == 8 * 16
    assert planes[2, 4:12, 7:9].all()
    assert planes[2, 6:10].sum() == 2 * 4
    snapped = label_maps(tmp_path / "set", size=16, palette=made.palette, flip=False)
    assert (
        input_planes(snapped.draw(0, 1, seed=0).x, feed.info.palette, True)[0, 2, 6:10].sum() == 0
    )


def test_shades_keep_subfolders(tmp_path: Path) -> None:
    for city in ("aachen", "bochum"):
        two_instances(tmp_path / city, (0, 255), (1, 2))
        for kind in ("labels", "instances"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / city / kind).rename(tmp_path / kind / city)
    (tmp_path / "A").mkdir()
    made = instance_shades.make(tmp_path / "labels", tmp_path / "instances", tmp_path / "A")
    names = sorted(p.relative_to(tmp_path).as_posix() for p in (tmp_path / "A").rglob("*.png"))
    assert (made.maps, names) == (2, ["A/aachen/1.png", "A/bochum/1.png"])


def test_shades_need_the_names_of_the_colors_and_partners(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be named: --set data\.palette"):
        label_maps(folder(tmp_path / "set"), size=16, instances=True)
    where = two_instances(tmp_path, (0, 255), (1, 2))
    with pytest.raises(DataError, match="already exists"):
        instance_shades.make(where / "labels", where / "instances", where / "labels")
    Image.new("L", (16, 15)).save(where / "instances" / "1.png")
    with pytest.raises(DataError, match="16x16 pixels of labels and 16x15 of instances"):
        instance_shades.make(where / "labels", where / "instances", tmp_path / "A")
    assert not (tmp_path / "A").exists(), "nothing is left of a failure"
    (where / "instances" / "1.png").rename(where / "instances" / "2.png")
    with pytest.raises(DataError, match="2 of the maps have no partner"):
        instance_shades.make(where / "labels", where / "instances", tmp_path / "A")


def test_many_labels_get_colors_of_which_shades_can_be_told() -> None:
    colors = instance_shades._recolored(list(range(256)))
    rgb = torch.tensor([[c >> 16, c >> 8 & 255, c & 255] for c in colors]).float()
    assert (torch.cdist(rgb, rgb) + 1e3 * torch.eye(256)).min() >= 32
    far_apart = [0x000000, 0x00FF00, 0xFF0000]
    assert instance_shades._recolored(far_apart) == far_apart


def numbered(tmp_path: Path, kind: str) -> tuple[Path, list[int]]:
    """Label maps of numbers, and these: of 16 bits, or indices of which two are red."""
    toy_images(tmp_path / "B", 2, side=16)
    (tmp_path / "A").mkdir()
    ids = [7, 300, 25_000, 25_001, 27_000] if kind == "16 bits" else [0, 1, 2]
    pixels = np.array(ids, np.uint16)[np.arange(256).reshape(16, 16) % len(ids)]
    for i in range(2):
        image = Image.fromarray(pixels if kind == "16 bits" else pixels.astype(np.uint8))
        if kind != "16 bits":
            image.putpalette([0, 0, 0, 255, 0, 0, 255, 0, 0])
        image.save(tmp_path / "A" / f"{i:03d}.png")
    return tmp_path, ids


@pytest.mark.parametrize("kind", ["16 bits", "palette"])
def test_numbers_are_labels(kind: str, tmp_path: Path) -> None:
    """Exactly as stored, in training and in use; of old models as before."""
    where, ids = numbered(tmp_path, kind)
    feed = label_maps(where, size=16, flip=False)
    assert feed.info.classes == tuple(map(str, ids))
    assert feed.info.shape.ids
    assert len(feed.info.palette) == len(ids)
    planes = label_planes(feed.draw(0, 1, seed=0).x, feed.info.palette)[0]
    expected = torch.arange(256).view(16, 16) % len(ids)
    assert torch.equal(planes.argmax(0), expected)
    palette = [color_name(color) for color in feed.info.palette]
    again = label_maps(where, size=16, flip=False, palette=palette, ids=True)
    assert torch.equal(again.draw(0, 1, seed=0).x, feed.draw(0, 1, seed=0).x)

    shape: Any = {"palette": list(feed.info.palette), "ids": True}
    runtime: Any = SimpleNamespace(
        description={"shape": shape}, channels=3, method=SimpleNamespace(input_channels=None)
    )
    file = where / "A" / "000.png"
    with Image.open(file) as opened:
        for source in (file, opened):
            pixels = Translator(runtime)._input(decoded(source))
            x = torch.from_numpy(pixels).movedim(-1, 0)[None].float() / 127.5 - 1
            assert torch.equal(label_planes(x, feed.info.palette)[0].argmax(0), expected)
    half = [[pixels[2 * y + 1, 2 * x + 1].tolist() for x in range(8)] for y in range(8)]
    assert nearest(pixels, (8, 8)).tolist() == half
    other = Image.fromarray(np.full((16, 16), 5, np.uint8))
    with pytest.raises(DataError, match=rf"none of the model's numbers, which are {ids[0]}, "):
        Translator(runtime)._input(decoded(other))
    older = label_maps(where, size=16, flip=False, ids=False)  # as runs without the mark
    assert older.info.classes[0].startswith("#")
    assert not older.info.shape.ids
    assert len(older.info.palette) < len(ids)
    run: Any = SimpleNamespace(data=partial(label_maps, where, size=16, flip=False))
    for known in (feed, older):  # what run.json says, decides
        data = {"fingerprint": known.info.fingerprint}
        record: Any = {"shape": shape_record(known.info.shape), "data": data}
        resumed = _open_data(run, record, tmp_path, False)
        assert resumed.info.shape == known.info.shape


def test_every_number_has_a_color_of_its_own() -> None:
    ids = np.arange(1 << 16).reshape(256, 256)
    r, g, b = np.moveaxis(colors_of(ids).astype(int), -1, 0)
    codes = r << 16 | g << 8 | b
    assert len(np.unique(codes)) == 1 << 16
    assert [id_of(int(codes.flat[i])) for i in (0, 7, 300, 65_535)] == [0, 7, 300, 65_535]
    assert (codes.flat[15], codes.flat[20]) == (0xC08080, 0x004080)  # PASCAL VOC's


def test_palettes_that_colors_tell_apart_stay_colors(tmp_path: Path) -> None:
    """With unused double entries, and if an index is another color in each file."""
    toy_images(tmp_path / "B", 2, side=16)
    (tmp_path / "A").mkdir()
    double, other = [0, 0, 0, 255, 0, 0, 0, 0, 0], [255, 0, 0, 0, 0, 0, 255, 0, 0]
    for palettes, used in (((double, double), 2), ((double, other), 3)):
        for i, palette in enumerate(palettes):
            image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16) % used)
            image.putpalette(palette)
            image.save(tmp_path / "A" / f"{i:03d}.png")
        assert label_maps(tmp_path, size=16).info.classes == ("#000000", "#ff0000")


def test_a_saved_model_knows_the_colors_of_its_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    data = toy_data("spade_small", tmp_path / "data")
    trained = train(
        "spade_small", str(data), out=out, images=1, set=SMALL["spade_small"], device="cpu"
    )
    assert "data: 3 labels, with their share of the pixels: #000000" in capsys.readouterr().err
    assert "3 labels, with" in (out / "report.html").read_text()
    model = load_model(out)
    palette = model.runtime.description["shape"].get("palette")
    assert palette == list(COLORS)
    painted = Image.new("RGB", (32, 32), "#0000ff")
    images = [m.translate(painted, output="torch") for m in (trained, model)]
    torch.testing.assert_close(*images)
    with pytest.raises(UserError, match="none of the model's colors"):
        model.translate(Image.new("RGB", (32, 32), "#00ff00"))
