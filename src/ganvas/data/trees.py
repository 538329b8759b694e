"""Folders and zip files as trees of image files."""

from __future__ import annotations

import errno
import os
import re
import stat
import zipfile
from collections import Counter
from io import BytesIO, RawIOBase
from pathlib import Path, PurePosixPath
from typing import IO, cast

import numpy as np
from PIL import Image

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import open_regular, reason
from ganvas.data import dataset_json
from ganvas.data.file_index import FileIndex, FileIndexBuilder
from ganvas.media.decode import EXTENSIONS, Header, deep, read, read_header
from ganvas.media.samples import Broken

ARRAY = ".npy"  # of measurements: taken for images if a tree has no others
MAX_FILE = 1 << 30  # bytes of one encoded image; a zip entry may claim to unpack to anything
PLAUSIBLE_FILE = 1 << 26  # bytes that a zip entry may unpack to, whatever its packed size
MAX_RATIO = 100  # of unpacked to packed size beyond that: images are already compressed


class Folder:
    """A folder and everything below it; links are followed.

    white: see `ganvas.data.images`
    """

    def __init__(self, root: Path, white: int | None = None) -> None:
        self.root, self.title, self.white = root, printable(root.name or root), white
        self.inventory = Inventory()
        index = FileIndexBuilder()
        self._walk(index)
        self.entries = self.inventory.listing(index)

    def _walk(self, index: FileIndexBuilder) -> None:
        waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
        while waiting:
            prefix, above = waiting.pop()
            folder = self.root / prefix
            try:
                here = folder.stat()
                if (here.st_dev, here.st_ino) in above:  # a link to a folder above it
                    continue
                above |= {(here.st_dev, here.st_ino)}
                with os.scandir(folder) as listing:
                    below = [f.name for f in listing if self._add(f, prefix, index)]
            except OSError as e:
                raise UserError(
                    f"the folder {printable(folder)} cannot be read: {reason(e)}"
                ) from None
            self.inventory.folders.update(prefix + name for name in below)
            waiting += [(f"{prefix}{name}/", above) for name in reversed(below)]

    def _add(self, f: os.DirEntry[str], prefix: str, index: FileIndexBuilder) -> bool:
        """Enter a file into the index. Returns whether `f` is a folder instead."""
        if is_hidden(f.name):
            return False
        try:
            if f.is_dir():
                return True
            s = f.stat()
            size, changed = (s.st_size, s.st_mtime_ns) if stat.S_ISREG(s.st_mode) else (0, 0)
        except OSError:  # a link to nowhere or to itself: reading it raises an error that names it
            size, changed = 0, 0
        self.inventory.add(prefix + f.name, index, size, changed)
        return False

    def stamp(self) -> str:
        """The absolute path; times are those of the index."""
        return str(self.root.resolve())

    def header(self, name: str) -> Header:
        """As `ganvas.media.decode.read_header`. Raises `Broken`."""
        with self._open(name) as file:
            return read_header(file)

    def load(self, name: str) -> Image.Image:
        """As `ganvas.media.decode.read`. Raises `Broken`."""
        with self._open(name) as file:
            return read(file, white=self.white)

    def deep(self, name: str) -> np.ndarray | None:
        """As `ganvas.media.decode.deep`. Raises `Broken`."""
        with self._open(name) as file:
            return deep(file)

    def contents(self, name: str) -> bytes:
        """The bytes of a file, of which at most `MAX_FILE` are read."""
        with self._open(name) as file:
            return file.read(MAX_FILE)

    def open(self, name: str) -> IO[bytes]:
        """A file, open for reading. Raises `Broken`."""
        return self._open(name)

    def _open(self, name: str) -> IO[bytes]:
        # The index has names in UTF-8; this system's names may be encoded otherwise.
        path = self.root / os.fsdecode(name.encode("utf-8", "surrogateescape"))
        try:
            return open_regular(path)
        except OSError as e:
            if e.errno in (
                errno.EMFILE,
                errno.ENFILE,
                errno.ENOMEM,
            ):  # of this process, not of the image
                raise UserError(f"{printable(path)} cannot be opened: {reason(e)}") from None
            raise Broken(reason(e)) from None


