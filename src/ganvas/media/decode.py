"""Decode one image file, to 8 bits for training or with all that it holds.

`read` returns 8-bit gray, RGB or RGBA. `decode` keeps 16 bits, alpha and the ICC
profile. Both read 1-bit, gray, gray with alpha, palette (with transparency), RGB, RGBA,
16 bits (scaled by 1/257, never clipped), floats, CMYK and the rest of Pillow's color
spaces; the EXIF orientation is applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from ganvas.core.environment import available
from ganvas.core.guards import open_regular
from ganvas.media.samples import (
    MODES,
    Broken,
    Decoded,
    TooLarge,
    as_array,
    eight_bit,
    sixteen_bit,
)


def max_pixels() -> int:
    """Pixels of the largest image that is opened.

    Decoded, it takes a quarter of the memory that is available now.
    """
    return available() // 16


# Pillow's own limit for one image, about 89 megapixels. A file of a few kilobytes can
# need more memory than the host has, so the header's size is checked before decoding.
MAX_PIXELS = 89_478_485
# Includes formats that Pillow may be unable to open: they are reported, not skipped.
EXTENSIONS = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".avif", ".jp2", ".heic", ".heif"),
}
_ORIENTATION = 0x0112  # EXIF; 5 to 8 lie on their side
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GRAY = ("1", "L", "I", "F")
# Pillow unpacks 16-bit color to its upper bytes. Unpacked in the other byte order, the
# same data give the lower ones.
_LOWER = {
    f"{mode};16{order}": f"{mode};16{'L' if order == 'B' else 'B'}"
    for mode in ("RGB", "RGBA")
    for order in ("B", "L")
} | {f"{mode};16N": f"{mode};16{'B' if np.little_endian else 'L'}" for mode in ("RGB", "RGBA")}
_PROFILES = {1: b"GRAY", 3: b"RGB "}  # by color channels: the color space that an ICC profile names


class Header(NamedTuple):
    """Size of an image as shown, Pillow's mode, and the number of channels for it."""

    width: int
    height: int
    mode: str
    channels: int


def read_header(file: IO[bytes] | str, most: int = MAX_PIXELS) -> Header:
    """Read size and mode without decoding.

    Raises `Broken`, also for more pixels than `most`.
    """
    with _opened(file, most) as image:
        try:
            width, height = image.size
            if isinstance(
                image, TiffImageFile
            ):  # newer versions of Pillow turn the size already, older ones do not
                width, height = int(image.tag_v2[IMAGEWIDTH]), int(image.tag_v2[IMAGELENGTH])
            # asking a PNG without an early eXIf chunk for its EXIF would decode it all
            if (image.format != "PNG" or "exif" in image.info) and _orientation(image) >= 5:
                width, height = height, width
            return Header(width, height, image.mode, _channels(image))
        except Exception as e:
            raise Broken(_reason(e)) from None


def read(
    file: IO[bytes] | str | Image.Image, most: int = MAX_PIXELS, white: int | None = None
) -> Image.Image:
    """Decode an image, upright, to mode L, RGB or RGBA.

    most: pixels
    white: as of `eight_bit`

    Raises `Broken`, also for more pixels than `most`.
    """
    with _opened(file, most) as opened, _pixels_up_to(most):
        try:
            image = _upright(opened)
            image, mode = _eight_bit(image, white), MODES[_channels(image)]
            return image if image.mode == mode else _straight(image).convert(mode)
        except Broken:
            raise
        except (
            Exception
        ) as e:  # Pillow's plugins raise whatever a damaged stream makes them trip over
            raise Broken(_reason(e)) from None


def deep(file: IO[bytes] | str) -> np.ndarray | None:
    """The stored values [H, W] of a gray image of more than 8 bits; None for others.

    The image is not turned upright. Raises `Broken`.
    """
    with _opened(file, MAX_PIXELS) as image:
        try:
            return np.asarray(image) if image.mode.split(";")[0] == "I" else None
        except Exception as e:
            raise Broken(_reason(e)) from None


def stored_ids(file: IO[bytes]) -> np.ndarray | None:
    """The indices of a palette image or integers of a gray one, upright, uint16 [H, W].

    None for other images. Raises `Broken`, also for integers that are not in 0..65535.
    """
    with _opened(file, MAX_PIXELS) as image:
        if image.mode not in ("P", "L") and image.mode.split(";")[0] != "I":
            return None
        try:
            ids = np.asarray(_upright(image))
        except Exception as e:
            raise Broken(_reason(e)) from None
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= 65535:
        raise Broken(f"has labels from {ids.min()} to {ids.max()}; expected 0 to 65535")
    return ids.astype(np.uint16)


def palette_colors(file: IO[bytes]) -> tuple[int, ...]:
    """The colors 0xRRGGBB of a palette image, by index. Decodes no pixel.

    Raises `Broken`.
    """
    with _opened(file, MAX_PIXELS) as image:
        levels = image.getpalette("RGB") or []
    rgb = zip(levels[::3], levels[1::3], levels[2::3], strict=True)
    return tuple(r << 16 | g << 8 | b for r, g, b in rgb)


