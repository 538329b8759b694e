"""Write files atomically: after any crash, a path holds its old or its new contents."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ganvas.core.errors import OutputError, UserError, printable

if TYPE_CHECKING:  # torch takes seconds to import, and `ganvas --help` needs this module
    from torch import Tensor


def write(path: Path, data: bytes | str, *, sync: bool = False) -> Path:
    """Write a file atomically, and create missing folders.

    data: bytes, or text, which is written as UTF-8; bytes of a file's name that are not
        UTF-8 (surrogates) become backslash escapes
    sync: flush to the disk before the file takes its name, so that it is whole after a
        power failure, too

    Returns `path`. Raises `OutputError` if the file cannot be written (full disk,
    read-only folder), and `UserError` if its name is too long.
    """
    with open_atomic(path, sync=sync) as file:
        file.write(data.encode(errors="backslashreplace") if isinstance(data, str) else data)
    return path


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file with the permissions of any new file.

    safetensors lets nobody but its owner read it, so that a group could not use a
    model in its shared folder.

    Raises `OSError` or `SafetensorError`.
    """
    from safetensors.torch import save_file

    path.touch()
    permissions = stat.S_IMODE(path.stat().st_mode)
    save_file(dict(tensors), path, None if metadata is None else dict(metadata))
    path.chmod(permissions)


def require_new_folder(out: Path) -> None:
    """Raise `UserError` unless `out` is absent or an empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"{printable(out)} exists and is not an empty folder; nothing was written. Choose "
            "another --out"
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


@contextmanager
def open_atomic(path: Path, *, sync: bool = False) -> Iterator[IO[bytes]]:
    """Open a file that takes the name `path` on leaving without an error.

    It is open for writing, and for reading what was written. See `write`.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w+b") as file:
                yield file
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        raise _failed(path, e) from None


def require_writable(path: Path) -> None:
    """Raise now what `write` would raise later, before long work whose result it is.

    Missing folders are created.
    """
    if path.is_dir():
        raise OutputError(f"{printable(path)} is a folder; give the name of a file")
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.touch()
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        raise _failed(path, e) from None


def require_outside(path: Path, data: str) -> None:
    """Refuse a result among the images of a data set, one of which it could replace.

    data: folder, file, two of them ("a/,b/"), or the name of a set

    Raises `UserError`.
    """
    for given in (Path(name) for name in data.split(",") if name):
        if given.exists() and path.resolve().is_relative_to(given.resolve()):
            raise UserError(
                f"{printable(path)} would be among the images of {printable(given)}: choose "
                "another --out"
            )


def _failed(path: Path, e: OSError) -> UserError:
    failure = f"{printable(path)} could not be written"
    if e.errno == errno.ENAMETOOLONG:
        return UserError(f"{failure}: its name is too long; use a shorter one")
    return OutputError(
        f"{failure}: {e.strerror or e}. Free some space, or choose a folder that you may write to"
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a library a place to write a file, which takes the name `path` at the end.

    The place lies in a folder of its own: what the library leaves beside its file when
    the process is killed (safetensors does) goes with the folder. Errors are not
    translated.
    """
    folder = _temporary(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder / path.name
        os.replace(folder / path.name, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """The name of what is written for `path`. Names of this form are swept."""
    # The name is hashed, since it may be as long as a name can be.
    return path.with_name(f".{zlib.crc32(os.fsencode(path.name)):08x}.{os.getpid()}.tmp")
