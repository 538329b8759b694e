"""Pixel arrays: convert channels, bit depth and size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Broken(Exception):
    """An image cannot be used. The message is the reason, without the file's name."""


class TooLarge(Broken):
    """An image has more pixels than the limit; it was not decoded."""


class Decoded(NamedTuple):
    """An upright image with alpha and ICC profile.

    color: uint8 or uint16 [H, W, 1 or 3]
    alpha: [H, W] of the same type, or None
    profile: ICC profile that fits `color`, or None
    lost: properties of the file that were dropped, as text
    indices: of a palette image, uint8 [H, W]; None for others
    """

    color: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    lost: tuple[str, ...] = ()
    indices: np.ndarray | None = None

    @property
    def height(self) -> int:
        """In pixels."""
        return self.color.shape[0]

    @property
    def width(self) -> int:
        """In pixels."""
        return self.color.shape[1]

    @property
    def white(self) -> int:
        """The largest value: 255 or 65535."""
        return int(np.iinfo(self.color.dtype).max)

    def samples(self, rows: slice = slice(None)) -> np.ndarray:
        """Color and alpha together, [h, W, 1 to 4]."""
        color = self.color[rows]
        return color if self.alpha is None else np.dstack([color, self.alpha[rows]])


def luma(color: np.ndarray) -> np.ndarray:
    """Gray [H, W, 1] of RGB uint8 or uint16 [H, W, 3], by ITU-R 601.

    Rounded exactly as Pillow does.
    """
    if color.shape[2] == 1:
        return color
    gray = np.empty((*color.shape[:2], 1), color.dtype)
    for top in range(0, len(color), 256):  # products take four bytes a number
        red, green, blue = np.moveaxis(color[top : top + 256].astype(np.uint32), 2, 0)
        gray[top : top + 256, :, 0] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return gray


def opaque(image: Decoded) -> np.ndarray:
    """The color of an image; transparent pixels get that of the nearest visible pixel.

    A network spreads their own color, often black, into a seam around the visible part.
    Works on bands of rows, each with the 256 rows above and below it.
    """
    color, alpha = image.color, image.alpha
    if alpha is None or alpha.all() or not alpha.any():
        return color
    from scipy import ndimage

    height = len(color)
    filled, mean = color.copy(), np.rint(color[alpha > 0].mean(0))
    for top in range(0, height, 1024):
        bottom = min(top + 1024, height)
        around = slice(max(top - 256, 0), min(bottom + 256, height))
        hidden = alpha[around] == 0
        inner = slice(top - around.start, bottom - around.start)
        if hidden.all():
            filled[top:bottom] = mean
        elif hidden[inner].any():
            nearest = ndimage.distance_transform_edt(
                hidden, return_distances=False, return_indices=True
            )
            rows, columns = nearest[:, inner]  # pyright: ignore[reportOptionalSubscript, reportArgumentType, reportCallIssue]
            filled[top:bottom] = color[around][rows, columns]
    return filled


def resized(
    samples: np.ndarray, size: tuple[int, int], rows: tuple[int, int] | None = None, margin: int = 4
) -> np.ndarray:
    """Resize samples, bicubic and antialiased.

    samples: uint8, uint16 or float32 [H, W, C]
    size: (height, width)
    rows: (first, end) of the result; None: all
    margin: rows of the original that are read beyond those of `rows`, for each row of
        the original that one of the result covers
    """
    (height, width), (old, across) = size, samples.shape[:2]
    first, end = rows or (0, height)
    scale = old / height
    top, bottom = first * scale, min(end * scale, old)
    reach = int(margin * max(scale, 1)) + 1
    start, stop = max(int(top) - reach, 0), min(int(bottom) + reach + 1, old)
    box = (0, top - start, across, bottom - start)
    out = np.empty((end - first, width, samples.shape[2]), samples.dtype)
    for channel in range(samples.shape[2]):
        part = samples[start:stop, :, channel]
        if samples.dtype == np.uint8:
            band = Image.fromarray(np.ascontiguousarray(part))
            out[..., channel] = np.asarray(
                band.resize((width, end - first), Image.Resampling.BICUBIC, box)
            )
        else:
            band = Image.fromarray(part.astype(np.float32))
            band = np.asarray(band.resize((width, end - first), Image.Resampling.BICUBIC, box))
            whole = samples.dtype == np.uint16
            out[..., channel] = np.rint(band).clip(0, 65535) if whole else band
    return out


def nearest(samples: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize samples [H, W, C] to (height, width); each is the nearest one."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, samples.shape[:2], strict=False)
    )
    return samples[rows[:, None], columns]


def covering(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Samples [H, W, C] scaled to cover a size and cropped to its center, bicubic."""
    if values.shape[:2] == size:
        return values
    ratio = max(size[0] / values.shape[0], size[1] / values.shape[1])
    height, width = (max(round(side * ratio), least) for side, least in zip(values.shape, size))
    if (height, width) != values.shape[:2]:
        values = resized(values, (height, width))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return values[top : top + size[0], left : left + size[1]]


def to_channels(image: Image.Image, channels: int) -> Image.Image:
    """Convert an image to gray (1), RGB (3) or RGBA (4).

    Alpha is composited over white; colors become gray by ITU-R 601 luma.
    """
    if image.mode == "RGBA" and channels < 4:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
        image = image.convert("RGB")
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale an image to cover a size and crop the center; bicubic, antialiased.

    size: (height, width)
    """
    height, width = size
    if image.size == (width, height):
        return image
    scale = max(width / image.width, height / image.height)
    w, h = width / scale, height / scale  # the part of the image that is kept
    left, top = max((image.width - w) / 2, 0), max((image.height - h) / 2, 0)
    # If w or h is the image's own, rounding may put the box slightly outside of it.
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
    """Convert samples to uint8.

    a: bool, 16-bit, floats in [0, 1] or [-1, 1], or any numbers within 0..255
    white: the value of integers of more than 8 bits that becomes 255; None: 65535

    Raises `Broken` for other ranges.
    """
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
    raise Broken(
        f"has values from {low:g} to {high:g}; expected 8 or 16 bits, or floats within [0, 1] "
        "or [-1, 1]"
    )


def sixteen_bit(a: np.ndarray) -> np.ndarray:
    """Convert gray values of more than 8 bits to uint16.

    a: integers (kept), or floats in [0, 1], [-1, 1] or 0..255 (scaled)

    Raises `Broken` for other ranges.
    """
    low, high = (float(a.min()), float(a.max())) if a.size else (0.0, 0.0)
    if np.issubdtype(a.dtype, np.integer):
        if low >= 0 and high <= 65535:
            return a.astype(np.uint16)
    elif low >= -1 and high <= 1:
        return np.rint(a * 65535.0 if low >= 0 else (a + 1.0) * 32767.5).astype(np.uint16)
    elif low >= 0 and high <= 255:
        return np.rint(a * 257.0).astype(np.uint16)
    raise Broken(
        f"has values from {low:g} to {high:g}; expected 8 or 16 bits, or floats within [0, 1] "
        "or [-1, 1]"
    )
