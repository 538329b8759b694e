"""Encode images as PNG, JPEG, WebP and TIFF, marked as generated and signed."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from ganvas.core.errors import UserError, did_you_mean
from ganvas.core.files import open_atomic, write
from ganvas.media import credentials, invisible_mark
from ganvas.media.provenance import (
    SOFTWARE,
    STATEMENT,
    STRIP,
    TIFF_DESCRIPTION,
    TIFF_SOFTWARE,
    TIFF_XMP,
    Label,
)
from ganvas.media.samples import as_image, eight_bit


class Rows(NamedTuple):
    """An image that comes in bands of rows, from top to bottom.

    bands: uint8 or uint16 [h, width, channels]
    channels: 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA)
    bits: of a number, 8 or 16
    profile: ICC profile
    lost: properties of the input that were dropped, as text
    """

    bands: Iterable[np.ndarray]
    width: int
    height: int
    channels: int
    bits: int = 8
    profile: bytes | None = None
    lost: tuple[str, ...] = ()

    def held(self, suffix: str) -> Rows:
        """The image as a format holds it: JPEG no alpha and 8 bits, WebP 8 bits.

        suffix: of the file
        """
        eight = suffix.lower() in (".jpg", ".jpeg", ".webp") and self.bits > 8
        flat = suffix.lower() in (".jpg", ".jpeg") and self.channels % 2 == 0
        if not eight and not flat:
            return self
        lost = [f"8 of 16 bits, which {suffix[1:]} does not hold"] * eight
        lost += [f"alpha, which {suffix[1:]} does not hold: it is laid over white"] * flat
        bands = (_over_white(eight_bit(band)) if flat else eight_bit(band) for band in self.bands)
        return self._replace(
            bands=bands, channels=self.channels - flat, bits=8, lost=(*self.lost, *lost)
        )

    def counted(self) -> Iterator[np.ndarray]:
        """The bands, which must have `height` rows together."""
        rows = 0
        for band in self.bands:
            rows += len(band)
            yield band
        assert rows == self.height, f"an image of {self.height} rows got {rows}"

    def strips(self, rows: int) -> Iterator[np.ndarray]:
        """The image in bands of `rows` rows; the last may have fewer."""
        left = None
        for band in self.counted():
            left = band if left is None or not len(left) else np.concatenate([left, band])
            while len(left) >= rows:
                yield left[:rows]
                left = left[rows:]
        if left is not None and len(left):
            yield left

    def image(self, kind: str, limit: int) -> Image.Image:
        """The whole image in 8 bits.

        kind: the format, for messages
        limit: its longest side in pixels
        """
        if max(self.width, self.height) > limit:
            raise UserError(
                f"{kind} holds sides of up to {limit:,} pixels, and this image is "
                f"{self.width}x{self.height}: save it as .png or .tif"
            )
        pixels = np.concatenate([eight_bit(band) for band in self.counted()])
        return as_image(pixels)


def _over_white(samples: np.ndarray) -> np.ndarray:
    """uint8 color and alpha -> color over white."""
    color, alpha = samples[..., :-1].astype(np.uint32), samples[..., -1:].astype(np.uint32)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def save(
    image: Image.Image,
    path: str | Path,
    *,
    settings: Mapping[str, object] | None = None,
    composite: bool = False,
    **facts: object,
) -> Path:
    """Write a generated image that is marked as such and signed, atomically.

    The image's ICC profile is kept. Missing folders are created.

    path: its suffix chooses the format: .png, .jpg/.jpeg, .webp, .tif/.tiff
    settings: of Pillow's encoders for JPEG and WebP, e.g. quality=95; of PNG
        compress_level alone
    composite: parts of the image are real (`provenance.Label`)
    facts: further content of the mark, text or numbers, e.g. model="runs/p", seed=7

    Returns the path. Raises `UserError` for another suffix and if the file cannot be
    written.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise UserError(
            f"images cannot be written as {path.name!r}. "
            f"{did_you_mean(path.suffix.lower(), WRITERS)}"
        )
    data = encode(image, path.suffix, settings=settings, composite=composite, **facts)
    return write(path, data)


def save_rows(
    rows: Rows,
    path: str | Path,
    *,
    settings: Mapping[str, object] | None = None,
    composite: bool = False,
    exact: bool = False,
    **facts: object,
) -> Path:
    """`save` for an image that comes in bands.

    PNG and TIFF are written as the bands come, so that memory need not hold the image;
    JPEG and WebP need all of it.

    exact: leave the pixels as they are, without an invisible mark
    """
    path, label = Path(path), Label.of(facts, composite)
    rows = rows if exact else _marked(rows)
    suffix = path.suffix.lower()
    with open_atomic(path) as file:
        credentials.write_signed(
            lambda plain: WRITERS[suffix](rows, plain, label, settings or {}),
            file,
            suffix,
            label,
            path.parent,
        )
    return path


