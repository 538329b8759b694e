"""One writer a run: an advisory lock on its folder."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ganvas.core import distributed
from ganvas.core.errors import UserError, printable

try:
    import fcntl
except ImportError:  # Windows: runs are not locked there
    fcntl = None


@contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Within: this process (rank 0 of several) is the only one that writes the run's folder.

    The system releases the lock when the process ends, however it ends; the text of the file is informational. Raises
    `UserError`, which names the holder, if another process writes. Reading is never blocked."""
    if distributed.rank() != 0 or fcntl is None:
        yield
        return
    path = out / ".lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise UserError(
            f"the run's folder {out} cannot be written: {e.strerror}. Make it writable"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = printable(os.read(handle, 200).decode(errors="replace")) or "another process"
            raise UserError(
                f"{out} is being written by {holder}. Wait until it has ended, or stop it"
            ) from None
        except OSError:  # a file system without locks
            pass
        with suppress(OSError):  # a full disk
            os.truncate(handle, 0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            os.write(
                handle, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode()
            )
        yield
    finally:
        with suppress(OSError):
            os.truncate(handle, 0)
        os.close(handle)
