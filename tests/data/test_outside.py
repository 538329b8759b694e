"""Untrusted files: false headers, endless files and odd names.

Each is reported in one line, and the other files of its set are read."""

from __future__ import annotations

import gzip
import http.client
import inspect
import json
import os
import shlex
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sample_images import noise_image

from ganvas import data
from ganvas.core import guards
from ganvas.core.errors import UserError
from ganvas.data import downloads
from ganvas.data.idx import read_idx
from ganvas.data.open_source import open_source

Make = Callable[..., Path]


def one_line(text: str) -> bool:
    return text.isprintable() and text.encode("utf-8").decode("utf-8") == text


def refused(call: Callable[[], Any]) -> tuple[str, Any]:
    """(message of a `UserError` or "", result of `call`)."""
    try:
        return "", call()
    except UserError as e:
        return str(e), None


# ---------------------------------------------------------------- pipes, devices and links


def test_pipes_and_links_to_themselves_are_named(make: Make):
    folder = make("1.png", "2.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "up").symlink_to(folder)
    info = data.images(folder, size=8).info
    assert info.count == 2
    assert [s.split(":")[0] for s in info.skipped] == ["pipe.png", "self.png", "zero.png"]
    assert "pipe.png: is a pipe, not a file" in info.skipped
    assert "zero.png: is a device, not a file" in info.skipped


@pytest.mark.parametrize("name", ["x.png", "x.zip", "x.npz", "x-images-idx3-ubyte", "x.tar", "x"])
def test_a_pipe_as_a_data_set_is_refused(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="is a pipe, not a file"):
        data.images(tmp_path / name)
    with pytest.raises(UserError, match="is a device"):
        data.images("/dev/zero")


def test_a_pipe_among_idx_files(tmp_path: Path):
    os.mkfifo(tmp_path / "train-images-idx3-ubyte")
    with pytest.raises(UserError, match="is a pipe"):
        data.images(tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "~nobody-of-this-name/x", "x" * 5000 + ",y"])
def test_names_that_cannot_be_are_one_line(name: str):
    with pytest.raises(UserError) as e:
        data.images(name)
    assert one_line(str(e.value))


def test_folders_deeper_than_the_stack(tmp_path: Path):
    """Folders are walked without recursion. Few enough for pytest to remove them."""
    Image.fromarray(noise_image(0)).save(tmp_path / "warm.png")
    data.images(tmp_path)  # imports and plugins of Pillow need some stack of their own
    deepest = tmp_path / "set" / "/".join("d" * 400)
    deepest.mkdir(parents=True)
    Image.fromarray(noise_image(0)).save(deepest / "1.png")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        assert data.images(tmp_path / "set").info.count == 1
    finally:
        sys.setrecursionlimit(limit)


# ---------------------------------------------------------------- names

ODD = [
    b"\xff\xfe\x80",
    b"\x1b]0;owned\x07",
    b"a\nerror: all is well\nb",
    "‮gnp".encode(),
    b"it's $(touch x) `y`",
    b"-x",
]


@pytest.mark.parametrize("odd", ODD)
def test_odd_names_are_usable_and_shown_on_one_line(make: Make, tmp_path: Path, odd: bytes):
    root = tmp_path / os.fsdecode(odd)
    for name in (
        "plain/1.png",
        f"{os.fsdecode(odd)}/2.png",
        f"{os.fsdecode(odd)}/3{os.fsdecode(odd)}.png",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise_image(len(name))).save(root / name)
    (root / "plain" / f"{os.fsdecode(odd)}.png").write_text("x")
    info = data.images(root).info
    assert (info.count, len(info.classes), info.skipped_count) == (3, 2, 1)
    for text in (info.source, *info.classes, *info.skipped, *info.notes):
        assert one_line(text)
    report = data.check(root)
    assert report.ok
    assert all(one_line(line) for line in report.lines())
    json.dumps(report.as_dict(), ensure_ascii=False).encode("utf-8")
    words = (
        shlex.split(report.fits[0])
        if b"\\" not in odd and odd.isascii() and odd.decode().isprintable()
        else []
    )
    assert not words or words[3] == str(root)
    assert (
        data.domains(root, size=8).info.counts == {"a": 2, "b": 1}
        or data.domains(root, size=8).info.count == 2
    )


def test_a_shell_reads_what_is_quoted():
    for odd in ODD:
        printed = subprocess.run(
            ["bash", "-c", f"printf %s {guards.shell_quoted(os.fsdecode(odd))}"],
            capture_output=True,
        )
        assert printed.stdout.removeprefix(b"./") == odd


# ---------------------------------------------------------------- arrays


