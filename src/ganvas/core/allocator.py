"""Memory: keep what is freed in the process (glibc), and how much a device has."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's malloc.h


def retain_heap() -> None:
    """Have this process keep the memory that it frees, where the C library is glibc; elsewhere nothing happens.

    glibc hands blocks of 32 MB and more back to the system when they are freed, and the system clears each page when it
    hands them out again: for a U-Net of 54 million weights a quarter of the step (docs/performance.md)."""
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def total_memory(device: torch.device) -> int | None:
    """Bytes that the device has; None if the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):  # not on Windows
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None
