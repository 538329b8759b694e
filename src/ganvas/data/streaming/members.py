"""The samples of a shard: where in a tar file their images lie.

Members are plain files of the ustar format, named `000012.jpg` (or `000012.a.png` and
`000012.b.png`) and `000012.cls`, as in WebDataset. A name only tells which sample a
member belongs to and what it is: none is ever opened or written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from ganvas.core.errors import printable
from ganvas.data.trees import MAX_FILE
from ganvas.media.decode import EXTENSIONS
from ganvas.media.samples import Broken

BLOCK = 512  # bytes: the unit of the tar format
LABEL = "cls"  # ending of a file that holds a label
MOST_LABEL = 20  # bytes of such a file


class Members(NamedTuple):
    """The samples of a shard, in their order.

    starts, sizes: of the images' files in the tar file, int64 [samples, sides]
    labels: int64 [samples], -1 without
    """

    starts: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray


def scan(file: BinaryIO, count: int, classes: int, sides: Sequence[str]) -> Members:
    """Find the samples of a tar file.

    count: number of samples that it must hold
    classes: number of classes, below which labels lie
    sides: "a" and "b" for pairs, else ""

    Raises `Broken` for everything that `ganvas data pack` would not write: other kinds
    of members, impossible sizes, other numbers of samples.
    """
    starts, sizes = (np.full((count, len(sides)), -1, np.int64) for _ in range(2))
    labels = np.full(count, -1, np.int64)
    end, at, key, sample = os.fstat(file.fileno()).st_size, 0, "", -1
    while True:
        file.seek(at)
        header = file.read(BLOCK)
        if len(header) < BLOCK:
            raise Broken("ends without the end of a tar file")
        if not header.strip(b"\0"):
            break
        name, size = _member(header)
        start, at = at + BLOCK, at + BLOCK + -(-size // BLOCK) * BLOCK
        if at > end:
            raise Broken(f"is cut off within its member {printable(name)}")
        stem, _, ending = name.partition(".")
        if stem != key:
            key, sample = stem, sample + 1
            if sample >= count:
                raise Broken(f"holds more than {count} samples")
        if ending == LABEL:
            labels[sample] = _label(file.read(min(size, MOST_LABEL)), name, classes)
            continue
        side, _, ending = ("." + ending).rpartition(".")
        side = side.removeprefix(".")
        if side not in sides or f".{ending.lower()}" not in EXTENSIONS or size > MAX_FILE:
            raise Broken(
                f"holds {printable(name)} of {size:,} bytes, which is no image of a sample"
            )
        column = sides.index(side)
        if starts[sample, column] >= 0:
            raise Broken(f"holds {printable(name)} twice")
        starts[sample, column], sizes[sample, column] = start, size
    if sample + 1 < count or (starts < 0).any():
        raise Broken(f"holds {sample + 1} samples, or some without an image; expected {count}")
    return Members(starts, sizes, labels)


def _member(header: bytes) -> tuple[str, int]:
    """(name, size) of a member, from its block of the ustar format."""
    name = header[:100].rstrip(b"\0").decode("utf-8", "backslashreplace")
    digits = header[124:136].strip(b"\0 ")
    if header[257:262] != b"ustar" or header[156:157] not in (b"0", b"\0") or not digits.isdigit():
        raise Broken(f"has a member that is no plain file: {printable(name)}")
    try:
        return name, int(digits, 8)
    except ValueError:
        raise Broken(f"has a member of no possible size: {printable(name)}") from None


def _label(text: bytes, name: str, classes: int) -> int:
    try:
        label = int(text)
    except ValueError:
        label = -1
    if not 0 <= label < classes:
        raise Broken(f"has the label {printable(text[:8])} in {printable(name)}, of {classes}")
    return label
