"""Guards for reading untrusted files, and the wording of messages about them."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import time
from io import BufferedReader
from pathlib import Path

from ganvas.core.environment import memory
from ganvas.core.errors import DataError, printable

ABANDONED = 86_400  # seconds after which a partial file of a killed process is removed
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading.

    Raises `OSError` for pipes, sockets and devices: opening a pipe would wait for its
    writer, and a device may never end.
    """
    require_regular(os.stat(path).st_mode)
    # Checked again below, since the name may have become a pipe's in the meantime.
    descriptor = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    try:
        require_regular(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def require_regular(mode: int) -> None:
    """Raise `OSError` unless a mode of `os.stat` is a regular file's."""
    if not stat.S_ISREG(mode):
        raise OSError(0, f"is {_KINDS.get(stat.S_IFMT(mode), 'a device')}, not a file")


def require_memory(
    size: int, what: str, advice: str = "it is damaged, or give the images as files"
) -> None:
    """Raise `DataError` if `size` bytes are more than half of this machine's memory.

    what: needs the memory, e.g. a file
    advice: the end of the message
    """
    if size > memory() // 2:
        raise DataError(
            f"{what} needs {size / 2**30:,.1f} GiB, more than half of this machine's memory "
            f"({memory() / 2**30:,.1f} GiB): {advice}"
        )


def reason(e: BaseException) -> str:
    """An exception's text as the end of a one-line message."""
    text = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
    text = printable(text.strip().partition("\n")[0])[:200]
    return text or ("not enough memory" if isinstance(e, MemoryError) else type(e).__name__)


def plural(count: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def warn(message: str) -> None:
    """Print a warning as one line on stderr."""
    print(f"warning: {printable(message)}", file=sys.stderr, flush=True)


def abandoned(folder: Path) -> list[Path]:
    """Partial files and folders (`*.tmp`) that killed processes left over a day ago."""
    old = []
    for path in folder.glob("*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED:
                old.append(path)
        except OSError:  # another process has removed it
            continue
    return old


def shell_quoted(path: str | os.PathLike[str]) -> str:
    """A path quoted for a shell, in printable characters."""
    text = os.fspath(path)
    text = f"./{text}" if text.startswith("-") else text
    if printable(text) == text:
        return shlex.quote(text)
    escaped = "".join(
        chr(b) if 0x20 <= b < 0x7F and chr(b) not in "'\\" else f"\\x{b:02x}"
        for b in os.fsencode(text)
    )
    return f"$'{escaped}'"  # bash's and zsh's