class Zip:
    """A zip file, read in place without unpacking.

    white: see `ganvas.data.images`

    Raises `UserError` for a member whose name points outside of the archive.
    """

    def __init__(self, path: Path, white: int | None = None) -> None:
        self.path, self.title, self.white = path, printable(path.name), white
        try:
            open_regular(path).close()  # zipfile would wait for a pipe
            self.zip = zipfile.ZipFile(path)
            members = self.zip.infolist()
        except Exception as e:  # zipfile raises many kinds for a damaged directory
            raise UserError(
                f"{printable(path)} is no readable zip file ({reason(e)}). Is it complete? Pack or "
                "download it again."
            ) from None
        self.inventory = Inventory()
        index = FileIndexBuilder()
        for info in members:
            name = info.filename.replace("\\", "/")
            parts = PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
                raise UserError(
                    f"{printable(path)} has a member named '{printable(info.filename)}', which "
                    "points outside of the archive: refused. Do not trust this file; pack the "
                    "images again yourself if you know where they come from."
                )
            if any(map(is_hidden, parts)):
                continue
            if info.is_dir():
                self.inventory.folders.add(name.rstrip("/"))
            else:  # a damaged directory may claim sizes beyond 64 bits
                self.inventory.add(
                    info.filename, index, min(info.file_size, (1 << 63) - 1), info.CRC
                )
        self.entries = self.inventory.listing(index)

    def stamp(self) -> str:
        """The absolute path; checksums are those of the index."""
        return str(self.path.resolve())

    def header(self, name: str) -> Header:
        """As `ganvas.media.decode.read_header`. Raises `Broken`."""
        with self._open(name) as member:
            return read_header(cast(IO[bytes], _Seekable(member)))

    def load(self, name: str) -> Image.Image:
        """As `ganvas.media.decode.read`. Raises `Broken`."""
        return read(BytesIO(self.contents(name)), white=self.white)

    def deep(self, name: str) -> np.ndarray | None:
        # decompression is slow: only if the header promises more than 8 bits
        """As `ganvas.media.decode.deep`. Raises `Broken`."""
        return (
            deep(BytesIO(self.contents(name))) if self.header(name).mode.startswith("I") else None
        )

    def contents(self, name: str) -> bytes:
        """The bytes of a member. Raises `Broken` for a damaged one."""
        with self._open(name) as file:
            try:
                return file.read()
            except Exception as e:  # a damaged member: zlib's errors, wrong checksums
                raise Broken(f"damaged inside the zip file ({reason(e)})") from None

    def open(self, name: str) -> IO[bytes]:
        """The bytes of a member as a file. Raises `Broken`."""
        return BytesIO(self.contents(name))

    def _open(self, name: str) -> IO[bytes]:
        try:
            info = self.zip.getinfo(name)
            if info.file_size > MAX_FILE:
                raise Broken("unpacks to more than 1 GiB, refused as a possible bomb")
            if info.file_size > max(PLAUSIBLE_FILE, MAX_RATIO * info.compress_size):
                ratio = f"more than {MAX_RATIO} times its size"
                raise Broken(f"unpacks to {ratio}, refused as a possible bomb")
            return self.zip.open(name)
        except Broken:
            raise
        except Exception as e:  # encrypted, or a compression that this Python lacks
            raise Broken(reason(e)) from None


class _Seekable(RawIOBase):
    """A member of a zip file that is decompressed once, however often it is rewound.

    A TIFF header jumps forth and back, and zipfile decompresses from the beginning
    after each jump back.
    """

    def __init__(self, member: IO[bytes]) -> None:
        self._member, self._buffer, self._end = member, BytesIO(), False

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._buffer.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            self._fill(MAX_FILE)
        return self._buffer.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        self._fill(MAX_FILE if size is None or size < 0 else self._buffer.tell() + size)
        return self._buffer.read(size)

    def _fill(self, stop: int) -> None:
        """Decompress up to position `stop`."""
        position = self._buffer.tell()
        length = self._buffer.seek(0, os.SEEK_END)
        while length < stop and not self._end:
            block = self._member.read(min(stop - length, 1 << 20))
            self._end = not block
            length += self._buffer.write(block)
        self._buffer.seek(position)


class Inventory:
    """The contents of a tree besides images.

    folders: paths of all folders
    others: numbers of other files by their endings
    labels: paths of files named dataset.json
    """

    def __init__(self) -> None:
        self.folders: set[str] = set()
        self.others: Counter[str] = Counter()
        self.labels: list[str] = []
        self._arrays = FileIndexBuilder()

    def add(self, name: str, index: FileIndexBuilder, size: int, changed: int) -> None:
        """Enter a file into the index if it is an image, else count it here."""
        if is_image(name):
            index.add(name, size, changed)
        elif name.rpartition("/")[2] == dataset_json.NAME:
            self.labels.append(name)
        else:
            ending = os.path.splitext(name)[1].lower()
            if ending == ARRAY:
                self._arrays.add(name, size, changed)
            self.others[printable(ending) or "no ending"] += 1

    def listing(self, index: FileIndexBuilder) -> FileIndex:
        """The images of the tree; without any, its arrays (.npy), one image each."""
        images = index.listing()
        if len(images):
            return images
        arrays = self._arrays.listing()
        if len(arrays):
            del self.others[ARRAY]
        return arrays

    def empty(self, entries: FileIndex) -> list[str]:
        """Names of the topmost folders that hold no images."""
        used = {"/".join(f[:i]) for f in entries.folders for i in range(1, len(f) + 1)}
        bare = self.folders - used
        return sorted(printable(f) for f in bare if f.rpartition("/")[0] not in bare)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out: the system's own."""
    return name.startswith(".") or name == "__MACOSX"


Tree = Folder | Zip


def is_image(name: str) -> bool:
    """Whether the ending is one of `EXTENSIONS`; the contents are not read."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS
