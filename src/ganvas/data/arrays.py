"""Image sets in arrays: npz, CIFAR and the sets that ship with packages."""

from __future__ import annotations

import functools
import math
import string
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import open_regular, plural, reason, require_memory
from ganvas.core.json_files import Json
from ganvas.data import downloads
from ganvas.data.pictures import several
from ganvas.media.decode import Header
from ganvas.media.samples import Broken, as_image, eight_bit

MOST_CHANNELS = 16
MAX_RATIO = 1032  # largest ratio of unpacked to packed bytes that zlib's format allows


class Arrays:
    """Images of one array.

    pixels: uint8 [N, H, W, C]
    labels: [N], of any type that sorts, or None
    names: names of the classes 0, 1, ...; None: the labels' own values
    stamp: JSON-ready, changes if the images may have changed
    wide: the same images as they are stored, if that is in more than 8 bits
    notes: lines for the user
    """

    layout = "an array of images"

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray | None,
        names: Sequence[str] | None,
        stamp: Json,
        *,
        wide: np.ndarray | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.pixels, self._stamp, self._wide, self.notes = pixels, stamp, wide, list(notes)
        self.labels: np.ndarray | None = None
        self.classes: tuple[str, ...] = ()
        if labels is not None:
            values, index = np.unique(labels, return_inverse=True)
            if names is not None:  # every class of the set keeps its number, even if it is absent
                self.labels, self.classes = labels.astype(np.int64), tuple(names)
            elif len(values) > 1:
                self.labels, self.classes = (
                    index.reshape(-1).astype(np.int64),
                    tuple(printable(v) for v in values.tolist()),
                )

    def __len__(self) -> int:
        return len(self.pixels)

    def name(self, i: int) -> str:
        """The image's position: arrays have no file names."""
        return f"image {i}"

    def stamp(self) -> Json:
        """As given on creation."""
        return self._stamp

    def header(self, i: int) -> Header:
        """Size and mode, from the array's shape."""
        _, h, w, c = self.pixels.shape
        return Header(w, h, {1: "L", 3: "RGB", 4: "RGBA"}[c], c)

    def load(self, i: int) -> Image.Image:
        """The image in 8 bits."""
        return as_image(self.pixels[i])

    def deep(self, i: int) -> np.ndarray | None:
        """The image as stored, [H, W, C]; None for 8 bits."""
        return None if self._wide is None else self._wide[i]


Table = Callable[[str], Arrays | None]  # name of a part -> its images


@functools.cache
def _read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Gray levels [N, 64] and labels [N], which scikit-learn parses at each call."""
    from sklearn.datasets import load_digits

    images, labels = map(np.asarray, load_digits(return_X_y=True))
    return images, labels


def _digits(part: str) -> Arrays | None:
    """scikit-learn's 1,797 handwritten digits, 8x8, gray levels 0 to 16."""
    if part != "all":
        return None
    import sklearn

    images, labels = _read_digits()
    pixels = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    names = [str(i) for i in range(10)]
    return Arrays(pixels, labels.copy(), names, ["digits", sklearn.__version__])


def _letters(part: str) -> Arrays | None:
    """Capital letters in open typefaces, 32x32, black on white.

    No family is in two parts (`prepare/letters.py`).
    """
    with np.load(Path(__file__).parent / "sets" / "letters.npz", allow_pickle=False) as archive:
        in_part = archive["split"] == part
        if not in_part.any():
            return None
        pixels, labels = archive["images"][in_part][..., None], archive["labels"][in_part]
    return Arrays(
        pixels, labels, string.ascii_uppercase, ["letters", part, zlib.crc32(pixels.tobytes())]
    )


SHIPPED: dict[str, Table] = {"digits": _digits, "letters": _letters}
_NPZ_IMAGES = {
    "train": ("train_images", "x_train", "images", "x", "X", "data", "arr_0"),
    "test": ("test_images", "x_test"),
    "val": ("val_images", "x_val"),
}
_NPZ_LABELS = {
    "train": ("train_labels", "y_train", "labels", "y", "Y", "label", "targets"),
    "test": ("test_labels", "y_test"),
    "val": ("val_labels", "y_val"),
}


def npz_table(path: Path, white: int | None) -> Table:
    """An .npz file that holds images under one of the names in `_NPZ_IMAGES`."""
    shown = printable(path)
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            keys = list(dict.fromkeys(name.removesuffix(".npy") for name in archive.namelist()))
    except Exception as e:  # zipfile raises many kinds for a damaged directory
        raise UserError(
            f"{shown} is no readable .npz ({reason(e)}). Write it with numpy.savez."
        ) from None
    images = {p: next((k for k in names if k in keys), None) for p, names in _NPZ_IMAGES.items()}
    labels = {
        p: next((k for k in names if k in keys), None)
        for p, names in _NPZ_LABELS.items()
        if images[p]
    }
    if not any(images.values()):
        known = [k for names in _NPZ_IMAGES.values() for k in names]
        names = several([printable(k) for k in keys]) or "(none)"
        raise UserError(
            f"{shown} has the arrays {names}; images were expected as {', '.join(known)}"
        )
    unused = [printable(k) for k in keys if k not in {*images.values(), *labels.values()}]

    def table(part: str) -> Arrays | None:
        key, label = images.get(part), labels.get(part)
        if key is None:
            return None
        array = _member(path, key)
        notes = (
            [
                f"{plural(len(unused), 'array')} of {printable(path.name)} not used: "
                f"{several(unused)}"
            ]
            if unused
            else []
        )
        try:
            pixels, wide = nhwc(array, white)
        except Exception as e:  # Broken, or too little memory
            raise UserError(
                f"{shown}: the array {key!r} {e if isinstance(e, Broken) else reason(e)}"
            ) from None
        y = None if label is None else _member(path, label)
        if y is not None and (y.ndim == 0 or y.dtype.kind not in "iubUSfMm"):
            raise UserError(
                f"{shown}: the array {label!r} is {list(y.shape)} of {y.dtype}; expected a label "
                "for each image"
            )
        if y is not None and len(y) != len(pixels):
            raise UserError(
                f"{shown} has {plural(len(pixels), 'image')} and {plural(len(y), 'label')}; "
                "expected one label for each image"
            )
        if y is not None and y.size != len(y):
            notes.append(
                f"{label} has {y.size // len(y)} labels for each image, none of which is its "
                "class: not used"
            )
            y = None
        y = None if y is None else y.reshape(-1)
        return Arrays(pixels, y, None, [*file_stamp(path), part], wide=wide, notes=notes)

    return table


