"""Every usual layout is recognized; missing and ambiguous parts are reported."""

from __future__ import annotations

import gzip
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, features
from sample_images import noise_image

from ganvas import data
from ganvas.core.errors import UserError
from ganvas.data import downloads
from ganvas.data.pictures import Files
from ganvas.data.tiles import Tiles
from ganvas.data.trees import Folder

Make = Callable[..., Path]


def same(batch, pixels: np.ndarray) -> bool:
    """Whether images in [-1, 1] are these pixels [N, H, W, C]."""
    return bool((((batch.permute(0, 2, 3, 1) + 1) * 127.5).round().numpy() == pixels).all())


# ---------------------------------------------------------------- one set


def test_a_folder_of_images(make: Make):
    feed = data.images(make("1.png", "deep/er/2.png", "3.png"))
    assert feed.info.shape.size == (16, 20)
    assert feed.info.classes == ()
    (batch,) = feed.batches(8)
    assert same(batch.x, np.stack([noise_image(0), noise_image(2), noise_image(1)])), (
        "in the order of the names"
    )
    assert "y" not in batch


def test_class_folders_become_labels(make: Make):
    feed = data.images(make("dog/1.png", "cat/1.png", "cat/sub/2.png", "eel/1.png"))
    assert feed.info.classes == ("cat", "dog", "eel")
    (batch,) = feed.batches(8)
    assert batch.y.tolist() == [0, 0, 1, 2]
    unlabelled = data.images(make(), labels=False)
    assert unlabelled.info.classes == ()
    assert "y" not in next(unlabelled.batches(8))


def test_a_folder_of_unlabeled_images_is_no_class(make: Make):
    """Beside two class folders; beside one it is a class, or one of two domains."""
    names = ["cat/1.png", "dog/1.png", "Unlabeled/1.png", "Unlabeled/2.png"]
    folder = make(*names)
    feed = data.images(folder)
    assert feed.info.classes == ("cat", "dog")
    assert "2 images without a label, in unlabeled/" in feed.info.notes
    (batch,) = feed.batches(8)
    assert batch.y.tolist() == [-1, -1, 0, 1]
    assert feed.labeled == 0.5
    assert data.images(folder, labeled=0.5).labeled == 0.5, "as many as there are"
    feed._labels = np.full(4, -1)
    with pytest.raises(UserError, match=r"labeled=0\.5 hides labels"):
        feed.keep_labels(0.5, 0)
    report = data.check(folder)
    assert report.classes == {"cat": 1, "dog": 1}
    assert "train s3gan_small" in report.fits[0], "and not cyclegan, which needs two folders"


def test_one_class_beside_unlabeled_images(make: Make):
    folder = make("cat/1.png", "unlabeled/1.png")
    assert data.images(folder).info.classes == ("cat", "unlabeled")
    assert data.domains(folder, size=8).info.counts == {"a": 1, "b": 1}


