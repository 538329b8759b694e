"""Subprocesses in tests: one generous time limit, and their output when they fail.

A limit guards against hangs only; no test may depend on how busy the machine is.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
        with forks(arguments, cwd=cwd) as found:
            return _checked(found.ended()[0], ok)
    return completed([sys.executable, "-m", "ganvas", *arguments], ok=ok, env=env, cwd=cwd)


# Imports, and then forks children for each line of its input: of the command line, or of a
# script. It answers with their numbers, and when all have ended, with their exit statuses.
_SERVER = """
import gc, json, os, runpy, sys
import torch, torch._dynamo  # optimizers import the latter
import matplotlib.backends.backend_agg, matplotlib.backends.backend_svg, matplotlib.figure
import ganvas.apps.cli, ganvas.evaluation.evaluate, ganvas.evaluation.report
import ganvas.inference.load, ganvas.training.benchmark, ganvas.training.trainer
from ganvas import recipes
from ganvas.__main__ import main
from ganvas.training import benchmark, probe
recipes.all_recipes()
probe.IMAGES = 64  # as in conftest.py
benchmark.SECONDS = 0.05
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
gc.collect()
gc.freeze()
for line in sys.stdin:
    request = json.loads(line)
    children = []
    for own in request["children"]:
        child = os.fork()
        if child != 0:
            children.append(child)
            continue
        os.chdir(request["cwd"])
        os.environ.update(own["environment"])
        opened = [os.open(os.devnull, os.O_RDONLY)]
        opened += [os.open(own[n], os.O_WRONLY | os.O_APPEND) for n in ("out", "err")]
        for number, file in enumerate(opened):
            os.dup2(file, number)
            os.close(file)
        sys.stdin = open(0, closefd=False)
        sys.argv = [request["script"] or "ganvas", *request["arguments"]]
        status = 0
        try:
            if request["script"]:
                runpy.run_path(request["script"], run_name="__main__")
            else:
                main()
        except SystemExit as e:
            status = e.code or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            status = 1
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    print(*children, flush=True)
    ended = [os.waitpid(child, 0)[1] for child in children]
    print(*map(os.waitstatus_to_exitcode, ended), flush=True)
"""


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks; it ends with this one."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    atexit.register(server.communicate)
    return server


_answers = bytearray()  # what it has written and nobody has read


def _answer(said: object) -> list[int]:
    """The next line of the process that forks."""
    stdout = _server().stdout
    assert stdout is not None
    # Not `readline`: a line in its buffer is none that `select` sees, and two come at once
    # if a child ends quickly.
    while b"\n" not in _answers:
        assert select.select([stdout], [], [], LIMIT)[0], f"{said}: no end"
        part = os.read(stdout.fileno(), 1 << 16)
        assert part, f"{said}: the process that forks has ended"
        _answers.extend(part)
    line, _, rest = _answers.partition(b"\n")
    _answers[:] = rest
    return [int(word) for word in line.split()]


class Forks:
    """Processes that were forked together."""

    def __init__(self, command: list[str], pids: list[int], folder: Path) -> None:
        self.command, self.pids, self._folder = command, pids, folder
        self.running = True

    def stderr(self, index: int) -> str:
        """What one of them has written to stderr so far."""
        return self._read(index, "err")

    def ended(self) -> list[subprocess.CompletedProcess[str]]:
        """Wait until all have ended."""
        statuses = _answer(self.command)
        self.running = False
        return [
            subprocess.CompletedProcess(
                self.command, status, self._read(i, "out"), self._read(i, "err")
            )
            for i, status in enumerate(statuses)
        ]

    def _read(self, index: int, stream: str) -> str:
        file = self._folder / f"{stream}{index}"
        return file.read_text(encoding="utf-8", errors="replace")


@contextmanager
def forks(
    arguments: Sequence[object],
    script: Path | None = None,
    environments: Sequence[Mapping[str, str]] = ({},),
    cwd: object = None,
) -> Iterator[Forks]:
    """Forks of a process that has imported everything already.

    script: what they run; None: the command line
    environments: further variables of each of them"""
    server = _server()
    assert server.stdin is not None
    words = [str(a) for a in arguments]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        children = []
        for i, environment in enumerate(environments):
            out, err = folder / f"out{i}", folder / f"err{i}"
            for file in (out, err):
                file.touch()
            children.append({"environment": environment, "out": str(out), "err": str(err)})
        request = {"arguments": words, "cwd": str(cwd or Path.cwd()), "children": children}
        request["script"] = None if script is None else str(script)
        print(json.dumps(request), file=server.stdin, flush=True)
        found = Forks([str(script or "ganvas"), *words], _answer(words), folder)
        try:
            yield found
        finally:
            if found.running:
                for pid in found.pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                found.ended()


@contextmanager
def ranks(script: Path, world: int, *arguments: object) -> Iterator[Forks]:
    """`world` ranks, started as torchrun would but on their own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    own = [{**group, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]
    with forks(arguments, script, own) as found:
        yield found


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