def _member(path: Path, key: str) -> np.ndarray:
    """An array of an .npz file.

    The size that its header announces is compared with the file's before it is
    unpacked. Raises `UserError` for a damaged array.
    """
    what = f"{printable(path)}: the array {key!r}"
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            info = archive.getinfo(f"{key}.npy" if f"{key}.npy" in names else key)
            require_memory(info.file_size, what)
            if (
                info.compress_type == zipfile.ZIP_DEFLATED
                and info.file_size > 2000 + MAX_RATIO * info.compress_size
            ):
                raise UserError(
                    f"{what} announces more than its {info.compress_size} bytes can unpack to"
                )
            with archive.open(info) as member:
                npy_header(member, info.file_size)
            with archive.open(info) as member:
                return np.lib.format.read_array(member, allow_pickle=False)
    except UserError:
        raise
    except Exception as e:
        raise UserError(f"{what} cannot be read ({reason(e)})") from None


def npy_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype]:
    """(shape, type) of an array in the form of numpy.save.

    size: bytes of the file

    Raises `ValueError` for a header that promises more than follows, or objects.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"its format is {version[0]}.{version[1]}; expected 1.0 to 3.0")
    # 3.0 is 2.0 with field names in UTF-8; numbers have no fields
    form = np.lib.format
    read_header = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
    shape, _, kind = read_header(file)
    rest = size - file.tell()
    damaged = min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize > rest
    if damaged or kind.hasobject or not kind.itemsize:
        raise ValueError(f"its header announces {list(shape)} of {kind}, and {rest} bytes follow")
    return shape, kind


def npy_image(file: IO[bytes], size: int, *, header: bool = False) -> np.ndarray:
    """One image of a file of numpy.save, [H, W, C].

    size: bytes of the file
    header: read no pixels: the result has the shape and the type only

    Raises `Broken` for damaged files and for other shapes.
    """
    try:
        start = file.tell()
        shape, kind = npy_header(file, size)
        if header:
            values = np.broadcast_to(np.zeros((), kind), shape)
        else:
            file.seek(start)
            values = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as e:  # numpy raises many kinds for damaged files
        raise Broken(reason(e)) from None
    return channels_last(values.astype(kind.newbyteorder("="), copy=False))


def channels_last(values: np.ndarray) -> np.ndarray:
    """One image [H, W], [H, W, C] or [C, H, W] of 1 to 16 channels as [H, W, C].

    Raises `Broken` for other shapes.
    """
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim == 3 and values.shape[2] > MOST_CHANNELS >= values.shape[0]:
        values = values.transpose(1, 2, 0)
    if values.ndim != 3 or not 1 <= values.shape[2] <= MOST_CHANNELS or not values.size:
        raise Broken(
            f"has the shape {list(values.shape)}; expected [H, W] or [H, W, channels] with 1 to "
            f"{MOST_CHANNELS} channels"
        )
    return values


def nhwc(a: np.ndarray, white: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """(uint8 [N, H, W, C], the same as stored if that is in more than 8 bits)."""
    if a.ndim == 3:
        a = a[..., None]
    if a.ndim == 4 and a.shape[3] not in (1, 3, 4) and a.shape[1] in (1, 3, 4):
        a = a.transpose(0, 2, 3, 1)
    if a.ndim != 4 or a.shape[3] not in (1, 3, 4):
        raise Broken(
            f"has the shape {list(a.shape)}; expected [N, H, W] or [N, H, W, C] with 1, 3 or 4 "
            "channels"
        )
    if not a.size:
        raise Broken("is empty")
    narrow = np.ascontiguousarray(eight_bit(a, white))
    return narrow, a if a.dtype.kind in "iu" and a.dtype.itemsize > 1 and a.max() > 255 else None


def cifar_table(path: Path) -> Table:
    """CIFAR-10 in its binary version (https://www.cs.toronto.edu/~kriz/cifar.html).

    Records of a label and 3 x 32 x 32 bytes.
    """

    def table(part: str) -> Arrays | None:
        if part not in ("train", "test"):
            return None
        data = downloads.tar_members(path, "data_batch_" if part == "train" else "test_batch")
        if not data or len(data) % 3073:
            raise UserError(
                f"{printable(path)} is damaged: its records are {len(data)} bytes. Remove it to "
                "load it again"
            )
        records = np.frombuffer(data, np.uint8).reshape(-1, 3073)
        pixels = np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        return Arrays(
            pixels, records[:, 0], downloads.SETS["cifar10"].classes, [*file_stamp(path), part]
        )

    return table


def file_stamp(path: Path) -> list[Json]:
    """JSON-ready [absolute path, size in bytes, time of the last change in ns]."""
    s = path.stat()
    return [str(path.resolve()), s.st_size, s.st_mtime_ns]
