"""Compact index of the files of a folder or a zip file.

Names are concatenated in one buffer and numbers are in arrays, for millions of
files.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Entry(NamedTuple):
    """A file in a tree.

    name: path with forward slashes
    size: in bytes
    changed: time of the last change, or a checksum
    """

    name: str
    size: int
    changed: int


class FileIndexBuilder:
    """Collect files in any order; `listing` sorts them by name."""

    def __init__(self) -> None:
        self.names, self.ends = bytearray(), array("q")
        self.sizes, self.changed, self.folder = array("q"), array("q"), array("l")
        self.folders: dict[str, int] = {}

    def add(self, name: str, size: int, changed: int) -> None:
        """Add a file, as described by `Entry`."""
        self.names += name.encode("utf-8", "surrogateescape")
        self.ends.append(len(self.names))
        self.sizes.append(size)
        self.changed.append(changed)
        self.folder.append(self.folders.setdefault(name.rpartition("/")[0], len(self.folders)))

    def listing(self) -> FileIndex:
        """Index of the collected files, in the order of their names."""
        folders = tuple(tuple(f.split("/")) if f else () for f in self.folders)
        ends, sizes, changed, folder = (
            np.array(a) for a in (self.ends, self.sizes, self.changed, self.folder)
        )
        files = _Files(bytes(self.names), ends, sizes, changed, folder, folders)
        return FileIndex(files, files.sorted())


class _Files(NamedTuple):
    """All files of a tree.

    Name i is names[ends[i - 1] : ends[i]], in folders[folder[i]].
    """

    names: bytes
    ends: np.ndarray
    sizes: np.ndarray
    changed: np.ndarray
    folder: np.ndarray
    folders: tuple[tuple[str, ...], ...]

    def raw(self, i: int) -> bytes:
        return self.names[self.ends[i - 1] if i else 0 : self.ends[i]]

    def sorted(self) -> np.ndarray:
        """Numbers of the files, in the order of their names."""
        lengths = np.diff(self.ends, prepend=0)
        if not len(lengths):
            return np.empty(0, np.int64)
        table = np.zeros((len(lengths), int(lengths.max())), np.uint8)
        table[np.arange(table.shape[1]) < lengths[:, None]] = np.frombuffer(self.names, np.uint8)
        return np.argsort(table.view(f"S{table.shape[1]}")[:, 0], kind="stable")


class FileIndex(Sequence[Entry]):
    """Some or all files of a tree, in an order.

    folders: paths of all folders of the tree that hold a file, in parts
    folder: number of each file's folder, [N]
    """

    def __init__(self, files: _Files, at: np.ndarray) -> None:
        self._files, self._at = files, at

    def __len__(self) -> int:
        return len(self._at)

    # no slices
    def __getitem__(self, i: int) -> Entry:  # pyright: ignore[reportIncompatibleMethodOverride]
        k = int(self._at[i])
        return Entry(
            self._files.raw(k).decode("utf-8", "surrogateescape"),
            int(self._files.sizes[k]),
            int(self._files.changed[k]),
        )

    def __iter__(self) -> Iterator[Entry]:
        return (self[i] for i in range(len(self)))

    @property
    def folders(self) -> tuple[tuple[str, ...], ...]:
        """Paths of all folders of the tree that hold a file, in parts."""
        return self._files.folders

    @property
    def folder(self) -> np.ndarray:
        """Number of each file's folder in `folders`, int [N]."""
        return self._files.folder[self._at]

    def take(self, positions: np.ndarray | Sequence[int]) -> FileIndex:
        """The files at these positions, in their order."""
        return FileIndex(self._files, self._at[np.asarray(positions, np.int64)])

    def within(self, folders: Sequence[int]) -> FileIndex:
        """The files of the folders with these numbers."""
        return FileIndex(self._files, self._at[np.isin(self.folder, list(folders))])

    def followed_by(self, other: FileIndex) -> FileIndex:
        """The files of this index, then those of another one of the same tree."""
        assert other._files is self._files, "files of two trees"
        return FileIndex(self._files, np.concatenate([self._at, other._at]))

    def digest(self) -> str:
        """Hash of all names, sizes and times."""
        hashed = hashlib.blake2b(digest_size=16)
        for k in self._at.tolist():
            hashed.update(self._files.raw(k) + b"\0")
        for numbers in (self._files.sizes, self._files.changed):
            hashed.update(numbers[self._at].tobytes())
        return hashed.hexdigest()
