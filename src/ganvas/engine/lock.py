"""An advisory lock on a run folder, so that one process writes it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ganvas.core import distributed
from ganvas.core.errors import CheckpointError, OutputError, printable

try:
    import fcntl
except ImportError:  # Windows: runs are not locked there
    fcntl = None


@contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Hold the lock of a run folder within the context, on rank 0.

    The system releases the lock when the process ends, in whatever way. The text in the
    file is informational. Reading is never blocked.

    Raises `CheckpointError`, which names the holder, if another process writes the
    folder, and `OutputError` if the lock file cannot be written.
    """
    if distributed.rank() != 0 or fcntl is None:
        yield
        return
    path = out / ".lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise OutputError(
            f"the run's folder {out} cannot be written: {e.strerror}. Make it writable"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = printable(os.read(handle, 200).decode(errors="replace")) or "another process"
            raise CheckpointError(
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


def is_locked(out: Path) -> bool:
    """Whether a process writes a run folder (False where runs are not locked)."""
    path = out / ".lock"
    try:
        # An empty file is not locked, nor may this look keep a starting process out.
        if fcntl is None or not path.stat().st_size:
            return False
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return False
