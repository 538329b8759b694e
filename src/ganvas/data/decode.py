"""One picture of any kind -> 8-bit gray, RGB or RGBA of a given size.

Every mode that people have is understood: 1-bit, gray, gray with alpha, palette (with transparency), RGB, RGBA, 16-bit
gray (scaled by 1/257, never clipped), CMYK and the rest of Pillow's colour spaces; EXIF orientation is applied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

# Pillow's own limit for one picture, about 89 megapixels. A file of a few kilobytes can claim more memory than there
# is, so the header's size is read before anything is decoded.
MAX_PIXELS = 89_478_485
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# Also kinds that Pillow may be unable to open: these are named as unreadable, not passed over.
EXTENSIONS = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".avif", ".jp2", ".heic", ".heif"),
}

_ORIENTATION = 0x0112  # EXIF; 5 to 8 lie on their side
_GRAY = ("1", "L", "I", "F")


class Broken(Exception):
    """This picture cannot be used; the message is the reason, without its name."""


class Header(NamedTuple):
    """What a picture says of itself: size as it will be shown, Pillow's mode, and the channels that hold it."""

    width: int
    height: int
    mode: str
    channels: int


def read_header(file: IO[bytes] | str, most: int = MAX_PIXELS) -> Header:
    """Size and mode without decoding. Raises `Broken`, also for more pixels than `most`."""
    with _opened(file, most) as image:
        width, height = image.size
        if isinstance(image, TiffImageFile):  # newer versions of Pillow give the size turned already, older ones do not
            width, height = image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH]
        # asking a PNG without an early eXIf chunk for its EXIF would decode all of it
        turned = image.format != "PNG" or "exif" in image.info
        if turned and image.getexif().get(_ORIENTATION, 1) >= 5:
            width, height = height, width
        return Header(width, height, image.mode, _channels(image))


def read(file: IO[bytes] | str, most: int = MAX_PIXELS, white: int | None = None) -> Image.Image:
    """The picture, upright, in mode L, RGB or RGBA. Raises `Broken`, also for more pixels than `most`. `white`: see
    `eight_bit`."""
    with _opened(file, most) as image, _pixels_up_to(most):
        try:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            upright, mode = _eight_bit(image, white), MODES[_channels(image)]
            return upright if upright.mode == mode else upright.convert(mode)
        except Broken:
            raise
        except Exception as e:  # Pillow's plugins raise whatever a damaged stream makes them trip over
            raise Broken(_reason(e)) from None


def deep(file: IO[bytes] | str) -> np.ndarray | None:
    """The stored values [H, W] of a gray image of more than 8 bits, not turned upright; None for others. Raises `Broken`."""
    with _opened(file, MAX_PIXELS) as image:
        try:
            return np.asarray(image) if image.mode.split(";")[0] == "I" else None
        except Exception as e:
            raise Broken(_reason(e)) from None


def to_channels(image: Image.Image, channels: int) -> Image.Image:
    """Gray (1), RGB (3) or RGBA (4). What loses its alpha is laid over white; colours become gray by ITU-R 601 luma."""
    if image.mode == "RGBA" and channels < 4:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
        image = image.convert("RGB")
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale (bicubic, antialiased, aspect kept) until the picture covers `size` (height, width), then crop the
    centre."""
    height, width = size
    if image.size == (width, height):
        return image
    scale = max(width / image.width, height / image.height)
    w, h = width / scale, height / scale  # the part of the picture that will be seen
    left, top = max((image.width - w) / 2, 0), max((image.height - h) / 2, 0)
    # where w or h is the image's own, rounding may put the box a hair outside of it
    box = (left, top, min(left + w, image.width), min(top + h, image.height))
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def as_array(image: Image.Image) -> np.ndarray:
    """uint8 [H, W, C]."""
    a = np.asarray(image)
    return a if a.ndim == 3 else a[:, :, None]


def as_image(array: np.ndarray) -> Image.Image:
    """The inverse of `as_array`."""
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def eight_bit(a: np.ndarray, white: int | None = None) -> np.ndarray:
    """Numbers of any kind as uint8: bool, 16-bit, floats in [0, 1] or [-1, 1], and anything within 0..255. Raises
    `Broken` where the range says nothing.

    white: the value of integers of more than 8 bits that becomes 255; None: 65535"""
    if a.dtype == np.uint8:
        return a
    if white is not None and np.issubdtype(a.dtype, np.integer):
        return ((a.clip(0, white).astype(np.int64) * 510 + white) // (2 * white)).astype(np.uint8)
    if a.dtype == np.bool_:
        return a.astype(np.uint8) * np.uint8(255)
    if a.dtype == np.uint16:
        return ((a.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if not (np.issubdtype(a.dtype, np.floating) or np.issubdtype(a.dtype, np.integer)):
        raise Broken(f"holds {a.dtype}, not numbers that could be pixels")
    low, high = float(a.min(initial=0)), float(a.max(initial=0))
    if np.issubdtype(a.dtype, np.floating) and low >= -1 and high <= 1:
        return np.rint(a * 255.0 if low >= 0 else (a + 1.0) * 127.5).astype(np.uint8)
    if low >= 0 and high <= 255:
        return np.rint(a).astype(np.uint8)
    if low >= 0 and high <= 65535 and np.issubdtype(a.dtype, np.integer):
        return ((a.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise Broken(f"has values from {low:g} to {high:g}; expected 8 or 16 bits, or floats within [0, 1] or [-1, 1]")


@contextmanager
def _pixels_up_to(most: int) -> Iterator[None]:
    """Within: Pillow, whose limit is the whole process's, opens pictures of more pixels than it would by itself."""
    if most <= MAX_PIXELS:
        yield
        return
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _opened(file: IO[bytes] | str, most: int) -> Image.Image:
    try:
        with _pixels_up_to(most):
            image = Image.open(file)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
        raise Broken(f"larger than {MAX_PIXELS // 10**6} megapixels, refused as a possible bomb ({e})") from None
    except UnidentifiedImageError:
        raise Broken("not an image (its contents are no known image format)") from None
    except Exception as e:
        raise Broken(_reason(e)) from None
    if image.width * image.height > most:
        image.close()
        raise Broken(
            f"{image.width}x{image.height} is more than {most // 10**6} megapixels, refused as a possible bomb"
        )
    return image


def _channels(image: Image.Image) -> int:
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return 4
    return 1 if image.mode.split(";")[0] in _GRAY else 3


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
    if isinstance(e, OSError) and e.strerror:  # of the file, not of its contents: Pillow's own have no number
        return e.strerror
    return f"damaged or cut short ({str(e) or type(e).__name__})"
