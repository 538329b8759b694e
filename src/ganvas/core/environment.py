"""Facts about the host: memory, devices, processor, commit; and messages on stderr."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import torch

from ganvas.core import distributed
from ganvas.core.errors import ConfigError, printable
from ganvas.core.json_files import Json


def memory(device: torch.device | None = None, unknown: int = 8 << 30) -> int:
    """The memory of a device in bytes.

    device: None: the host's main memory, as for devices without a memory of their own
    unknown: the result if the system does not report it (Windows)
    """
    if device is not None and device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return unknown


def available() -> int:
    """The memory in bytes that this process can still allocate.

    On Linux, free memory within the limits of the control group and of the address
    space; elsewhere, all memory of the host.
    """
    free = memory(torch.device("cpu"))
    try:
        pages = [
            int(n) * os.sysconf("SC_PAGE_SIZE")
            for n in Path("/proc/self/statm").read_text().split()
        ]
        of_system = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = min(free, int(of_system["MemAvailable"].split()[0]) * 1024)
    except (OSError, ValueError, KeyError):
        return free
    group = Path("/sys/fs/cgroup/memory.max")
    if group.is_file() and (limit := group.read_text().strip()).isdigit():
        free = min(free, int(limit) - pages[1])
    import resource  # not on Windows, which has no /proc either

    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if space != resource.RLIM_INFINITY:
        free = min(free, space - pages[0])
    return max(free, 0)


def machine() -> dict[str, Json]:
    """Describe the host that a measurement was taken on."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


@functools.cache
def commit() -> str | None:
    """The git commit of ganvas's source, with `-dirty` if the source was changed since.

    None outside a checkout of ganvas. Asked once in a process: what is edited later is
    not what it has imported.
    """
    root = Path(__file__).resolve().parents[3]
    # Without this check, git would find a repository around a virtual environment.
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=10
        ).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        # Only of `src`: new records and pages change no measurement.
        changed = git("status", "--porcelain", "--", "src")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head + "-dirty" * bool(changed) if head else None


def usable_device(device: str | None) -> str:
    """The device, or the best of this machine if None.

    Raises `ConfigError` if it cannot be used.
    """
    if device is None and torch.cuda.is_available():
        device = "cuda"
    elif device is None:
        device = "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError:
        meant = "Did you mean 'cuda'? " if "gpu" in device.lower() else ""
        raise ConfigError(
            f"there is no device {device!r}. {meant}Expected cpu, cuda, cuda:1 or mps; leave the "
            "device out to take the fastest"
        ) from None
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as e:
        reason = str(e).splitlines()[0].split(". ")[0].rstrip(".!")
        raise ConfigError(
            f"device {device!r} cannot be used: {reason}. Leave the device out to take the fastest"
        ) from None
    return device


def auto_precision(device: str) -> str:
    """The fastest precision of a device: "bf16" if its hardware has it, else "fp32".

    Emulated bf16 is slower than fp32. Processors are asked by /proc/cpuinfo (Linux).
    """
    if device != "cpu":
        native = device.startswith("cuda") and torch.cuda.is_bf16_supported(False)
        return "bf16" if native else "fp32"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return "fp32"
    return "bf16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(flags) else "fp32"


def say(*lines: str) -> None:
    """Print lines to standard error, on rank 0, with control characters escaped."""
    if lines and distributed.rank() == 0:
        # Standard error may be closed: torchrun was killed, or the end of a pipe.
        with suppress(OSError, ValueError):
            print(*map(printable, lines), sep="\n", file=sys.stderr, flush=True)
