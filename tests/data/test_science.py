"""Measurements: TIFF stacks, one range of values for a data set, and hostile headers."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from ganvas.core.errors import DataError, UserError
from ganvas.data import check, derived, domains, images, pairs
from ganvas.media import tiff, tiff_writer
from ganvas.media.encode import Rows
from ganvas.media.provenance import Label
from ganvas.media.samples import Broken
from ganvas.media.values import Values

GRAY: dict[str, Any] = {"photometric": "minisblack"}
CONTIG: dict[str, Any] = {**GRAY, "planarconfig": "contig"}
SEVERAL: dict[str, Any] = {"photometric": "minisblack", "metadata": {"axes": "TZCYX"}}


def noise(*shape: int, high: int = 65536, kind: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape).astype(kind)


def written(data: np.ndarray, **how: Any) -> io.BytesIO:
    file = io.BytesIO()
    tifffile.imwrite(file, data, **how)
    file.seek(0)
    return file


FOUR, FIVE = noise(20, 30, 4), noise(2, 3, 4, 20, 30)
AS_IMAGES = FIVE.reshape(6, 4, 20, 30).transpose(0, 2, 3, 1)
FILES: dict[str, tuple[Callable[[], io.BytesIO], np.ndarray]] = {
    "gray": (lambda: written(FOUR[..., 0], **GRAY), FOUR[None, ..., :1]),
    "8 bits": (lambda: written(FOUR.astype("uint8"), **CONTIG), FOUR.astype("uint8")[None]),
    "12 bits, packed": (
        lambda: written(FOUR[..., 0] >> 4, bitspersample=12, **GRAY),
        (FOUR >> 4)[None, ..., :1],
    ),
    "floats, LZW": (
        lambda: written(FOUR.astype("float32"), compression="lzw", **CONTIG),
        FOUR.astype("float32")[None],
    ),
    "planes": (
        lambda: written(FOUR.transpose(2, 0, 1).copy(), planarconfig="separate", **GRAY),
        FOUR[None],
    ),
    "tiles, big-endian": (
        lambda: written(FOUR, byteorder=">", tile=(16, 16), compression="zlib", **CONTIG),
        FOUR[None],
    ),
    "BigTIFF": (lambda: written(FOUR, bigtiff=True, **CONTIG), FOUR[None]),
    "16 channels": (
        lambda: written(noise(9, 8, 16), **CONTIG),
        noise(9, 8, 16)[None],
    ),
    "pages": (
        lambda: written(FIVE[0, 0], metadata=None, **GRAY),
        FIVE[0, 0][..., None],
    ),
    "OME": (lambda: written(FIVE, ome=True, **SEVERAL), AS_IMAGES),
    "OME, channels outermost": (
        lambda: written(
            FIVE.transpose(2, 0, 1, 3, 4).copy(), ome=True, metadata={"axes": "CTZYX"}, **GRAY
        ),
        AS_IMAGES,
    ),
    "ImageJ": (lambda: written(FIVE, imagej=True, **SEVERAL), AS_IMAGES),
    "ImageJ, one header": (
        lambda: written(FIVE, imagej=True, truncate=True, **SEVERAL),
        AS_IMAGES,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_every_value_is_read_and_written(name: str) -> None:
    make, expected = FILES[name]
    stack = tiff.Stack(make(), 10**6)
    found = np.stack([stack.read(i) for i in range(stack.count)])
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    assert stack.bits == (12 if "12" in name else 8 * expected.itemsize)

    def image(i: int) -> Callable[[], Rows]:
        bands = iter([found[i][:7], found[i][7:]])
        return lambda: Rows(
            bands, stack.width, stack.height, stack.channels, 8 * stack.dtype.itemsize
        )

    copy = io.BytesIO()
    makers = [image(i) for i in range(stack.count)]
    tiff_writer.write(copy, makers, stack.dtype, found.nbytes, Label({}), stack)
    copy.seek(0)
    again = tiff.Stack(copy, 10**6)
    assert np.array_equal(np.stack([again.read(i) for i in range(again.count)]), expected)
    copy.seek(0)
    with tifffile.TiffFile(copy) as file:  # others read the same axes
        assert file.is_ome == name.startswith("OME")
        assert file.is_imagej == name.startswith("ImageJ")
        if file.is_ome or file.is_imagej:
            assert file.series[0].axes == "TZCYX"
            assert np.array_equal(file.asarray(), FIVE)
        page: Any = file.pages[0]
        assert b"trainedAlgorithmicMedia" in page.tags[700].value


def test_the_place_on_earth_and_the_size_of_a_pixel_follow_the_scale() -> None:
    """GeoTIFF 1.1, requirements 7.3 and 7.4: tie points and pixel scale."""
    tags = [
        (tiff.PIXEL_SCALE, 12, 3, (10.0, 20.0, 0.0), True),
        (tiff.TIE_POINTS, 12, 6, (3.0, 4.0, 0.0, 500.0, 600.0, 0.0), True),
        (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
        (42113, 2, 0, "-9999", True),
    ]
    stack = tiff.Stack(written(FOUR, extratags=tags, resolution=(300, 150), **CONTIG), 10**6)
    found = {tag.code: tag.value for tag in stack.tags(2)}
    assert found[tiff.PIXEL_SCALE] == (5.0, 10.0, 0.0)
    assert found[tiff.TIE_POINTS] == (6.0, 8.0, 0.0, 500.0, 600.0, 0.0)
    assert found[34735] == (1, 1, 0, 1, 1024, 0, 1, 1)
    assert found[42113] == b"-9999"
    assert stack.resolution(2) == {"resolution": ((600, 1), (300, 1)), "resolutionunit": 2}
    physical = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}
    ome = tiff.Stack(written(FIVE[0, 0], ome=True, metadata=physical, **GRAY), 10**6)
    text = ome.description(2, 4, np.dtype("uint16")) or ""
    assert 'SizeX="60"' in text
    assert 'PhysicalSizeX="0.25"' in text
    assert "µm" in text
    fewer = ome.description(1, 1, np.dtype("uint8")) or ""
    assert 'SizeC="1"' in fewer
    assert 'Type="uint8"' in fewer


@pytest.mark.parametrize(
    ("kind", "window"),
    [
        ("uint8", "type"),
        ("uint16", "type"),
        ("int16", "type"),
        ("uint16", (0, 4095)),
        ("int16", (-1024, 3071)),
        ("uint8", (3, 5)),
    ],
)
def test_no_integer_within_the_range_changes(kind: str, window: Any) -> None:
    values = Values.of(kind, window)
    every = np.arange(values.low, values.high + 1).astype(kind)
    unit = values.to_unit(every)
    assert unit[0] == -1
    assert unit[-1] == 1
    assert np.array_equal(values.from_unit(unit), every)
    stored = values.to_stored(every).astype(np.float32)
    half = np.iinfo(values.stored).max / 2
    assert np.array_equal(values.from_unit(stored / np.float32(half) - 1), every)


def test_one_range_for_a_data_set(tmp_path: Path) -> None:
    """Two images of one data set keep their ratio; none is stretched by itself."""
    for name, level in (("dark", 200), ("light", 2000)):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((16, 16), level, "uint16"), **GRAY)
    (dark, light) = next(iter(images(tmp_path, window=(0, 4000)).batches(2))).x[:, 0, 0, 0].tolist()
    assert [dark, light] == pytest.approx([-0.9, 0.0], abs=1e-4)
    feed = images(tmp_path, window="type")
    assert feed.info.values == Values(0, 65535, "uint16")
    again = images(tmp_path, window="type")  # from the cache
    assert again.info == feed.info
    found = images(tmp_path, window=(0, 1000)).raw()["x"].reshape(2, -1)[:, 0].tolist()
    assert found == [13107, 65535]  # clipped, in 16 bits


def test_stacks_and_classes_and_pairs(tmp_path: Path) -> None:
    for folder in ("A", "B"):
        (tmp_path / folder).mkdir()
        for i in range(2):
            tifffile.imwrite(
                tmp_path / folder / f"{i}.tif", FIVE[i], metadata={"axes": "ZCYX"}, **GRAY
            )
    feed = images(tmp_path, window="type")
    assert (feed.info.count, feed.info.channels, feed.info.classes) == (12, 4, ("A", "B"))
    assert feed.raw()["y"].tolist() == [0] * 6 + [1] * 6
    assert np.array_equal(feed.raw()["x"][:6], AS_IMAGES)
    both = pairs(tmp_path, size=(20, 30), window="type")
    assert np.array_equal(both.raw()["a"], AS_IMAGES)
    assert domains(tmp_path, size=16, load=20, window="type").draw(0, 3, seed=0).a.shape == (
        *(3, 4, 16, 16),
    )
    tifffile.imwrite(tmp_path / "B" / "1.tif", FIVE[1, 0], metadata={"axes": "CYX"}, **GRAY)
    with pytest.raises(UserError, match=r"A/1.tif holds 3 images and B/1.tif 1"):
        pairs(tmp_path, size=16, window="type")


def test_autoencoders_read_measurements_and_colorization_does_not(tmp_path: Path) -> None:
    for i, stack in enumerate(FIVE):
        tifffile.imwrite(tmp_path / f"{i}.tif", stack, metadata={"axes": "ZCYX"}, **GRAY)
    feed = derived(tmp_path, kind="same", size=(20, 30), window="type", flip=False)
    assert feed.info.values is not None
    assert (feed.info.channels, feed.info.values.type) == (4, "uint16")
    batch = feed.draw(0, 4, seed=0)
    assert torch.equal(batch.a, batch.b)
    assert np.array_equal(feed.raw()["x"], AS_IMAGES)
    with pytest.raises(UserError, match=r"no colors and no drawings: leave out data\.window"):
        derived(tmp_path, kind="gray", size=16, window="type")
    with pytest.raises(UserError, match="got 1 channels; the images have 4"):
        derived(tmp_path, kind="same", size=16, window="type", channels=1)


def test_floats_and_gray_files_and_declared_bits(tmp_path: Path) -> None:
    floats = np.linspace(-1000, 1000, 256, dtype=np.float32).reshape(1, 16, 16)
    tifffile.imwrite(tmp_path / "a.tif", floats, **GRAY)
    feed = images(tmp_path, window=(-1000, 1000))
    (batch,) = feed.batches(1)
    assert feed.raw()["x"].dtype == np.float32
    assert np.allclose(batch.x.numpy()[0] * 1000, floats, atol=1e-3)
    with pytest.raises(DataError, match=r"float32, which has no range of its own"):
        images(tmp_path, window="type")
    Image.fromarray(noise(16, 16)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"2 types \(float32, uint16\); expected one"):
        images(tmp_path, window=(0, 1))
    (tmp_path / "a.tif").unlink()
    assert np.array_equal(images(tmp_path, window="type").raw()["x"][0, ..., 0], noise(16, 16))
    (tmp_path / "b.png").unlink()
    tifffile.imwrite(tmp_path / "c.tif", noise(8, 8, high=4096), bitspersample=12, **GRAY)
    assert images(tmp_path, window="type").info.values == Values(0, 4095, "uint16")
    floats[0, 3, 3] = np.nan
    tifffile.imwrite(tmp_path / "c.tif", floats, **GRAY)
    with pytest.raises(UserError, match=r"c\.tif.*has NaN or infinite values"):
        images(tmp_path, window=(-1, 1))


@pytest.mark.parametrize("window", [(1, 1), (5, 3), (1, 2, 3), "Type"])
def test_windows_that_are_none(window: Any, tmp_path: Path) -> None:
    Image.fromarray(noise(16, 16)).save(tmp_path / "b.png")
    with pytest.raises(UserError, match="expected the values that become black and white"):
        images(tmp_path, window=window)


def test_check_tells_the_range_and_warns_of_12_bits_in_16(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(3, 64, 64, 4, high=4096), **CONTIG)
    lines = "\n".join(check(tmp_path).lines())
    assert "images     3" in lines
    assert "uint16: 3; trained as 4 channels" in lines
    assert "12 bits in 16" in lines
    assert "--set 'data.window=[0,4095]'" in lines
    tifffile.imwrite(tmp_path / "a.tif", np.ones((64, 64), np.float32) * 3, **GRAY)
    (found,) = [line for line in check(tmp_path).lines() if line.startswith("values")]
    assert found == "values     float32, 3 to 3"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (np.full((16, 16), np.nan, np.float32), "has NaN or infinite values"),
        (np.ones((16, 16), np.complex64), "holds complex64; expected one of uint8"),
    ],
)
def test_check_suggests_nothing_that_training_refuses(
    bad: np.ndarray, why: str, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "bad.tif", bad, **GRAY)
    report = check(tmp_path)
    assert why in str(report.problem)
    assert "ganvas train" not in "\n".join(report.lines())
    tifffile.imwrite(tmp_path / "good.tif", np.eye(16, dtype=np.float32), **GRAY)
    lines = "\n".join(check(tmp_path).lines())
    assert f"bad.tif: {why}" in lines


def _lying(code: int, value: int) -> bytes:
    """A TIFF file whose tag `code` says `value`."""
    data = bytearray(written(noise(64, 64), **GRAY).getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        tag = page.tags[code]
        data[tag.offset + 8 : tag.offset + 12] = struct.pack(
            "<HH" if tag.dtype == 3 else "<I", *((value, 0) if tag.dtype == 3 else (value,))
        )
    return bytes(data)


LIES = {
    "a width of 60,000": _lying(256, 60_000),
    "a height of 60,000": _lying(257, 60_000),
    "a width of 0": _lying(256, 0),
    "data behind the end": _lying(273, 1 << 20),
    "more data than there are": _lying(279, 1 << 24),
    "64 bits": _lying(258, 64),
    "an unknown compression": _lying(259, 999),
    "100 samples": _lying(277, 100),
    "cut": written(noise(64, 64), **GRAY).getvalue()[:5000],
    "no directory": b"II*\0\xff\xff\0\0",
    "a bomb": written(np.zeros((9000, 9000), np.uint16), compression="zlib", **GRAY).getvalue()[
        :9000
    ],
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_header_costs_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "lie.tif").write_bytes(LIES[name])
    (tmp_path / "good.tif").write_bytes(written(noise(64, 64), **GRAY).getvalue())
    with pytest.raises(Broken):
        tiff.Stack(io.BytesIO(LIES[name]), 10**9).read(0)
    feed = images(tmp_path, window="type")  # the other image is not lost
    assert feed.info.count == 1
    (skipped,) = feed.info.skipped
    assert skipped.startswith("lie.tif: ")
    assert "\n" not in skipped


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(UserError, match=r"pip install 'ganvas\[science\]'"):
        images(tmp_path, window="type")