@settings(max_examples=60, deadline=None)
@given(
    code=st.sampled_from([0, 8, 9, 10, 11, 12, 13, 14]),
    shape=st.one_of(
        st.just((8, 4, 4)),
        st.lists(st.sampled_from([0, 1, 4, 65536, 2**32 - 1]), max_size=6),
        st.just([1] * 200),
    ),
    body=st.binary(max_size=256),
    packed=st.booleans(),
    cut=st.integers(0, 40),
)
def test_idx_of_any_header(
    tmp_path_factory: pytest.TempPathFactory, code, shape, body, packed, cut
):
    path = tmp_path_factory.mktemp("idx") / "x-images-idx3-ubyte"
    raw = bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body
    raw = gzip.compress(raw) if packed else raw
    path.write_bytes(raw[: len(raw) - cut])
    message, read = refused(lambda: read_idx(path))
    assert one_line(message) if message else read.nbytes <= len(body)


def test_idx_that_unpacks_to_more_than_it_announces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(
        gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 1, 2, 2) + bytes(1 << 22))
    )
    with pytest.raises(UserError, match="more bytes than its header announces"):
        read_idx(path)
    path.write_bytes(
        gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 64, 64, 64) + bytes(1 << 18))
    )
    assert read_idx(path).shape == (64, 64, 64)
    monkeypatch.setattr(guards, "memory", lambda: 1 << 18)
    with pytest.raises(UserError, match="more than half of this machine's memory"):
        read_idx(path)


def npz(path: Path, header: dict | None = None, body: bytes = b"", **arrays: np.ndarray) -> Path:
    if header is None:
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
        return path
    raw = BytesIO()
    np.lib.format.write_array_header_1_0(raw, header)  # pyright: ignore[reportArgumentType]
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("images.npy", raw.getvalue() + body)
    return path


@pytest.mark.parametrize("kind", ["|u1", "<f8", "|O", "<U1000000", "V0"])
@pytest.mark.parametrize(
    "shape", [(10**9, 16, 16, 3), (2**62, 4), (-1, 3), (1 << 40,), (4, 0, 2, 3), ()]
)
def test_npz_whose_header_lies(tmp_path: Path, kind: str, shape: tuple[int, ...]):
    path = npz(
        tmp_path / "a.npz", {"descr": kind, "fortran_order": False, "shape": shape}, bytes(100)
    )
    with pytest.raises(UserError) as e:
        data.images(path)
    assert one_line(str(e.value))


@pytest.mark.parametrize(
    "labels", [np.array("x"), np.arange(8) * 1j, np.array([None] * 8), np.zeros(3), np.array(7)]
)
def test_npz_of_odd_labels(tmp_path: Path, labels: np.ndarray):
    path = npz(tmp_path / "a.npz", images=np.zeros((8, 4, 4), np.uint8), labels=labels)
    with pytest.raises(UserError, match="labels"):
        data.images(path)