def decode(file: IO[bytes] | str | Image.Image, most: int = MAX_PIXELS) -> Decoded:
    """Decode an image with its 16 bits, alpha and ICC profile.

    file: path, open file, or PIL image (8 bits of 16-bit color: it has no mode for it)
    most: pixels

    Raises `Broken`, also for more pixels than `most`.
    """
    with _opened(file, most) as opened, _pixels_up_to(most):
        try:
            lost, profile, indices = [], opened.info.get("icc_profile"), None
            if (
                getattr(opened, "is_animated", False) and opened.format != "MPO"
            ):  # whose second image is a preview
                lost.append("all frames but the first")
            samples = _sixteen(opened, file)
            if samples is None:
                image = _upright(opened)
                indices = np.asarray(image) if image.mode == "P" else None
                samples = _samples(image)
            channels = samples.shape[2]
            color = samples[..., : channels - 1 + channels % 2]
            alpha = samples[..., -1] if channels % 2 == 0 else None
            if profile and profile[16:20] != _PROFILES[color.shape[2]]:
                space = profile[16:20].decode("ascii", "replace").strip()
                lost.append(f"the ICC profile (of {space or 'no known'} colors)")
                profile = None
            return Decoded(color, alpha, profile or None, tuple(lost), indices)
        except Broken:
            raise
        except Exception as e:
            if isinstance(e, MemoryError):
                raise
            raise Broken(_reason(e)) from None


@contextmanager
def _pixels_up_to(most: int) -> Iterator[None]:
    """Raise Pillow's limit of pixels, which is the process's, within the context."""
    if most <= MAX_PIXELS:
        yield
        return
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _opened(file: IO[bytes] | str | Image.Image, most: int) -> Iterator[Image.Image]:
    """Open an image and close it afterwards; a PIL image stays open."""
    if isinstance(file, Image.Image):
        yield file
        return
    try:
        if isinstance(file, str):
            open_regular(file).close()  # Pillow would wait for a pipe
        with _pixels_up_to(most):
            image = Image.open(file)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
        raise TooLarge(
            f"larger than {MAX_PIXELS // 10**6} megapixels, refused as a possible bomb ({e})"
        ) from None
    except UnidentifiedImageError:
        raise Broken("not an image (its contents are no known image format)") from None
    except Exception as e:
        raise Broken(_reason(e)) from None
    with image:
        if image.width * image.height > most:
            limit = "" if most == MAX_PIXELS else ", which is what memory has room for,"
            raise TooLarge(
                f"{image.width}x{image.height} is more than {most // 10**6} megapixels{limit} "
                "and was refused as a possible bomb"
            )
        yield image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 for damaged EXIF and for other values."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _channels(image: Image.Image) -> int:
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return 4
    return 1 if image.mode.split(";")[0] in _GRAY else 3


def _straight(image: Image.Image) -> Image.Image:
    """Convert premultiplied to straight alpha."""
    return (
        image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        if image.mode in ("La", "RGBa")
        else image
    )


def _samples(image: Image.Image) -> np.ndarray:
    """An 8-bit image -> uint8 [H, W, 1 (gray), 2 (gray, alpha), 3 or 4]."""
    gray, alpha = image.mode in ("1", "L", "LA", "La"), _channels(image) == 4
    mode = "RGBA" if alpha else "L" if gray else "RGB"
    image = _straight(image)
    a = as_array(image if image.mode == mode else image.convert(mode))
    return a[..., [0, 3]] if gray and alpha else a


def _sixteen(image: Image.Image, file: IO[bytes] | str | Image.Image) -> np.ndarray | None:
    """The samples of an image of more than 8 bits, uint16 [H, W, 1 to 4], upright.

    None if the image has 8 bits.
    """
    transparent = image.info.get("transparency")
    raw = _raw_mode(image)
    if image.mode.split(";")[0] in ("I", "F"):
        a = sixteen_bit(np.asarray(_upright(image)))[..., None]
    elif raw == "LA;16B" and image.mode == "RGBA" and not isinstance(file, Image.Image):
        _set_raw_mode(image, "RGBA")  # the four bytes of a pixel as they are
        return np.ascontiguousarray(as_array(_upright(image))).view(">u2").astype(np.uint16)
    elif raw in _LOWER and not isinstance(file, Image.Image):
        a = as_array(_upright(image)).astype(np.uint16) << 8
        with Image.open(file) as again:
            _set_raw_mode(again, _LOWER[raw])
            a |= as_array(_upright(again))
    else:
        return None
    if transparent is None or isinstance(transparent, bytes):
        return a
    alpha = np.where((a == np.asarray(transparent, np.uint16)).all(2, keepdims=True), 0, 65535)
    return np.dstack([a, alpha.astype(np.uint16)])


def _raw_mode(image: Image.Image) -> str | None:
    """Pillow's name for the layout of a file's pixels; None for several planes."""
    tiles = getattr(image, "tile", ())
    modes = {tile[3] if isinstance(tile[3], str) else tile[3][0] for tile in tiles if tile[3]}
    mode = modes.pop() if len(modes) == 1 else None
    return mode if isinstance(mode, str) else None


def _set_raw_mode(image: Image.Image, mode: str) -> None:
    """Choose another layout for a file that is not decoded yet."""
    tiles: list = getattr(image, "tile")  # noqa: B009 (only images of files have tiles)
    for i, (codec, extents, offset, how) in enumerate(tiles):
        tile = (codec, extents, offset, mode if isinstance(how, str) else (mode, *how[1:]))
        # a plain tuple before Pillow 11, a named one since
        tiles[i] = tile if type(tiles[i]) is tuple else type(tiles[i])(*tile)


def _eight_bit(image: Image.Image, white: int | None = None) -> Image.Image:
    mode = image.mode.split(";")[0]
    if mode == "I" or mode == "F":  # Pillow would clip these at 255
        a = np.asarray(image)
        # a 16-bit PNG may come as 32-bit numbers, depending on Pillow's version
        if (image.mode == "I" and a.max(initial=0) <= 65535) or image.mode == "I;16B":
            a = a.astype(np.uint16)
        return Image.fromarray(eight_bit(a, white))
    return image


def _reason(e: Exception) -> str:
    if (
        isinstance(e, OSError) and e.strerror
    ):  # of the file, not of its contents: Pillow's own have no number
        return e.strerror
    return f"damaged or cut short ({str(e) or type(e).__name__})"
