"""Images of 1 to 16 channels and up to 16 bits: arrays, TIFF pages, image files.

For measurements rather than photographs: values are mapped linearly, and nothing is
taken for a color.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence
from torch import Tensor

from ganvas.core.errors import DataError, UserError, printable
from ganvas.core.guards import open_regular, plural, reason, require_memory
from ganvas.core.sizes import sides_of
from ganvas.data.arrays import MOST_CHANNELS, channels_last
from ganvas.data.cache import digest_rows
from ganvas.data.degradations import edges
from ganvas.data.feed import Feed
from ganvas.data.info import Info
from ganvas.data.open_source import choose_part
from ganvas.data.pictures import PARTS, Part
from ganvas.data.trees import is_hidden
from ganvas.media.decode import EXTENSIONS, max_pixels
from ganvas.media.samples import Broken, covering

ENDINGS = {".npy", *EXTENSIONS}
PLAIN = {"P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBX": "RGB", "LA": "L"}  # without alpha
RANGES = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0), "bool": (0.0, 1.0)}


def stacks(
    source: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    load: int | tuple[int, int] | None = None,
    window: Sequence[float] | None = None,
    flip: bool = True,
    part: Part = "train",
) -> Feed:
    """Open images of 1 to 16 channels and up to 16 bits, and sketches of their edges.

    Files are .npy arrays [H, W] or [H, W, channels] (or channels first), TIFF files
    whose pages are channels, and gray or color images, in a folder or in its subfolders
    `train` and `test`. Batches hold the images as the target `b` and `y`, and sketches
    as the input `a` and `x`, [n, C, H, W]. All images are in memory, in 16 bits.

    size: None: the images' own, which must be one
    load: see `pairs`
    window: the two values that become black and white, for example (-1000, 1000);
        None: the range of 8 or 16 bits
    flip, part: see `images`

    Raises `UserError` for files that cannot be read or do not go together.
    """
    if window is not None and not (len(window) == 2 and window[0] < window[1]):
        raise UserError(
            f"got window={list(window)}; expected the values that become black and white, as in "
            "--set 'data.window=[-1000,1000]'"
        )
    folder = Path(source)
    if not folder.exists():
        raise UserError(f"there is no {printable(source)}")
    files, opened, notes = files_of(folder, part)
    two = None if window is None else (float(window[0]), float(window[1]))
    pixels, small = load_files(files, sides_of(load or size), two)
    height, width = sides_of(size) or pixels.shape[1:3]
    channels = pixels.shape[3]
    if small:
        notes += [f"{plural(small, 'image')} smaller than {width}x{height}, enlarged"]
    info = Info(
        task="pairs",
        source=printable(source),
        layout=f"stacks of {plural(channels, 'channel')}",
        part=opened,
        channels=channels,
        height=height,
        width=width,
        count=len(pixels),
        fingerprint=digest(pixels),
        notes=tuple(notes),
    )
    feed = Feed(info, {"x": pixels}, flip=flip)
    feed.derive = sketch
    return feed


def files_of(source: Path, part: Part) -> tuple[list[Path], str, list[str]]:
    """(files of a part in order of their names, the part that was opened, notes).

    source: folder, which may have a subfolder for each part, or one file

    Raises `DataError` if there are none.
    """
    if source.is_file():
        return [source], "all", []
    folders = {PARTS[name]: source / name for name in PARTS if (source / name).is_dir()}
    parts = folders if "train" in folders else {"all": source}
    opened, notes = choose_part(parts, part)
    found = sorted(
        p
        for p in parts[opened].rglob("*")
        if p.suffix.lower() in ENDINGS
        and not any(map(is_hidden, p.relative_to(source).parts))
        and p.is_file()
    )
    if not found:
        raise DataError(
            f"{printable(source)} has no images: a folder of .npy arrays [H, W] or [H, W, "
            "channels], of TIFF files (a page a channel) or of gray images was expected"
        )
    return found, opened, notes


def read(path: Path) -> np.ndarray:
    """One file as stored, [H, W, C].

    Raises `DataError` for files that cannot be read, and for other shapes.
    """
    try:
        values = _array(path) if path.suffix.lower() == ".npy" else _pages(path)
    except Exception as e:  # numpy and Pillow raise many kinds for damaged files
        raise DataError(f"{printable(path)} cannot be read ({reason(e)})") from None
    try:
        values = channels_last(values)
    except Broken as e:
        raise DataError(f"{printable(path)} {e}") from None
    if values.dtype.kind not in "biuf":
        raise DataError(f"{printable(path)} holds {values.dtype}; expected numbers")
    return values


def _array(path: Path) -> np.ndarray:
    with open_regular(path):  # no pipe, no device
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _pages(path: Path) -> np.ndarray:
    with open_regular(path) as file, Image.open(file) as image:
        pages = getattr(image, "n_frames", 1)
        if image.width * image.height * pages > max_pixels():
            raise ValueError(f"{pages} pages of {image.width}x{image.height} are too large")
        if pages > MOST_CHANNELS:
            raise ValueError(f"it has {pages} pages; a page is a channel, at most {MOST_CHANNELS}")
        planes = [
            np.asarray(page.convert(PLAIN[page.mode]) if page.mode in PLAIN else page)
            for page in ImageSequence.Iterator(image)
        ]
    if len({(p.shape, p.dtype) for p in planes}) > 1:
        raise ValueError("its pages differ in size or type")
    return planes[0] if len(planes) == 1 else np.dstack(planes)


def scaled(values: np.ndarray, window: tuple[float, float] | None, name: str) -> np.ndarray:
    """Values as uint16, 0 to 65535.

    window: the values that become 0 and 65535, beyond which all is clipped; None: the
        range of the type, for integers without sign

    Raises `DataError` for other types without a window, and for NaN.
    """
    span = window or RANGES.get(values.dtype.name)
    if span is None:
        raise DataError(
            f"{name} holds {values.dtype}, from {values.min():g} to {values.max():g}: name the "
            "values that become black and white, as in --set 'data.window=[-1000,1000]'"
        )
    low, high = span
    unit = (values.astype(np.float64) - low) / (high - low)
    if not np.isfinite(unit).all():
        raise DataError(f"{name} has NaN or infinite values: replace them")
    return np.rint(unit.clip(0, 1) * 65535).astype(np.uint16)


def load_files(
    files: list[Path], size: tuple[int, int] | None, window: tuple[float, float] | None
) -> tuple[np.ndarray, int]:
    """(all files as uint16 [N, H, W, C], how many were smaller than `size`).

    size: (height, width); None: their own, which must be one

    Raises `DataError` for files that do not go together.
    """
    out: np.ndarray | None = None
    small = 0
    for i, path in enumerate(files):
        values = scaled(read(path), window, printable(path))
        small += size is not None and (values.shape[0] < size[0] or values.shape[1] < size[1])
        values = values if size is None else covering(values, size)
        if out is None:
            require_memory(values.nbytes * len(files), plural(len(files), "image"))
            out = np.empty((len(files), *values.shape), np.uint16)
        if values.shape != out.shape[1:]:
            one, other = (
                f"{h}x{w} with {plural(c, 'channel')}" for h, w, c in (out.shape[1:], values.shape)
            )
            raise DataError(
                f"{printable(path)} is {other} and {printable(files[0])} {one}: all images need "
                "the same channels, and one size or a size to scale to"
            )
        out[i] = values
    assert out is not None
    return out, int(small)


def sketch(x: Tensor) -> Tensor:
    """The edges of images [N, C, H, W]: dark lines on white, of the channels' mean."""
    return edges(x.mean(1, keepdim=True)).expand_as(x)


def digest(pixels: np.ndarray) -> str:
    """Hash of all pixels and their shape."""
    found = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    digest_rows(found, pixels)
    return found.hexdigest()