def png_bytes(image: Image.Image) -> bytes:
    """A marked PNG without a signature: equal images give equal bytes."""
    buffer = io.BytesIO()
    WRITERS[".png"](_rows(image, None), buffer, Label({}), {})
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """The address of a PNG that is embedded in a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def encode(
    image: Image.Image,
    suffix: str,
    *,
    settings: Mapping[str, object] | None = None,
    composite: bool = False,
    **facts: object,
) -> bytes:
    """The file that `save` would write under this suffix."""
    buffer, label, suffix = io.BytesIO(), Label.of(facts, composite), suffix.lower()
    profile = (settings or {}).get("icc_profile", image.info.get("icc_profile"))
    rows = _marked(_rows(image, profile if isinstance(profile, bytes) else None))
    credentials.write_signed(
        lambda plain: WRITERS[suffix](rows, plain, label, settings or {}), buffer, suffix, label
    )
    return buffer.getvalue()


def _marked(rows: Rows) -> Rows:
    """The image with an invisible mark, if it is large enough and has 8 bits."""
    small = min(rows.width, rows.height) < invisible_mark.SIDE
    if small or rows.bits > 8 or not invisible_mark.is_on():
        return rows
    return rows._replace(bands=map(invisible_mark.embed, rows.strips(invisible_mark.PERIOD)))


def _rows(image: Image.Image, profile: bytes | None) -> Rows:
    samples = _samples(image)
    return Rows(
        [samples], image.width, image.height, samples.shape[2], 8 * samples.itemsize, profile
    )


def _samples(image: Image.Image) -> np.ndarray:
    """The pixels of a PIL image as `Rows` wants them."""
    deep = getattr(image, "deep", None)
    if deep is not None and np.array_equal(eight_bit(deep), np.asarray(image)):
        return deep
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        gray, alpha = (
            image.mode in ("1", "I", "F"),
            "transparency" in image.info or image.mode[-1] in "Aa",
        )
        image = image.convert("L" if gray else "RGBA" if alpha else "RGB")
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _png_info(label: Label) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", SOFTWARE)
    info.add_text("Description", STATEMENT)
    info.add_text("Comment", STATEMENT)
    for name, value in label.facts.items():
        text = str(value).encode(errors="backslashreplace").decode()  # names of files may be odd
        info.add_text(name, text)
    info.add_itxt("XML:com.adobe.xmp", label.packet().decode())
    return info


def _png(rows: Rows, file: IO[bytes], label: Label, settings: Mapping[str, object]) -> None:
    level = settings.get("compress_level", 6)
    packed, above = zlib.compressobj(level if isinstance(level, int) else 6), None

    def chunk(kind: bytes, data: bytes) -> None:
        file.write(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    for band in rows.counted():
        channels, size = band.shape[2], band.itemsize
        lines = (band if size == 1 else band.astype(">u2")).reshape(len(band), -1).view(np.uint8)
        if above is None:
            file.write(b"\x89PNG\r\n\x1a\n")
            color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
            chunk(
                b"IHDR", struct.pack(">IIBBBBB", rows.width, rows.height, 8 * size, color, 0, 0, 0)
            )
            if rows.profile:
                chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(rows.profile))
            for kind, data, *_ in _png_info(label).chunks:
                chunk(kind, data)
            above = np.zeros_like(lines[0])
        data = packed.compress(_filtered(lines, above, channels * size))
        if data:
            chunk(b"IDAT", data)
        above = lines[-1].copy()
    chunk(b"IDAT", packed.flush())
    chunk(b"IEND", b"")


def _filtered(lines: np.ndarray, above: np.ndarray, pixel: int) -> bytes:
    """Filter rows of a PNG by "Sub" or "Up", whichever is smaller.

    Each row is its difference from the left neighbors or from the row above, with the
    number of the filter in front (PNG specification, section 9).

    lines: bytes of rows [h, n]
    above: the row above the first, [n]
    pixel: bytes per pixel
    """
    ways = np.stack([lines, lines])
    ways[0, :, pixel:] -= lines[:, :-pixel]
    ways[1, 1:] -= lines[:-1]
    ways[1, 0] -= above
    chosen = np.abs(ways.view(np.int8).astype(np.int16)).sum(2).argmin(0)
    rows = np.empty((len(lines), 1 + lines.shape[1]), np.uint8)
    rows[:, 0], rows[:, 1:] = 1 + chosen, ways[chosen, np.arange(len(lines))]
    return rows.tobytes()


def _tiff(rows: Rows, file: IO[bytes], label: Label, settings: Mapping[str, object]) -> None:
    """Write TIFF 6.0 with one strip a band, deflate and horizontal differencing.

    Pillow writes no 16-bit color.
    """
    strips, channels, bits = [], 0, 0
    # Gray with alpha of 16 bits is written as RGBA, since Pillow has no mode for it.
    wide = rows.channels == 2 and rows.bits == 16
    profile = None if wide else rows.profile
    file.write(b"II*\0\0\0\0\0")
    for band in rows.strips(STRIP):
        band = band[..., [0, 0, 0, 1]] if wide else band
        channels, bits = band.shape[2], 8 * band.itemsize
        differences = band.copy()
        differences[:, 1:] -= band[:, :-1]
        strips.append(
            (file.tell(), file.write(zlib.compress(differences.astype(f"<u{bits // 8}").tobytes())))
        )
    if strips[-1][0] + strips[-1][1] > 0xFFFFFFFF - (1 << 24):
        raise UserError("the image needs more than the 4 GiB that a TIFF holds: save it as .png")
    long, short, text, byte, undefined = "L", "H", "s", "B", "B7"
    tags: list[tuple[int, str, Sequence[int] | bytes]] = [
        (256, long, [rows.width]),
        (257, long, [rows.height]),
        (258, short, [bits] * channels),
        (259, short, [8]),  # deflate
        (262, short, [2 if channels > 2 else 1]),  # RGB, or gray with 0 for black
        (TIFF_DESCRIPTION, text, STATEMENT.encode() + b"\0"),
        (273, long, [place for place, _ in strips]),
        (277, short, [channels]),
        (278, long, [STRIP]),
        (279, long, [size for _, size in strips]),
        (TIFF_SOFTWARE, text, SOFTWARE.encode() + b"\0"),
        (317, short, [2]),  # differences from the left
        *([(338, short, [2])] if channels % 2 == 0 else []),  # straight alpha
        (TIFF_XMP, byte, label.packet()),
        *([(34675, undefined, profile)] if profile else []),
    ]
    file.write(b"\0" * (file.tell() % 2))
    entries, place = [], file.tell()
    values, behind = b"", place + 2 + 12 * len(tags) + 4
    for tag, kind, value in tags:
        data = value if isinstance(value, bytes) else struct.pack(f"<{len(value)}{kind}", *value)
        number = {"B": 1, "s": 2, "H": 3, "L": 4, "B7": 7}[kind]
        if len(data) > 4:
            where = struct.pack("<I", behind + len(values))
            values += data + b"\0" * (len(data) % 2)
        else:
            where = data.ljust(4, b"\0")
        entries.append(struct.pack("<HHI", tag, number, len(value)) + where)
    file.write(struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0" + values)
    file.seek(4)
    file.write(struct.pack("<I", place))


def _exif() -> bytes:
    exif = Image.Exif()
    exif[TIFF_DESCRIPTION], exif[TIFF_SOFTWARE] = STATEMENT, SOFTWARE
    return exif.tobytes()


def _jpeg(rows: Rows, file: IO[bytes], label: Label, settings: Mapping[str, object]) -> None:
    image = rows.image("JPEG", 65_500)
    if image.mode not in ("L", "RGB"):
        raise UserError(
            f"JPEG has no transparency, and this image is {image.mode}: save it as .png or .webp"
        )
    # The XMP segment is written by hand: Pillow before 11 ignores the argument `xmp`,
    # and a label must not get lost.
    body = b"http://ns.adobe.com/xap/1.0/\0" + label.packet()
    if len(body) > 65533:
        raise UserError(
            f"the facts make {len(body)} bytes, and JPEG holds 65,533: give fewer, or save it as "
            ".png"
        )
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    how = {"quality": 95, "subsampling": 0, **settings, "icc_profile": rows.profile}
    image.save(file, "JPEG", **{**how, "exif": _exif(), "extra": segment})


def _webp(rows: Rows, file: IO[bytes], label: Label, settings: Mapping[str, object]) -> None:
    image = rows.image("WebP", 16_383)
    image = image.convert("RGBA") if image.mode == "LA" else image
    how = {"quality": 95, **settings, "icc_profile": rows.profile}
    image.save(file, "WEBP", **{**how, "exif": _exif(), "xmp": label.packet()})


WRITERS: dict[str, Callable[[Rows, IO[bytes], Label, Mapping[str, object]], None]] = {
    ".png": _png,
    ".jpg": _jpeg,
    ".jpeg": _jpeg,
    ".webp": _webp,
    ".tif": _tiff,
    ".tiff": _tiff,
}
