"""`check` describes a data set, good or bad, and never raises."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from sample_images import BAD, broken_set, noise_image

from ganvas import recipes
from ganvas.data import check, images
from ganvas.training.with_data import with_data

Make = Callable[..., Path]


def test_classes_sizes_and_modes(make: Make):
    make("train/cat/1.png", "train/cat/2.png", "train/dog/3.png")
    folder = make("train/dog/gray.png", "test/dog/5.png", width=64, height=48, channels=1)
    report = check(folder)
    assert report.ok
    assert report.parts == {"train": 4, "test": 1}
    assert report.classes == {"cat": 2, "dog": 3}
    assert report.width == (20, 20, 64)
    assert report.height == (16, 16, 48)
    assert report.modes == {"RGB": 3, "L": 2}
    assert report.channels == 3
    assert any("--size" in n for n in report.notes)
    assert any("ganvas train dcgan" in f for f in report.fits)
    few, many = (
        next(i for i, f in enumerate(report.fits) if f" {name} " in f)
        for name in ("fastgan_small", "dcgan")
    )
    assert few < many, "for few images"
    assert json.loads(json.dumps(report.as_dict()))["count"] == 5
    assert any("cat: 2" in line for line in report.lines())


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_every_broken_file_is_named(tmp_path: Path):
    report = check(broken_set(tmp_path / "set"))
    assert [b.split(":")[0] for b in report.broken] == BAD
    assert report.count == 8
    assert report.ok
    assert all(any(name in line for line in report.lines()) for name in BAD)


def test_duplicates_by_pixels(make: Make):
    folder = make("1.png", "2.png")
    Image.fromarray(noise_image(0)).save(folder / "copy.bmp")
    assert check(folder).duplicates == [["1.png", "copy.bmp"]]


def test_pairs(make: Make):
    report = check(make("trainA/1.png", "trainA/2.png", "trainB/1.png", "trainB/3.png"))
    assert report.sides == {"a": 2, "b": 2}
    assert report.pairs == 1
    assert report.unmatched == ["trainA/2.png", "trainB/3.png"]
    assert any("cyclegan" in f for f in report.fits)


def test_unpaired_domains_are_not_unmatched_pairs(make: Make):
    report = check(make("trainA/horse1.png", "trainB/zebra1.png"))
    assert (report.pairs, report.unmatched) == (0, [])


def test_halves_are_suspected(make: Make):
    assert any("A|B" in n for n in check(make("1.png", "2.png", width=32)).notes)


def test_bad_sets_are_described(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("x")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_text("x")
    for source, why in (
        (tmp_path / "none", "there is no"),
        (tmp_path / "empty", "no images"),
        (tmp_path / "text.zip", "no readable zip"),
        (tmp_path / "bad", "none of the images can be read"),
        ([tmp_path, tmp_path, tmp_path], "got 3 paths"),
    ):
        report = check(source)
        assert not report.ok
        assert why in (report.problem or "")
        assert any("problem" in line for line in report.lines())


def test_digits():
    report = check("digits")
    assert (report.count, len(report.classes), report.channels) == (1797, 10, 1)


def test_other_files_are_counted_by_kind(make: Make):
    folder = make("cat/1.png", "dog/2.png")
    Image.fromarray(noise_image(0)).save(folder / "cat" / "3.jfif", "JPEG")
    for name in ("a.txt", "b.txt", "c.mp4", "README"):
        (folder / "cat" / name).write_text("x")
    (folder / "eel").mkdir()
    report = check(folder)
    assert report.count == 3, "a .jfif is a JPEG"
    assert report.others == {".txt": 2, ".mp4": 1, "no ending": 1}
    assert any(
        line.startswith("other      4 (.txt: 2, .mp4: 1, no ending: 1)") for line in report.lines()
    )
    assert any("1 folder holds no images: eel" in n for n in report.notes)


def test_only_some_broken_names_are_printed(make: Make):
    folder = make("1.png")
    for i in range(300):
        (folder / f"bad{i:03}.png").write_text("x")
    report = check(folder)
    assert len(report.broken) == 300
    assert sum("bad" in line for line in report.lines()) == 10
    assert any("and 290 more" in line for line in report.lines())
    info = images(folder).info
    assert (len(info.skipped), info.skipped_count) == (20, 300)
    assert "300 images cannot be used" in info.notes[0]


def test_every_part_is_counted(make: Make):
    folder = make("train/1.png", "val/2.png", "val/3.png", "test/4.png")
    assert check(folder).parts == {"train": 1, "val": 2, "test": 1}


LAYOUTS = {
    "pairs": (["A/1.png", "A/2.png", "B/1.png", "B/2.png"], 64),
    "large pairs": (["A/1.png", "B/1.png"], 300),
    "one pair short": (["A/1.png", "A/2.png", "B/1.png"], 64),
    "two classes": (["cat/1.png", "dog/2.png"], 40),
    "photographs": (["1.png", "2.png"], 200),
    "it's a $(set)/": (["1.png", "2.png"], 48),
}


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_suggested_commands_run_as_printed(make: Make, layout: str, halves: bool):
    """The data, settings and networks of every line fit, up to the first step."""
    names, side = LAYOUTS[layout]
    folder = make(*names, width=2 * side if halves else side, height=side, root=layout)
    report = check(folder)
    assert report.fits
    if layout in ("pairs", "large pairs") or (halves and layout == "photographs"):
        assert report.fits[0].startswith("ganvas train pix2pix")
    for line in report.fits:
        words = shlex.split(line)
        assert words[:2] == ["ganvas", "train"]
        assert words[3] == str(folder)
        options = dict(zip(words[4::2], words[5::2], strict=True))
        assert options["--out"] == "runs/first"
        sets = [v for k, v in zip(words[4::2], words[5::2], strict=True) if k == "--set"]
        run = with_data(recipes.find(words[2])(1), folder, int(options["--size"]), sets)
        feed = run.data()
        with torch.device("meta"):
            method = run.method(feed.info.shape)
        assert feed.info.height % getattr(method, "multiple", 1) == 0
        assert method.upscale == feed.scale


def test_plural_forms(make: Make):
    text = "\n".join(check(make("1.png", channels=1)).lines())
    assert "1 channel\n" in text
    assert "1 is one image" in text
    assert "1 images" not in text
    assert "1 channels" not in text
    assert "--strict" not in text