def npy(a: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    raw = BytesIO()
    np.lib.format.write_array(raw, a, version=version)
    return raw.getvalue()


@pytest.mark.parametrize(
    ("name", "version", "tail", "method"),
    [
        ("images.npy", (2, 0), b"", zipfile.ZIP_STORED),
        ("images.npy", (3, 0), b"", zipfile.ZIP_BZIP2),
        ("images.npy", (1, 0), b"\0\0", zipfile.ZIP_DEFLATED),
        ("images", (1, 0), b"", zipfile.ZIP_LZMA),
    ],
)
def test_every_npz_that_numpy_reads(
    tmp_path: Path, name: str, version: tuple[int, int], tail: bytes, method: int
):
    images = np.stack([noise_image(i, 6, 5) for i in range(3)])
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as z:
        z.writestr(name, npy(images, version) + tail)
    assert np.load(tmp_path / "a.npz")["images"].shape == images.shape
    assert (data.images(tmp_path / "a.npz").raw()["x"] == images).all()


def test_dates_as_labels(tmp_path: Path):
    days = np.array(["2020-01-02", "2020-01-01"], "M8[D]")
    path = npz(tmp_path / "a.npz", images=np.zeros((2, 4, 4), np.uint8), labels=days)
    assert data.images(path).info.classes == ("2020-01-01", "2020-01-02")


def test_npz_damaged_inside(tmp_path: Path):
    np.savez_compressed(
        tmp_path / "a.npz", images=np.random.default_rng(0).integers(0, 256, (8, 16, 16), np.uint8)
    )
    whole = (tmp_path / "a.npz").read_bytes()
    for at in range(0, len(whole), 97):
        hurt = bytearray(whole)
        hurt[at] ^= 0x55
        (tmp_path / "a.npz").write_bytes(hurt)
        message, _ = refused(lambda: data.images(tmp_path / "a.npz"))
        assert one_line(message)


def test_other_arrays_of_an_npz_are_named(tmp_path: Path):
    path = npz(
        tmp_path / "a.npz",
        images=np.zeros((2, 4, 4), np.uint8),
        weights=np.zeros(3),
        boxes=np.zeros(3),
    )
    assert "2 arrays of a.npz not used: weights, boxes" in data.images(path).info.notes


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_mutated_zip_is_one_line(tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject):
    folder = tmp_path_factory.mktemp("zip")
    with zipfile.ZipFile(folder / "a.zip", "w") as z:
        for i in range(2):
            image = BytesIO()
            Image.fromarray(noise_image(i, 4, 4)).save(image, "PNG")
            z.writestr(f"é{i}.png", image.getvalue())
    raw = bytearray((folder / "a.zip").read_bytes())
    for _ in range(draw.draw(st.integers(1, 4))):
        raw[draw.draw(st.integers(0, len(raw) - 1))] = draw.draw(st.integers(0, 255))
    (folder / "a.zip").write_bytes(raw)
    for line in data.check(folder / "a.zip").lines():
        assert one_line(line)


# ---------------------------------------------------------------- dataset.json


def described(folder: Path, value: object) -> Path:
    (folder / "dataset.json").write_text(value if isinstance(value, str) else json.dumps(value))
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_labels_of_dataset_json(make: Make, tmp_path: Path, packed: bool):
    folder = make("00000/a.png", "00000/b.png", "00001/c.png", "00001/bare.png")
    labels = [["00000/a.png", 7], ["00000/b.png", 3], ["00001/c.png", 7], ["00001/gone.png", 3]]
    source = described(folder, {"labels": labels})
    if packed:
        source = tmp_path / "set.zip"
        with zipfile.ZipFile(source, "w") as z:
            for f in sorted(folder.rglob("*.*")):
                z.write(f, f.relative_to(folder))
    feed = data.images(source)
    assert feed.info.classes == ("3", "7")
    assert next(feed.batches(8)).y.tolist() == [1, 0, 1]
    assert "1 image without a label in dataset.json, left out: 00001/bare.png" in feed.info.notes
    assert "1 label in dataset.json without an image: 00001/gone.png" in feed.info.notes
    report = data.check(source)
    assert report.classes == {"3": 1, "7": 2}
    assert not report.others
    assert not any("cyclegan" in line for line in report.fits)
    assert data.images(source, labels=False).info.count == 4, "without labels no image is left out"


def test_dataset_json_without_labels(make: Make):
    folder = make("00000/a.png", "00001/b.png")
    plain = data.images(folder, labels=False).info.fingerprint
    assert data.images(described(folder, {"labels": None})).info.classes == ()
    assert "has no labels in it" in data.images(described(folder, {"name": "x"})).info.notes[0]
    vectors = described(folder, {"labels": [["00000/a.png", [0.0, 1.0]]]})
    assert "are vectors" in data.images(vectors).info.notes[0]
    assert data.images(folder, labels=False).info.fingerprint == plain, "runs without labels go on"


@pytest.mark.parametrize("text", ["[]", "3", '{"info": {}}', '{"name": "x", "images": []}'])
def test_class_folders_beside_another_tools_dataset_json(make: Make, text: str):
    folder = make("cat/a.png", "dog/b.png")
    (folder / "dataset.json").write_text(text)
    info = data.images(folder).info
    assert info.classes == ("cat", "dog")
    assert "has no labels in it" in info.notes[0]
    assert data.check(folder).classes == {"cat": 1, "dog": 1}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "\0", "\udcff", "[" * 100_000),
        *(
            '{"labels": 3}',
            '{"labels": {"a": 1}}',
            '{"labels": [["a.png"]]}',
            '{"labels": [[3, 1]]}',
        ),
        *(
            '{"labels": [["a.png", -1]]}',
            '{"labels": [["a.png", true]]}',
            '{"labels": [["a.png", 1e400]]}',
        ),
        *('{"labels": [["a.png", ' + "9" * 5000 + "]]}", '{"labels": [["b\\u001b.png", 1]]}'),
    ],
)
def test_a_malformed_dataset_json_is_one_line(make: Make, text: str):
    folder = make("a.png", "b.png")
    (folder / "dataset.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as e:
        data.images(folder)
    assert "dataset.json" in str(e.value)
    assert one_line(str(e.value))
    assert not data.check(folder).ok


# ---------------------------------------------------------------- more than 8 bits


def deep_set(folder: Path, most: int = 4095) -> Path:
    folder.mkdir()
    for i in range(3):
        a = np.linspace(0, most, 64).reshape(8, 8).astype(np.uint16)
        a[0, 1] += i  # which 8 bits would not tell from one another
        Image.fromarray(a).save(folder / f"{i}.png")
    return folder


def test_twelve_bits_are_reported_and_share_one_white(tmp_path: Path):
    folder = deep_set(tmp_path / "set")
    report = data.check(folder)
    assert report.brightest == 4095
    assert report.duplicates == []
    assert any("at most 4,095 of 65,535 and would be nearly black" in n for n in report.notes)
    assert all("--set data.white=4095" in f for f in report.fits)
    dark, light = data.images(folder), data.images(folder, white=4095)
    assert dark.raw()["x"].max() == 16
    assert (light.raw()["x"].min(), light.raw()["x"].max()) == (0, 255)
    assert dark.info.fingerprint != light.info.fingerprint
    np.savez(tmp_path / "a.npz", images=np.full((2, 4, 4), 4095, np.uint16))
    assert data.check(tmp_path / "a.npz").brightest == 4095
    assert data.images(tmp_path / "a.npz", white=4095).raw()["x"].min() == 255
    assert data.images(tmp_path / "a.npz", white=8190).raw()["x"].max() == 128, (
        "one scale, not each image's own"
    )
    with pytest.raises(UserError, match="got white=0"):
        data.images(folder, white=0)


def test_white_of_color_images(tmp_path: Path, make: Make):
    """Arrays of 16-bit colors are scaled; a note says that files are not."""
    np.savez(tmp_path / "a.npz", images=np.full((2, 4, 4, 3), 4095, np.uint16))
    scaled = data.images(tmp_path / "a.npz", white=4095)
    assert scaled.raw()["x"].min() == 255
    assert scaled.info.notes == ()
    files = data.images(make("1.png", "2.png"), white=4095)
    assert (files.raw()["x"][0] == noise_image(0)).all()
    assert any("white=4095 applies to gray images" in n for n in files.info.notes)


def test_sixteen_bits_stay_as_they_are(tmp_path: Path):
    folder = deep_set(tmp_path / "set", 65000)
    assert not any("would be" in n for n in data.check(folder).notes)
    assert (
        data.images(folder, white=65535).raw()["x"].tolist()
        == data.images(folder).raw()["x"].tolist()
    )


# ---------------------------------------------------------------- downloads


class Answer(BytesIO):
    def __init__(self, body: bytes, error: Exception | None = None, step: int = 1 << 16) -> None:
        super().__init__(body)
        self.error, self.step = error, step

    def read1(self, size: int | None = -1) -> bytes:
        part = self.read(min(size or self.step, self.step))
        if not part and self.error:
            raise self.error
        return part


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(bytes(3000)), "sends more than the file's 1000 bytes"),
        (Answer(bytes(10)), "sent 10 bytes of 1000"),
        (Answer(bytes(10), http.client.IncompleteRead(b"x")), "IncompleteRead"),
        (Answer(b"", ConnectionResetError(104, "Connection reset by peer")), "reset by peer"),
        (http.client.BadStatusLine("\x1b[31m"), "1b"),
        (http.client.LineTooLong("header line"), "header line"),
        (ValueError("unknown url type: gopher"), "gopher"),
        (Answer(bytes(1000), step=1), "within a minute"),
    ],
)
def test_downloads_that_go_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object, why: str
):
    def opened(request: object, timeout: float) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    seconds = iter(range(0, 1 << 20, 7))
    monkeypatch.setattr(downloads.time, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr("urllib.request.urlopen", opened)
    old = tmp_path / "f.zip.0123.tmp"
    old.write_bytes(b"left by a killed process")
    os.utime(old, (0, 0))
    file = downloads.File("f.zip", 1000, "0" * 64, ("http://x.invalid/f.zip",))
    with pytest.raises(UserError, match="cannot be downloaded") as e:
        downloads.fetch_file("set", file, tmp_path)
    assert why in str(e.value)
    assert one_line(str(e.value))
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the tree


def test_zip_members_of_impossible_size(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("a.png", b"x")
    _, tree = open_source(tmp_path / "a.zip")
    assert len(tree.entries) == 1  # pyright: ignore[reportFunctionMemberAccess]


def test_a_tiff_in_a_zip_is_decompressed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A TIFF header at the end points back, and zipfile rewinds to the beginning."""
    image = BytesIO()
    Image.fromarray(noise_image(0, 64, 64)).save(image, "TIFF", description="x" * 500)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a.tif", image.getvalue())
    monkeypatch.setattr(zipfile.ZipExtFile, "seek", lambda *_: pytest.fail("rewound"))
    feed = data.images(tmp_path / "a.zip")
    assert (feed.raw()["x"][0] == noise_image(0, 64, 64)).all()
    report = data.check(tmp_path / "a.zip")
    assert (report.count, report.broken) == (1, [])


def test_zip_members_that_unpack_to_more_than_a_gibibyte_are_named(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("a.png", b"x")
        z.getinfo("a.png").file_size = (1 << 30) + 1
    report = data.check(tmp_path / "a.zip")
    assert "possible bomb" in report.broken[0]
    with pytest.raises(UserError, match="possible bomb"):
        data.images(tmp_path / "a.zip")
