"""Subprocesses in tests: one generous time limit, and their output when they fail.

A limit guards against hangs only; no test may depend on how busy the machine is.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

LIMIT = 1800.0  # seconds
CONFIG = tempfile.mkdtemp(prefix="ganvas-config-")  # of a signing key that only the tests use
atexit.register(shutil.rmtree, CONFIG, True)
ENVIRONMENT = {
    **os.environ,
    "GANVAS_CONFIG": CONFIG,
    "GANVAS_MARK": "0",
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
    return _checked(done, ok)


def _checked(
    done: subprocess.CompletedProcess[str], ok: bool | None
) -> subprocess.CompletedProcess[str]:
    """Assert that a process ended as it must, and without a traceback."""
    output = (
        f"{done.args} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    )
    assert "Traceback" not in done.stderr or ok is None, output
    assert ok is None or (done.returncode == 0) == ok, output
    return done


def ganvas(
    *arguments: object,
    ok: bool | None = True,
    env: Mapping[str, str] = ENVIRONMENT,
    cwd: object = None,
) -> subprocess.CompletedProcess[str]:
    """Run `ganvas ARGUMENTS` in a process of its own.

    In the usual environment it is a fork of a process that has imported everything
    already, which saves most of the time of a short command."""
    if env is ENVIRONMENT:
        return _checked(_forked([str(a) for a in arguments], cwd), ok)
    return completed([sys.executable, "-m", "ganvas", *arguments], ok=ok, env=env, cwd=cwd)


# Imports, and then forks a child for each line of its input. Each line of its output is
# the exit status of a child.
_SERVER = """
import json, os, sys
import torch
from ganvas.__main__ import main
import ganvas.apps.cli, ganvas.evaluation.evaluate, ganvas.evaluation.report
import ganvas.inference.load, ganvas.training.benchmark, ganvas.training.trainer
import torch._dynamo, matplotlib.figure, matplotlib.backends.backend_svg  # by every training
from ganvas import recipes
from ganvas.training import benchmark, probe
recipes.all_recipes()
probe.IMAGES = 64  # as in conftest.py
benchmark.SECONDS = 0.05
torch.set_num_threads(1)
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(request["cwd"])
        opened = [os.open(os.devnull, os.O_RDONLY)]
        opened += [os.open(request[n], os.O_WRONLY | os.O_APPEND) for n in ("out", "err")]
        for number, file in enumerate(opened):
            os.dup2(file, number)
            os.close(file)
        sys.stdin = open(0, closefd=False)
        sys.argv = ["ganvas", *request["arguments"]]
        try:
            main()
        except SystemExit as e:
            status = e.code or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            status = 1
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks; it ends with this one."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    atexit.register(server.communicate)
    return server


def _forked(arguments: list[str], cwd: object) -> subprocess.CompletedProcess[str]:
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        for file in (out, err):
            file.touch()
        request = {"arguments": arguments, "cwd": str(cwd or Path.cwd())}
        request |= {"out": str(out), "err": str(err)}
        print(json.dumps(request), file=server.stdin, flush=True)
        assert select.select([server.stdout], [], [], LIMIT)[0], f"{arguments}: no end"
        status = int(server.stdout.readline())
        text = [f.read_text(encoding="utf-8", errors="replace") for f in (out, err)]
    return subprocess.CompletedProcess(["ganvas", *arguments], status, *text)


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


class Ended(NamedTuple):
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


Command = Callable[..., Ended]
