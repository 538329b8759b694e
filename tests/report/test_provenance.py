from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ganvas.core.errors import UserError
from ganvas.media import encode, grid, provenance

FACTS = {"model": 'runs/ünï "x" <b> & \n end', "seed": 7}


def picture(mode: str = "RGB") -> Image.Image:
    x = torch.rand(
        {"L": 1, "RGB": 3, "RGBA": 4}[mode], 12, 9, generator=torch.Generator().manual_seed(0)
    )
    return grid.to_pil(x * 2 - 1)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".PNG"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_every_format_carries_the_mark(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / "new" / f"picture{suffix}"
    if mode == "RGBA" and suffix in (".jpg", ".jpeg"):
        with pytest.raises(UserError, match="no transparency"):
            encode.save(picture(mode), path)
        return
    encode.save(picture(mode), path, **FACTS, nothing=None)
    said = provenance.read(path)
    assert said["generated"]
    assert (said["software"] or "").startswith("ganvas ")
    assert said["facts"] == FACTS
    data = path.read_bytes()
    assert b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia" in data
    assert provenance.STATEMENT.encode() in data
    with Image.open(path) as image:
        assert image.size == (9, 12)
        if suffix.lower() in (".png", ".tif", ".tiff"):
            assert np.array_equal(np.asarray(image), np.asarray(picture(mode)))
        if suffix != ".PNG" and suffix not in (".png", ".tif", ".tiff"):
            assert image.getexif()[270] == provenance.STATEMENT
            assert image.getexif()[305].startswith("ganvas ")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_rows_that_come_one_after_the_other(tmp_path: Path, mode: str) -> None:
    whole = picture(mode)
    pixels = np.asarray(whole).reshape(12, 9, -1)
    path = tmp_path / "new" / "picture.png"
    bands = (pixels[a:b] for a, b in ((0, 1), (1, 8), (8, 12)))
    encode.save_rows(encode.Rows(bands, *whole.size, pixels.shape[2]), path, **FACTS, nothing=None)
    with Image.open(path) as image:
        assert image.mode == mode
        assert np.array_equal(np.asarray(image), np.asarray(whole))
    assert provenance.read(path)["facts"] == FACTS
    assert provenance.read(path)["generated"]

    def broken() -> Iterator[np.ndarray]:
        yield pixels[:5]
        raise UserError("the rest could not be made")

    with pytest.raises(UserError, match="the rest"):
        encode.save_rows(encode.Rows(broken(), *whole.size, pixels.shape[2]), tmp_path / "half.png")
    assert [p.name for p in tmp_path.iterdir()] == ["new"], "whole, or not at all"


def test_png_chunks_are_where_other_programs_look(tmp_path: Path) -> None:
    data = encode.encode(picture(), ".png", model="dcgan")
    chunks, at = [], 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(
            kind + body
        )
        chunks.append((kind, body))
        at += 12 + length
    texts = dict(body.split(b"\0", 1) for kind, body in chunks if kind == b"tEXt")
    assert texts[b"Software"].startswith(b"ganvas ")
    assert texts[b"Comment"] == texts[b"Description"] == provenance.STATEMENT.encode()
    assert texts[b"model"] == b"dcgan"
    assert any(kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0") for kind, body in chunks)


def test_marks_of_other_programs(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    picture().save(plain)
    assert provenance.read(plain) == {"generated": False, "software": None, "facts": {}}
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><i:DigitalSourceType>'
        "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
        "</i:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    other = tmp_path / "other.webp"
    picture().save(other, xmp=packet.encode())
    assert provenance.read(other)["generated"]
    for broken in (packet[:-20], packet.replace("</rdf:RDF>", ""), "<!DOCTYPE x>" + packet, "\x00"):
        picture().save(other, xmp=broken.encode())
        assert not provenance.read(other)["generated"]
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(UserError, match="cannot be read as an image"):
        provenance.read(tmp_path / "text.png")
    with pytest.raises(UserError, match="cannot be read"):
        provenance.read(tmp_path / "missing.png")


def test_images_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Did you mean '\.png'"):
        encode.save(picture(), tmp_path / "a.pgn")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="could not be written"):
        encode.save(picture(), tmp_path / "file" / "a.png")


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode.save(picture(), tmp_path / "a.png", seed=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        encode.save(picture(), path, seed=2)
    assert provenance.read(path)["facts"] == {"seed": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_pixels() -> None:
    levels = torch.arange(256)
    x = (levels / 127.5 - 1).view(1, 16, 16)
    assert np.array_equal(grid.to_uint8(x).ravel(), levels.numpy())
    assert np.array_equal(grid.to_uint8(x.bfloat16()[:, :1, :1]).ravel(), [0])
    assert grid.to_uint8(torch.tensor([-3.0, 3.0]).view(1, 1, 2)).ravel().tolist() == [0, 255]
    assert grid.to_uint8(torch.zeros(5, 3, 4, 6)).shape == (5, 4, 6, 3)
    assert [grid.to_pil(torch.zeros(c, 4, 6)).mode for c in (1, 3, 4)] == ["L", "RGB", "RGBA"]
    beside = grid.to_pil(torch.stack([torch.zeros(4, 6), torch.ones(4, 6)]))
    assert (beside.mode, beside.size) == ("L", (12, 4))
    assert np.asarray(beside)[0].tolist() == [128] * 6 + [255] * 6
    with pytest.raises(UserError, match=r"an image is \[channels"):
        grid.to_pil(torch.zeros(1, 3, 4, 4))
    with pytest.raises(UserError, match="NaN"):
        grid.to_pil(torch.full((1, 2, 2), torch.nan))


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 30),
    c=st.sampled_from([1, 3, 4]),
    h=st.integers(1, 12),
    w=st.integers(1, 12),
    columns=st.none() | st.integers(1, 40),
    pad=st.integers(0, 3),
)
def test_grid_holds_every_image(
    n: int, c: int, h: int, w: int, columns: int | None, pad: int
) -> None:
    x = (torch.arange(n).view(n, 1, 1, 1) / n).expand(n, c, h, w)
    sheet = grid.grid(x, columns, pad)
    across = (sheet.width + pad) // (w + pad)
    assert sheet.width == across * (w + pad) - pad
    assert sheet.height == -(-n // across) * (h + pad) - pad
    pixels = np.asarray(sheet).reshape(sheet.height, sheet.width, -1)
    for i in range(n):
        top, left = (i // across) * (h + pad), (i % across) * (w + pad)
        assert (pixels[top : top + h, left : left + w] == grid.to_uint8(x[i])).all()


def test_grids_are_nearly_square() -> None:
    assert grid.grid(torch.zeros(64, 1, 32, 32)).size == (8 * 34 - 2, 8 * 34 - 2)
    wide = grid.grid(torch.zeros(32, 3, 32, 64)).size
    assert 0.6 < wide[0] / wide[1] < 1.6
    with pytest.raises(UserError, match="at least one"):
        grid.grid(torch.zeros(0, 3, 8, 8))


def test_side_by_side() -> None:
    gray, small = torch.full((5, 1, 8, 8), -1.0), torch.ones(5, 3, 4, 4)
    sheet = grid.side_by_side(gray, small, across=1)
    assert (sheet.mode, sheet.size) == ("RGB", (18, 5 * 10 - 2))
    pixels = np.asarray(sheet)
    assert (pixels[:8, :8] == 0).all()
    assert (pixels[:8, 10:] == 255).all()
    titled = grid.side_by_side(gray, small, captions=("input", "output"), across=1)
    assert titled.height > sheet.height
    assert np.array_equal(np.asarray(titled)[-sheet.height :], pixels)
    assert (np.asarray(titled)[: -sheet.height] < 200).any()  # there is writing
    with pytest.raises(UserError, match=r"\[5, 4\]"):
        grid.side_by_side(gray, small[:4])
    with pytest.raises(UserError, match="captions"):
        grid.side_by_side(gray, small, captions=("one",))


def test_a_png_takes_pillows_compress_level() -> None:
    image = Image.new("RGB", (64, 64), "red")
    plain, packed = (encode.encode(image, ".png", settings={"compress_level": n}) for n in (0, 9))
    assert len(plain) > len(packed) + 10_000
    for data in (plain, packed):
        with Image.open(io.BytesIO(data)) as opened:
            assert opened.tobytes() == image.tobytes()
