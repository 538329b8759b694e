"""`check` describes a data set, good or bad, and never raises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import BAD, broken_set, picture
from PIL import Image

from ganvas.data import check

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
    Image.fromarray(picture(0)).save(folder / "copy.bmp")
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
