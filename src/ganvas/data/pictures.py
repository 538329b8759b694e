"""Image sets: uniform access to the images of a source."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Literal, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from ganvas.core.errors import UserError, printable
from ganvas.core.json_files import Json
from ganvas.data.file_index import FileIndex
from ganvas.data.trees import Tree
from ganvas.media.decode import Header
from ganvas.media.samples import Broken

Part = Literal["train", "test"]
AnyPart = Literal["train", "test", "val"]
PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
}
PARTS["validation"] = "val"


class ImageSet(Protocol):
    """A sequence of images that are not decoded yet.

    labels: indices into `classes`, int64 [N], or None
    """

    @property
    def labels(self) -> np.ndarray | None:
        """Indices into `classes`, int64 [N], -1 without; None if no image has one."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty for unlabeled images."""
        ...

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """Name of image `i`, one printable line."""
        ...

    def stamp(self) -> Json:
        """JSON-ready value that changes if the images may have changed."""
        ...

    def header(self, i: int) -> Header:
        """Size, mode and channels of image `i`. Raises `Broken`."""
        ...

    def load(self, i: int) -> Image.Image:
        """Image `i` in mode L, RGB or RGBA. Raises `Broken`."""
        ...

    def deep(self, i: int) -> np.ndarray | None:
        """Stored values of a gray image of more than 8 bits; None for others.

        Raises `Broken`.
        """
        ...


@runtime_checkable
class Encoded(Protocol):
    """An image set of encoded files.

    half: 0 or 1: the left or right half of each is the image; None: the whole
    """

    @property
    def half(self) -> int | None:
        """Which half of a file the image is."""
        ...

    def file(self, i: int) -> IO[bytes]:
        """The file of image `i`. Raises `Broken`."""
        ...


@dataclass
class Files:
    """Image files of a tree.

    labels: indices into `classes`, int64 [N], -1 for an image without one, or None
    half: 0 or 1: the left or right half of each; None: the whole
    """

    tree: Tree
    entries: FileIndex
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    half: int | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, i: int) -> str:
        """Path in the tree, in printable characters."""
        return printable(self.entries[i].name)

    def stamp(self) -> Json:
        """From names, sizes and times of all files, their labels and `half`."""
        labels = (
            None
            if self.labels is None
            else hashlib.blake2b(self.labels.tobytes(), digest_size=16).hexdigest()
        )
        return [self.tree.stamp(), self.half, labels, self.entries.digest()]

    def header(self, i: int) -> Header:
        """Size of the image or of its half.

        Raises `Broken` for an unreadable file, and for one that is no pair of halves.
        """
        header = self.tree.header(self.entries[i].name)
        return header if self.half is None else halved(header)

    def load(self, i: int) -> Image.Image:
        """The image, or its left or right half."""
        image = self.tree.load(self.entries[i].name)
        return image if self.half is None else half_of(image, self.half)

    def deep(self, i: int) -> np.ndarray | None:
        """The whole image: `half` is ignored."""
        return self.tree.deep(self.entries[i].name)

    def file(self, i: int) -> IO[bytes]:
        """The file that holds the image, in memory."""
        return BytesIO(self.tree.contents(self.entries[i].name))


def halved(header: Header) -> Header:
    """The header of one half of A|B. Raises `Broken` for an image that is no pair."""
    width, height = header.width, header.height
    if width < 1.3 * height or (width % 2 and width < 1.9 * height):
        raise Broken(
            f"is {width}x{height}: A|B in one image needs an even width of two equal halves, at "
            "least 1.3 times the height; this is one image, not a pair"
        )
    return header._replace(width=width // 2)


def half_of(image: Image.Image, half: int) -> Image.Image:
    """The left (0) or right (1) half of A|B."""
    width = image.width // 2
    return image.crop(
        (half * (image.width - width), 0, width if half == 0 else image.width, image.height)
    )


class Concatenated:
    """Two image sets as one, with the classes A and B."""

    classes: tuple[str, ...] = ("A", "B")

    def __init__(self, a: ImageSet, b: ImageSet) -> None:
        self.a, self.b = a, b
        self.labels: np.ndarray | None = np.repeat(np.arange(2), [len(a), len(b)])

    def __len__(self) -> int:
        return len(self.a) + len(self.b)

    def place(self, i: int) -> tuple[ImageSet, int]:
        """(the set that holds an image, its number there)."""
        return (self.a, i) if i < len(self.a) else (self.b, i - len(self.a))

    def name(self, i: int) -> str:
        """The name in the image's own set: both sets may have it."""
        image_set, at = self.place(i)
        return image_set.name(at)

    def stamp(self) -> Json:
        """Both sets' stamps."""
        return [self.a.stamp(), self.b.stamp()]

    def header(self, i: int) -> Header:
        """From the image's own set."""
        image_set, at = self.place(i)
        return image_set.header(at)

    def load(self, i: int) -> Image.Image:
        """From the image's own set."""
        image_set, at = self.place(i)
        return image_set.load(at)

    def deep(self, i: int) -> np.ndarray | None:
        """From the image's own set."""
        image_set, at = self.place(i)
        return image_set.deep(at)


@dataclass
class Selection:
    """The image sets of a source for one task.

    title: name of the source, printable
    layout: description for the user
    part: the opened part
    sets: "x" -> images, or "a" and "b" -> images
    notes: lines for the user
    others: numbers of files that are not images, by their endings
    """

    title: str
    layout: str
    part: str
    sets: Mapping[str, ImageSet]
    notes: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def endings_summary(endings: Mapping[str, int]) -> str:
    """`.txt: 3, .heic: 1`: numbers of files by ending, the largest first."""
    return several(
        [f"{e}: {n}" for e, n in sorted(endings.items(), key=lambda kind: (-kind[1], kind[0]))]
    )


def several(names: Sequence[str], most: int = 10) -> str:
    """Up to `most` names, then the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def checked_white(white: int | None) -> int | None:
    """`white`, if it is valid. Raises `UserError` otherwise."""
    if white is not None and not 1 <= white <= 65535:
        raise UserError(
            f"got white={white}; expected the value that becomes 255, from 1 to 65535 (4095 for 12 "
            "bits)"
        )
    return white
