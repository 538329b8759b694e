"""Write files so that they appear whole or not at all."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ganvas.core.errors import OutputError, UserError, printable


def write_atomically(path: Path, text: str) -> None:
    """`path` holds either what it held or all of `text`, whenever the process ends.

    Raises `UserError` where the disk is full or read-only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as e:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(
            f"{path} could not be written: {e}. Free some space or make the folder writable"
        ) from None


def write(path: Path, data: bytes) -> Path:
    """`path` holds either what it held or all of `data`, whenever the process ends. Raises `UserError` where it cannot
    be written (a full disk, a read-only folder)."""
    with written(path) as file:
        file.write(data)
    return path


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which is at `path` when it is left without an error. See `write`."""
    # not made of the name, which may be as long as a name can be
    temporary = path.with_name(f".{zlib.crc32(os.fsencode(path.name)):08x}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        if e.errno == errno.ENAMETOOLONG:
            raise UserError(
                f"{printable(path)} could not be written: its name is too long; use a shorter one"
            ) from None
        raise OutputError(
            f"{printable(path)} could not be written: {e.strerror or e}. Free some space, or choose a folder that you "
            "may write to"
        ) from None
