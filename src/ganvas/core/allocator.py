"""Settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's malloc.h


def retain_heap() -> None:
    """Keep freed heap memory in the process (glibc only; elsewhere nothing happens).

    It changes the whole process: a program may call it, a library function must not.
    """
    # glibc returns blocks of 32 MB and more to the system when they are freed, and the
    # system clears each page when it hands them out again: for a U-Net of 54 million
    # weights a quarter of the step (docs/performance.md).
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
