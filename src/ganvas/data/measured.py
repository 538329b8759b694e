"""Images as measurements: all channels and values of a file, and pages as images."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import IO, NamedTuple, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from ganvas.core.errors import DataError, UserError
from ganvas.core.guards import plural
from ganvas.core.json_files import Json
from ganvas.data.arrays import Arrays, npy_image
from ganvas.data.pictures import Concatenated, Files, ImageSet, Selection, several
from ganvas.data.streaming.shards import Shards
from ganvas.data.trees import ARRAY
from ganvas.media import decode, tiff
from ganvas.media.decode import Header
from ganvas.media.samples import Broken, as_image
from ganvas.media.values import INTEGERS, Span, Values, checked_window

TIFF = (".tif", ".tiff")


class Form(NamedTuple):
    """The images of a file.

    images: their number
    type: of the values, a name of numpy's
    bits: of a value that the file declares to use
    """

    images: int
    height: int
    width: int
    channels: int
    type: str
    bits: int


@runtime_checkable
class WithValues(Protocol):
    """An image set that gives the stored values, if its images are measurements."""

    def values(self, i: int) -> np.ndarray:
        """The stored values, [H, W, C]. Raises `Broken`."""
        ...


class Measured:
    """The images of a set with the values that are stored; pages of a TIFF are images.

    counts: images of each file, 1 for an unreadable one
    forms: of each file, or why it cannot be read
    """

    def __init__(self, images: ImageSet) -> None:
        """Read all headers. Raises `UserError` for sets of another kind."""
        self.images, self._opened = images, ExitStack()
        self._last: tuple[int, int, tiff.Stack] | None = None
        weakref.finalize(self, self._opened.close)
        self.forms: list[Form | Broken] = []
        for i in range(len(images)):
            try:
                self.forms.append(self._form(i))
            except Broken as e:
                self.forms.append(e)
        self.counts = [f.images if isinstance(f, Form) else 1 for f in self.forms]
        self._files = np.repeat(np.arange(len(images)), self.counts)
        first = np.cumsum([0, *self.counts[:-1]])
        self._pages = np.arange(len(self._files)) - first[self._files]

    @property
    def labels(self) -> np.ndarray | None:
        """Of each image, that of its file."""
        return None if self.images.labels is None else self.images.labels[self._files]

    @property
    def classes(self) -> tuple[str, ...]:
        """As of the files."""
        return self.images.classes

    def __len__(self) -> int:
        return len(self._files)

    def name(self, i: int) -> str:
        """Name of the file, and of the page if there are several."""
        file = int(self._files[i])
        page = f" page {self._pages[i]}" if self.counts[file] > 1 else ""
        return f"{self.images.name(file)}{page}"

    def readable(self) -> list[Form]:
        """The forms of the files that can be read."""
        return [form for form in self.forms if isinstance(form, Form)]

    def stamp(self) -> Json:
        """From the files' stamp."""
        return ["measured", self.images.stamp()]

    def header(self, i: int) -> Header:
        """Size, type (as the mode) and channels. Raises `Broken`."""
        form = self.forms[int(self._files[i])]
        if isinstance(form, Broken):
            raise form
        return Header(form.width, form.height, form.type, form.channels)

    def values(self, i: int) -> np.ndarray:
        """The stored values, [H, W, C]. Raises `Broken`."""
        file, page = int(self._files[i]), int(self._pages[i])
        image_set, at, half = _at(self.images, file)
        if isinstance(image_set, Arrays):
            return _stored(image_set, at)
        values = self._read(image_set, at, page)
        if half is None:
            return values
        middle = values.shape[1] // 2
        return values[:, :middle] if half == 0 else values[:, values.shape[1] - middle :]

    def load(self, i: int) -> Image.Image:
        """A preview in 8 bits of the first channel. Raises `Broken`."""
        values = np.nan_to_num(self.values(i)[..., :1].astype(np.float64))
        low, span = values.min(), max(float(np.ptp(values)), 1e-30)
        return as_image(((values - low) * (255 / span)).astype(np.uint8))

    def deep(self, i: int) -> np.ndarray | None:
        """As `values`; None for 8 bits."""
        values = self.values(i)
        return None if values.dtype == np.uint8 else values

    def _form(self, file: int) -> Form:
        image_set, at, half = _at(self.images, file)
        if isinstance(image_set, Arrays):
            return _form_of(_stored(image_set, at))
        header = image_set.header(at) if half is not None else None  # checks the halves
        if _is(image_set, at, ARRAY):
            entry = image_set.entries[at]
            with _open(image_set, at) as opened:
                return _form_of(npy_image(opened, entry.size, header=True))
        if not _is_tiff(image_set, at):
            found = _form_of(self._read(image_set, at, 0))
        else:
            with _open(image_set, at) as opened:
                stack = tiff.Stack(opened, decode.MAX_PIXELS)
                found = Form(
                    stack.count,
                    stack.height,
                    stack.width,
                    stack.channels,
                    stack.dtype.name,
                    stack.bits,
                )
        return found if header is None else found._replace(width=found.width // 2)

    def _read(self, files: Files, at: int, page: int) -> np.ndarray:
        if _is(files, at, ARRAY):
            with _open(files, at) as opened:
                return npy_image(opened, files.entries[at].size)
        if not _is_tiff(files, at):
            with _open(files, at) as opened:
                return decode.decode(opened).samples()
        # The pages of a stack are read one after the other: its file stays open.
        if self._last is None or self._last[:2] != (id(files), at):
            self._last = None
            self._opened.close()
            opened = self._opened.enter_context(_open(files, at))
            self._last = id(files), at, tiff.Stack(opened, decode.MAX_PIXELS)
        return self._last[2].read(page)


def values_of(images: ImageSet, i: int) -> np.ndarray:
    """The stored values of an image of `Measured`, [H, W, C]. Raises `Broken`."""
    assert isinstance(images, Measured)
    return images.values(i)


def as_measured(
    found: Selection,
    window: Span | None,
    *,
    white: int | None = None,
    channels: int | None = None,
) -> tuple[Selection, Values | None]:
    """A selection as measurements, and the range of their values.

    window, white, channels: see `ganvas.data.images`; without a window, the selection
        stays as it is

    Raises `UserError` for what does not go together with measurements.
    """
    window = checked_window(window)
    if window is None:
        if any(map(_are_arrays, found.sets.values())):
            raise UserError(
                f"{found.title} holds arrays (.npy), whose values are no gray levels: say which "
                "become black and white, as in --set 'data.window=[0,4095]', or "
                "--set data.window=type for the range of 8 or 16 bits"
            )
        return found, None
    if white is not None:
        raise UserError("got both white and window; window alone says what becomes white")
    if all(isinstance(images, Shards) for images in found.sets.values()):
        raise UserError(f"{found.title} is read from shards, which hold no measurements")
    sets, values = _measured(found.sets, window)
    theirs = max(form.channels for images in sets.values() for form in images.readable())
    if channels not in (None, theirs):
        raise UserError(f"got {channels} channels; the images have {theirs}, which are kept")
    return replace(found, sets=sets), values


def _measured(sets: Mapping[str, ImageSet], window: Span) -> tuple[dict[str, Measured], Values]:
    """The sets as measurements, and the range of all their values.

    Raises `UserError` for files of different types or numbers of channels.
    """
    found = {name: Measured(images) for name, images in sets.items()}
    forms = [form for images in found.values() for form in images.readable()]
    if not forms:
        broken = [
            f"{images.images.name(i)}: {f}"
            for images in found.values()
            for i, f in enumerate(images.forms)
        ]
        raise DataError(f"none of the images can be read: {several(broken)}")
    for what, kinds in (
        ("types", {f.type for f in forms}),
        ("numbers of channels", {f.channels for f in forms}),
    ):
        if len(kinds) > 1:
            raise DataError(
                f"the images have {len(kinds)} {what} ({several(sorted(map(str, kinds)))}); "
                "expected one for a whole data set: convert them"
            )
    kind, bits = forms[0].type, max(f.bits for f in forms)
    if window == "type" and kind == "uint16" and 8 < bits < 16:
        window = (0.0, float((1 << bits) - 1))
    return found, Values.of(kind, window)


def require_equal_stacks(a: ImageSet, b: ImageSet) -> None:
    """Raise `UserError` unless the i-th files of two sets hold as many images."""
    if not (isinstance(a, Measured) and isinstance(b, Measured)):
        return
    for i, (one, other) in enumerate(zip(a.counts, b.counts, strict=True)):
        if one == other:
            continue
        for side in (a, b):
            if isinstance(side.forms[i], Broken):
                raise UserError(f"{side.images.name(i)}: {side.forms[i]}")
        raise UserError(
            f"{a.images.name(i)} holds {plural(one, 'image')} and {b.images.name(i)} {other}; "
            "expected pairs of stacks of equal length"
        )


def _at(images: ImageSet, i: int) -> tuple[Files | Arrays, int, int | None]:
    """(the set that holds a file, the file's number there, its half)."""
    if isinstance(images, Concatenated):
        return _at(*images.place(i))
    if isinstance(images, Files):
        return images, i, images.half
    if isinstance(images, Arrays):
        return images, i, None
    raise UserError("data.window is for image files and arrays")


def _stored(arrays: Arrays, i: int) -> np.ndarray:
    wide = arrays.deep(i)
    return arrays.pixels[i] if wide is None else wide


def _form_of(pixels: np.ndarray) -> Form:
    height, width, channels = pixels.shape
    return Form(1, height, width, channels, pixels.dtype.name, 8 * pixels.dtype.itemsize)


def _is_tiff(files: Files, at: int) -> bool:
    return _is(files, at, *TIFF)


def _is(files: Files, at: int, *endings: str) -> bool:
    return os.path.splitext(files.entries[at].name)[1].lower() in endings


def _are_arrays(images: ImageSet) -> bool:
    """Whether image files are arrays, as all of a tree are if one is."""
    return isinstance(images, Files) and len(images) > 0 and _is(images, 0, ARRAY)


def _open(files: Files, at: int) -> IO[bytes]:
    return files.tree.open(files.entries[at].name)


def is_measured(images: ImageSet, most: int = 16) -> bool:
    """Whether the first TIFF files of a set are no photographs, or its files arrays.

    These are of more than 8 bits, of 2 or of more than 4 channels, or stacks.
    """
    if not isinstance(images, Files) or images.half is not None:
        return False
    if _are_arrays(images):
        return True
    numbers = [i for i in range(len(images)) if _is_tiff(images, i)][:most]
    for i in numbers:
        try:
            with _open(images, i) as opened:
                stack = tiff.Stack(opened, decode.MAX_PIXELS)
                if stack.dtype != np.uint8 or stack.count > 1 or stack.channels not in (1, 3, 4):
                    return True
        except Broken:
            continue
    return False


def window_for(kind: str, low: float, high: float, kinds: int) -> tuple[str, str]:
    """A note about the values of measurements, and the setting that keeps them.

    kind: type of the values; low, high: the least and the largest
    kinds: number of types in the data set
    """
    if kinds > 1:
        return "the images have several types: convert them to one", ""
    bits = max(int(high).bit_length(), 1)
    if kind == "uint16" and 8 < bits < 16:
        return (
            f"{bits} bits in 16: the largest value is {high:,.0f} of 65,535. The range of the type "
            f"would leave most of it empty; data.window says which values become black and white",
            f" --set 'data.window=[0,{(1 << bits) - 1}]'",
        )
    if kind in INTEGERS:
        return (
            "measurements: data.window=type keeps all bits and channels, within the range of the "
            "type",
            " --set data.window=type",
        )
    return (
        f"{kind} has no range of its own: choose the values that become black and white, the same "
        "for every image that is to be translated",
        f" --set 'data.window=[{low:g},{high:g}]'",
    )


def white_for(brightest: int | None) -> int | None:
    """The largest value of as many bits as `brightest` has, at least 255.

    brightest: of images of more than 8 bits; None: there are none

    Returns None if there is nothing to set, as `brightest` uses all 16 bits.
    """
    if brightest is None or brightest >= 1 << 15:
        return None
    return max((1 << brightest.bit_length()) - 1, 255)
