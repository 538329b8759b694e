"""Subprocesses in tests: one generous time limit, and their output when they fail.

A limit guards against hangs only; no test may depend on how busy the machine is.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

LIMIT = 1800.0  # seconds
CONFIG = tempfile.mkdtemp(prefix="ganvas-config-")  # of a signing key that only the tests use
atexit.register(shutil.rmtree, CONFIG, True)
ENVIRONMENT = {
    **os.environ,
    "GANVAS_CONFIG": CONFIG,
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "160",
    "NO_COLOR": "1",
    "PYTHONWARNINGS": "error",
}
T = TypeVar("T")


def completed(
    command: Sequence[object],
    *,
    ok: bool | None = True,
    env: Mapping[str, str] = ENVIRONMENT,
    cwd: object = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    ok: whether it must succeed; None: either"""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=env,
        cwd=None if cwd is None else str(cwd),
    )
    output = f"{words} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    assert "Traceback" not in done.stderr or ok is None, output
    assert ok is None or (done.returncode == 0) == ok, output
    return done


def ganvas(
    *arguments: object,
    ok: bool | None = True,
    env: Mapping[str, str] = ENVIRONMENT,
    cwd: object = None,
) -> subprocess.CompletedProcess[str]:
    """Run `ganvas ARGUMENTS` in a process of its own."""
    return completed([sys.executable, "-m", "ganvas", *arguments], ok=ok, env=env, cwd=cwd)


def wait_for(condition: Callable[[], T], process: subprocess.Popen[str] | None = None) -> T:
    """Wait until `condition` returns a true value, and return it.

    Fails if `process` ends first."""
    end = time.monotonic() + LIMIT
    while not (found := condition()):
        if process is not None and process.poll() is not None and not condition():
            raise AssertionError(
                f"{process.args} ended with {process.returncode}: {process.communicate()}"
            )
        assert time.monotonic() < end, f"nothing within {LIMIT:.0f} s"
        time.sleep(0.01)
    return found