def test_letters_are_classes(make: Make):
    """26 folders, of which two are named as domains, are 26 classes."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    folder = make(*[f"{c}/{i}.png" for c in letters for i in range(2)])
    info = data.images(folder).info
    assert (info.count, info.classes) == (52, tuple(letters))
    assert any("named as two domains (A, B) and others beside them" in n for n in info.notes)
    report = data.check(folder)
    assert (report.count, len(report.classes), report.sides) == (52, 26, {})
    two = data.domains(folder, size=8).info
    assert two.counts == {"a": 2, "b": 2}
    assert any("only A, B are used, not 2 images in C/" in n for n in two.notes)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["a/1.png", "A/2.png", "b/3.png", "B/4.png"], ("A", "B", "a", "b")),
        (["train/A/1.png", "train/B/2.png", "train/C/3.png", "test/A/4.png"], ("A", "B", "C")),
        (["trainA/1.png", "trainB/2.png", "old/3.png"], ("old", "trainA", "trainB")),
        (["set/a/1.png", "set/b/2.png", "set/c/3.png"], ("a", "b", "c")),
        (["train/A/1.png", "train/B/2.png", "train/masks/3.png"], ("A", "B")),
        (["trainA/1.png", "trainB/2.png", "testA/3.png"], ("A", "B")),
    ],
)
def test_two_domains_and_classes_are_distinguished(
    make: Make, names: list[str], classes: tuple[str, ...]
):
    info = data.images(make(*names)).info
    assert info.classes == classes
    used = info.count + sum("test/" in n for n in names)
    assert used == len(names) or any("are used, not 1 image in" in n for n in info.notes), (
        "nothing is left out without a note"
    )


def test_loose_images_beside_two_domains(make: Make):
    folder = make("A/1.png", "B/1.png", "2.png")
    assert data.images(folder).info.count == 3
    paired = data.pairs(folder, size=8).info
    assert paired.count == 1
    assert "only A, B are used, not 1 image outside of folders" in paired.notes


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 96), st.integers(1, 96))
@example(395, 197, 64, 64)
@example(116, 107, 64, 64)
@example(107, 116, 32, 64)
def test_images_of_any_size_fit_any_target(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, high: int, wide: int
):
    folder = tmp_path_factory.mktemp("fit")
    Image.fromarray(np.full((height, width), 200, np.uint8)).save(folder / "1.png")
    feed = data.images(folder, size=(high, wide))
    assert feed.raw()["x"].shape == (1, high, wide, 1)
    assert (feed.raw()["x"] == 200).all()


@pytest.mark.parametrize("name", ["cifar10.tar.xz", "a.tgz", "b.7z"])
def test_packed_archives_are_refused_with_advice(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match="is a packed archive: unpack it"):
        data.images(tmp_path / name)


@pytest.mark.parametrize("kind", [".jfif", ".avif", ".jp2"])
def test_kinds_that_pillow_opens_are_read(tmp_path: Path, kind: str):
    if not {".avif": features.check("avif"), ".jp2": features.check("jpg_2000")}.get(kind, True):
        pytest.skip(f"this Pillow cannot write {kind}")
    Image.fromarray(noise_image(0, 32, 32)).save(tmp_path / f"1{kind}")
    assert data.images(tmp_path).info.count == 1


def test_crops_lie_anywhere(tmp_path: Path):
    """Every place of a crop lies in a tile, and most in exactly one."""
    Image.fromarray(noise_image(0, 91, 76)).save(tmp_path / "1.png")
    tree = Folder(tmp_path)
    tiles = Tiles.overlapping(Files(tree, tree.entries), (16, 16), (21, 21))
    assert tiles.size == (32, 32)
    count = np.zeros((76 - 15, 91 - 15), int)
    for _, top, left in tiles.places.tolist():
        count[top : top + 17, left : left + 17] += 1
    assert count.min() == 1
    assert count.max() <= 4
    assert (count == 1).mean() > 0.6


def test_one_folder_alone_is_no_class(make: Make):
    assert data.images(make("photos/1.png", "photos/2.png")).info.classes == ()


def test_loose_images_beside_folders(make: Make):
    info = data.images(make("1.png", "a/2.png", "c/3.png")).info
    assert info.classes == ()
    assert "1 image lies beside the folders" in info.notes[0]


def test_parts_are_not_classes(make: Make):
    folder = make("train/cat/1.png", "train/dog/2.png", "test/dog/3.png", "test/dog/4.png")
    train, test = data.images(folder), data.images(folder, part="test")
    assert (train.info.count, test.info.count) == (2, 2)
    assert train.info.classes == test.info.classes == ("cat", "dog"), (
        "a part without cats counts the same classes"
    )
    assert next(test.batches(8)).y.tolist() == [1, 1]


def test_a_missing_part_is_noted(make: Make):
    folder = make("1.png", "2.png")
    with pytest.raises(UserError, match="part is 'validation'; expected 'train' or 'test'"):
        data.images(folder, part="validation")  # pyright: ignore[reportArgumentType]
    info = data.images(folder, part="test").info
    assert info.count == 2
    assert "no test part" in info.notes[0]


def test_different_sizes_need_the_size_option(make: Make):
    make("1.png")
    folder = make("2.png", width=32, height=40)
    with pytest.raises(UserError, match=r"2 different sizes \(20x16, 32x40\).*--size"):
        data.images(folder)
    assert data.images(folder, size=(12, 8)).info.shape.size == (12, 8)


def test_channels_follow_the_majority(make: Make):
    gray = make("1.png", channels=1, root="gray")
    assert data.images(gray).info.channels == 1
    make("1.png", "2.png", channels=4, root="mixed")
    mixed = make("3.png", root="mixed")
    assert data.images(mixed).info.channels == 4
    make("4.png", "5.png", root="mixed")
    assert data.images(mixed).info.channels == 3
    assert data.images(mixed, channels=1).info.channels == 1
    with pytest.raises(UserError, match="got 2 channels"):
        data.images(mixed, channels=2)


def test_small_images_are_enlarged_and_counted(make: Make):
    folder = make("1.png", "2.png")
    assert "2 images smaller than 32x32, enlarged" in data.images(folder, size=32).info.notes
    with pytest.raises(UserError, match="2 images smaller than 32x32"):
        data.images(folder, size=32, strict=True)


def test_digits():
    feed = data.images("digits", size=32)
    assert feed.info.shape == data.images("digits", size=32).info.shape
    assert (feed.info.count, feed.info.channels, feed.info.classes) == (
        1797,
        1,
        tuple("0123456789"),
    )
    x = data.images("digits").fixed(200).x
    assert x.shape == (200, 1, 8, 8)
    assert (x.min(), x.max()) == (-1, 1)


# ---------------------------------------------------------------- zip


def zipped(path: Path, folder: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as z:
        for f in sorted(folder.rglob("*.*")):
            z.write(f, prefix + str(f.relative_to(folder)))
    return path


def test_zip_is_read_in_place(make: Make, tmp_path: Path):
    folder = make("cat/1.png", "dog/2.png", "train/3.png")
    path = zipped(tmp_path / "photos.zip", folder, "photos-main/")
    before = sorted(tmp_path.iterdir())
    feed = data.images(path)
    assert feed.info.classes == ("cat", "dog", "train")
    assert same(next(feed.batches(8)).x, np.stack([noise_image(i) for i in range(3)]))
    assert set(tmp_path.iterdir()) - set(before) == {tmp_path / "cache"}, "nothing is unpacked"


@pytest.mark.parametrize(
    "name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "..\\evil.png", "C:\\evil.png"]
)
def test_zip_with_names_outside_is_refused(tmp_path: Path, name: str):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as z:
        z.writestr("good.png", b"")
        z.writestr(name, b"")
    with pytest.raises(UserError, match="points outside of the archive"):
        data.images(tmp_path / "evil.zip", size=8)


def test_damaged_zip(make: Make, tmp_path: Path):
    path = zipped(tmp_path / "set.zip", make("1.png", "2.png"))
    whole = path.read_bytes()
    hurt = bytearray(whole)
    hurt[200] ^= 255  # inside the first member
    path.write_bytes(hurt)
    assert [s.split(":")[0] for s in data.images(path, size=8).info.skipped] == ["1.png"]
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="no readable zip"):
        data.images(path)


# ---------------------------------------------------------------- arrays


def write_idx(path: Path, a: np.ndarray, cut: int = 0) -> None:
    body = b"\0\0\x08" + bytes([a.ndim]) + struct.pack(f">{a.ndim}I", *a.shape) + a.tobytes()
    body = body[: len(body) - cut]
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)


@pytest.mark.parametrize("ending", [".gz", ""])
def test_idx(tmp_path: Path, ending: str):
    train, test = (
        noise_image(0, 5, 4, 7).transpose(2, 0, 1).copy(),
        noise_image(1, 5, 4, 3).transpose(2, 0, 1).copy(),
    )
    for name, a in (("train", train), ("t10k", test)):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte{ending}", a)
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte{ending}", np.arange(len(a), dtype=np.uint8))
    feed = data.images(tmp_path)
    assert same(next(feed.batches(8)).x, train[..., None])
    assert next(feed.batches(8)).y.tolist() == list(range(7))
    assert data.images(tmp_path, part="test").info.count == 3
    assert data.images(tmp_path / f"train-images-idx3-ubyte{ending}").info.count == 7
    write_idx(tmp_path / f"train-images-idx3-ubyte{ending}", train, cut=2)
    with pytest.raises(UserError, match=r"bytes(, but| than) its header announces"):
        data.images(tmp_path)


@pytest.mark.parametrize(
    "keys", [("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels")]
)
@pytest.mark.parametrize("kind", ["NHW", "NHWC", "NCHW", "float"])
def test_npz(tmp_path: Path, keys: tuple[str, str], kind: str):
    a = np.stack([noise_image(i, 6, 5, 1 if kind == "NHW" else 3) for i in range(4)])
    given = (
        a.astype(np.float32) / 255
        if kind == "float"
        else a.transpose(0, 3, 1, 2)
        if kind == "NCHW"
        else a
    )
    np.savez(tmp_path / "set.npz", **{keys[0]: given, keys[1]: np.array([[3], [1], [3], [9]])})
    feed = data.images(tmp_path / "set.npz")
    assert feed.info.classes == ("1", "3", "9")
    batch = next(feed.batches(8))
    assert same(batch.x, a[..., None] if kind == "NHW" else a)
    assert batch.y.tolist() == [1, 0, 1, 2]


def test_npz_that_is_none(tmp_path: Path):
    np.savez(tmp_path / "a.npz", weights=np.zeros(3))
    with pytest.raises(UserError, match="has the arrays weights; images were expected as"):
        data.images(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=np.zeros((3, 4, 4), np.uint8), labels=np.zeros(2))
    with pytest.raises(UserError, match="3 images and 2 labels"):
        data.images(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", images=np.zeros((3, 4), np.uint8))
    with pytest.raises(UserError, match=r"shape \[3, 4\]"):
        data.images(tmp_path / "c.npz")
    (tmp_path / "d.npz").write_text("x")
    with pytest.raises(UserError, match=r"no readable \.npz"):
        data.images(tmp_path / "d.npz")


# ---------------------------------------------------------------- two sets

SIDES = {
    "A B": ("A/{}.png", "B/{}.png"),
    "trainA trainB": ("trainA/{}.png", "trainB/{}.png"),
    "train_A train_B": ("train_A/{}.png", "train_B/{}.png"),
    "A/train B/train": ("A/train/{}.png", "B/train/{}.png"),
    "train/A train/B": ("train/A/{}.png", "train/B/{}.png"),
    "in a folder": ("horse2zebra/trainA/{}.png", "horse2zebra/trainB/{}.png"),
    "small letters": ("a/{}.png", "b/{}.png"),
}


@pytest.mark.parametrize("layout", SIDES)
def test_layouts_of_two(make: Make, layout: str):
    a, b = SIDES[layout]
    folder = make(*[a.format(i) for i in "12"], *[b.format(i) for i in "12"])
    feed = data.pairs(folder, size=(16, 20), flip=False)
    (batch,) = feed.batches(8)
    assert same(batch.a, np.stack([noise_image(0), noise_image(1)]))
    assert same(batch.b, np.stack([noise_image(2), noise_image(3)]))
    unpaired = data.domains(folder, size=(16, 20))
    assert unpaired.info.counts == {"a": 2, "b": 2}
    assert same(next(unpaired.batches(8)).b, np.stack([noise_image(2), noise_image(3)]))


@pytest.mark.parametrize(
    "layout", ["trainA trainB", "train_A train_B", "A/train B/train", "train/A train/B"]
)
def test_test_parts_of_two(make: Make, layout: str):
    names = [s.format(i) for s in SIDES[layout] for i in "12"]
    folder = make(*names, *[n.replace("train", "test") for n in names[::2]])
    assert data.pairs(folder, size=16).info.count == 2
    assert data.pairs(folder, size=16, part="test").info.count == 1
    assert data.domains(folder, size=16, part="test").info.counts == {"a": 1, "b": 1}


def test_two_folders_of_any_names_are_domains(make: Make):
    feed = data.domains(make("rose/1.png", "tulip/2.png", "tulip/3.png"), size=16)
    assert feed.info.counts == {"a": 1, "b": 2}
    assert feed.info.count == 2
    with pytest.raises(UserError, match="two domains were expected"):
        data.domains(make("daisy/4.png", root="one"), size=16)


def test_classes_are_no_pairs(make: Make):
    """Images of two classes may have the same name by chance."""
    folder = make("rose/0.png", "tulip/0.png")
    rose, tulip = folder / "rose", folder / "tulip"
    with pytest.raises(UserError, match="may be two classes") as e:
        data.pairs(folder, size=16)
    assert f"{rose},{tulip}" in str(e.value)
    paired = data.pairs([rose, tulip], size=16).info
    assert (paired.count, "matched by file name only, which are" in paired.notes[0]) == (1, True)
    report = data.check([rose, tulip])
    assert (report.pairs, [n for n in report.notes if "name only" in n]) == (1, [*paired.notes])
    assert "cyclegan" in report.fits[0]
    make("rose/0.png", "tulip/0.png", width=40)
    with pytest.raises(UserError, match="may be two classes"):
        data.pairs(folder, size=16)


def test_named_pairs_come_first(make: Make):
    """The names of two paths tell more than numbers do."""
    low, high = make("oak.png", root="low"), make("oak.png", root="high")
    assert "pix2pix" in data.check([low, high]).fits[0]


def test_two_paths(make: Make):
    a, b = make("1.png", "2.png", root="left"), make("1.png", "2.png", "3.png", root="right")
    for source in (f"{a},{b}", [a, b], (str(a), str(b))):
        assert data.domains(source, size=16).info.counts == {"a": 2, "b": 3}
    with pytest.raises(UserError, match="got 3 paths"):
        data.domains([a, b, a], size=16)
    with pytest.raises(UserError, match=r"1 image has no partner .*right.*: 3\.png"):
        data.pairs([a, b], size=16)


def test_halves_of_one_image(make: Make):
    folder = make("train/1.png", "train/2.png", "val/3.png", width=40)
    feed = data.pairs(folder, size=(16, 20), flip=False)
    (batch,) = feed.batches(8)
    assert same(batch.a, np.stack([noise_image(i, 40)[:, :20] for i in range(2)]))
    assert same(batch.b, np.stack([noise_image(i, 40)[:, 20:] for i in range(2)]))
    assert data.pairs(folder, size=(16, 20), part="test").info.count == 1
    assert any("left half is A" in note for note in feed.info.notes)


def test_images_of_other_shapes_are_no_halves(make: Make):
    make("1.png", width=40)
    make("2.png", width=21)
    folder = make("3.png", width=16)  # a photograph, not two
    skipped = data.pairs(folder, size=16).info.skipped
    assert "2.png: is 21x16" in skipped[0]
    assert "3.png: is 16x16" in skipped[1]
    assert "this is one image, not a pair" in skipped[1]


def test_direction(make: Make):
    folder = make("A/1.png", "B/1.png")
    there = next(data.pairs(folder, size=16).batches(1))
    back = next(data.pairs(folder, size=16, direction="b2a").batches(1))
    assert (there.x == there.a).all()
    assert (there.y == there.b).all()
    assert (back.a == there.b).all()
    assert (back.b == there.a).all()
    assert (back.x == back.a).all()
    assert (back.y == back.b).all()


def test_pairs_are_matched_past_a_and_b_endings(make: Make):
    feed = data.pairs(
        make("trainA/2_A.png", "trainA/10_A.png", "trainB/10_B.png", "trainB/2_B.png"),
        size=(16, 20),
    )
    (batch,) = feed.batches(8)
    assert same(batch.a, np.stack([noise_image(1), noise_image(0)]))
    assert same(batch.b, np.stack([noise_image(2), noise_image(3)]))


def test_unmatched_pairs_are_named(make: Make):
    folder = make("A/1.png", "A/lonely.png", "B/1.jpg", "B/other.png")
    with pytest.raises(UserError, match=r"2 images have .*: A/lonely\.png, B/other\.png\."):
        data.pairs(folder, size=16)
    make(*[f"A/more{i:02}.png" for i in range(12)])
    with pytest.raises(UserError, match=r"14 images have .*more08\.png and 4 more"):
        data.pairs(folder, size=16)
    twice = make("A/1.png", "A/1.jpg", "B/1.png", root="twice")
    with pytest.raises(UserError, match=r"A/1\.jpg and A/1\.png would both be the pair '1'"):
        data.pairs(twice, size=16)


def test_pairs_of_two_shapes_are_named(make: Make):
    folder = make("A/1.png", "A/2.png", "B/1.png")
    Image.fromarray(noise_image(9, 40, 32)).save(
        folder / "B/2.png"
    )  # larger, but of the same shape
    assert data.pairs(folder, size=16).info.count == 2
    Image.fromarray(noise_image(9, 30, 32)).save(folder / "B/2.png")
    with pytest.raises(UserError, match=r"A/2\.png \(20x16\) and B/2\.png \(30x32\)"):
        data.pairs(folder, size=16)


def test_a_broken_half_takes_its_partner_along(make: Make):
    folder = make("A/1.png", "A/2.png", "A/3.png", "B/1.png", "B/2.png", "B/3.png")
    (folder / "B/2.png").write_text("x")
    feed = data.pairs(folder, size=(16, 20), flip=False)
    assert feed.info.skipped == ("B/2.png: not an image (its contents are no known image format)",)
    (batch,) = feed.batches(8)
    assert same(batch.a, np.stack([noise_image(0), noise_image(2)]))
    assert same(batch.b, np.stack([noise_image(3), noise_image(5)]))


def test_load_smaller_than_size(make: Make):
    with pytest.raises(
        UserError, match="image smaller than the crop: load is 64x64 and size 128x128"
    ):
        data.domains(make("A/1.png", "B/1.png"), size=128, load=64)


# ---------------------------------------------------------------- mistakes


def test_missing_path(make: Make, tmp_path: Path):
    make("1.png", root="flowers")
    with pytest.raises(UserError, match=r"there is no .*flwers.*Did you mean .*flowers"):
        data.images(tmp_path / "flwers")
    with pytest.raises(UserError, match="Did you mean 'digits'"):
        data.images("digit")


def test_empty_folder(tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "readme.md").write_text("x")
    with pytest.raises(UserError, match=r"has no images in it \(1 other file: \.md: 1\)"):
        data.images(tmp_path / "set")


def test_a_file_that_is_no_set(tmp_path: Path):
    (tmp_path / "movie.mp4").write_text("x")
    with pytest.raises(UserError, match="one file of a kind that is no data set"):
        data.images(tmp_path / "movie.mp4")


# ---------------------------------------------------------------- official sets


def test_no_network(monkeypatch: pytest.MonkeyPatch, cache_folder: Path):
    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(UserError) as e:
        data.images("horse2zebra", size=64)
    assert "horse2zebra.zip" in str(e.value)
    assert str(cache_folder / "downloads" / "horse2zebra") in str(e.value)
    assert not list((cache_folder / "downloads" / "horse2zebra").iterdir())


def test_download_is_checked_and_made_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path
):
    import hashlib

    body = zipped(
        tmp_path / "f.zip", make("facades/trainA/1_A.jpg", "facades/trainB/1_B.jpg")
    ).read_bytes()
    requests = []

    def answer(request, timeout):
        requests.append(request.full_url)
        return (tmp_path / "f.zip").open("rb")

    monkeypatch.setattr("urllib.request.urlopen", answer)
    wrong = downloads._cyclegan("facades", len(body), "0" * 64)
    monkeypatch.setitem(downloads.SETS, "facades", wrong)
    with pytest.raises(UserError, match="SHA-256"):
        data.pairs("facades", size=16)
    assert not list((cache_folder / "downloads" / "facades").iterdir()), "a wrong file is not kept"
    monkeypatch.setitem(
        downloads.SETS,
        "facades",
        downloads._cyclegan("facades", len(body), hashlib.sha256(body).hexdigest()),
    )
    requests.clear()
    assert data.pairs("facades", size=16).info.count == 1
    assert data.pairs("facades", size=16).info.source == "facades"
    assert len(requests) == 1


@pytest.mark.parametrize("complete", [True, False])
def test_a_set_that_a_package_installed_is_not_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: bool
):
    official = downloads.SETS["fashion-mnist"]
    there = tmp_path / "installed"
    there.mkdir()
    for file in official.files[: None if complete else 3]:
        count = 3 if "train" in file.name else 2
        labels = np.arange(count, dtype=np.uint8)
        array = labels if "labels" in file.name else np.full((count, 28, 28), 7, np.uint8)
        head = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
        (there / file.name).write_bytes(gzip.compress(head + array.tobytes()))
    monkeypatch.setitem(
        downloads.SETS, "fashion-mnist", replace(official, installed=("the-package", there))
    )

    def no_network(request, timeout):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    if complete:
        info = data.images("fashion-mnist").info
        assert (info.count, info.source, info.classes) == (3, "fashion-mnist", official.classes)
        assert data.images("fashion-mnist", part="test").info.count == 2
    else:
        with pytest.raises(UserError, match="or install Debian's package the-package"):
            data.images("fashion-mnist")


# ---------------------------------------------------------------- real data


def test_real_mnist(shared: Path):
    feed = data.images(shared / "data/mnist", part="test")
    assert (feed.info.shape.channels, feed.info.shape.size, feed.info.count) == (
        1,
        (28, 28),
        10_000,
    )
    assert next(feed.batches(10)).y.tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_real_facades(shared: Path):
    feed = data.pairs(shared / "data/facades", size=64, part="test")
    assert feed.info.count == 80
    batch = feed.fixed(8)
    colors = [len(np.unique(((t + 1) * 15).round().numpy())) for t in (batch.a, batch.b)]
    assert colors[0] > 0
    assert batch.b.std() > batch.a.std(), "label maps on the right are of full colors"


def test_real_npz(shared: Path):
    feed = data.images(shared / "data/pneumoniamnist.npz")
    assert (feed.info.count, feed.info.classes) == (3882, ("0", "1"))
    assert data.images(shared / "data/pneumoniamnist.npz", part="test").info.count == 624


def test_real_nuclei(shared: Path):
    feed = data.images(shared / "data/nuclei/images", size=32)
    assert feed.info.count == 334
    assert feed.info.skipped == ()


def test_an_empty_name_is_not_this_folder() -> None:
    with pytest.raises(UserError, match="name of the data set is empty"):
        data.images("")


def test_small_images_are_refused_with_the_size_that_they_need(make: Make):
    folder = make("1.png", "2.png")
    (folder / "3.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"smaller than 128x128 .* crops of 96x96 .* smaller size"):
        data.super_resolution(folder, size=96)


@pytest.mark.parametrize(("got", "meant"), [("nope", None), ("digit", "digits"), ("rosse", "rose")])
def test_only_near_names_are_suggested(
    got: str, meant: str | None, make: Make, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(make("rose/1.png"))
    with pytest.raises(UserError) as e:
        data.images(got)
    assert ("Did you mean" in str(e.value)) == (meant is not None)
    assert meant is None or f"'{meant}'?" in str(e.value)
