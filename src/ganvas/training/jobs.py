"""Trainings in processes of their own: start, stop, continue, watch."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ganvas.core.errors import UserError, printable
from ganvas.engine.lock import is_locked
from ganvas.engine.run_dir import Line, number, read_lines, read_record
from ganvas.training import auto

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")
WAIT = 120.0  # seconds, at most, until a stopped training has saved
TAIL = 2000  # characters of a failed training's messages


@dataclass(frozen=True)
class Progress:
    """The state of a training, from its run folder.

    images, total: real images drawn, and at the end
    rate: images per second, most recently; 0 if unknown
    running: whether a process writes the run
    losses: lines of the log; scalars by name
    quality: lines of the quality curve
    samples: sample grids by images, from the first to the last
    comparable: runs with equal values have comparable figures
    """

    recipe: str
    images: int
    total: int
    rate: float
    running: bool
    losses: Sequence[Line]
    quality: Sequence[Line]
    samples: Mapping[int, Path]
    comparable: Mapping[str, object]


def progress(out: Path) -> Progress:
    """Read the state of a run. Raises `UserError` if there is none."""
    record = read_record(out)
    losses = read_lines(out / "log.jsonl")
    timing = read_lines(out / "timing.jsonl")
    grids = (out / "samples").glob("*.png")
    named = {int(p.stem): p for p in sorted(grids) if p.stem.isdecimal()}
    return Progress(
        recipe=record["recipe"],
        images=int(number(losses[-1], "images")) if losses else 0,
        total=record["images"],
        rate=float(timing[-1].get("images_per_second", 0)) if timing else 0.0,
        running=is_locked(out),
        losses=losses,
        quality=read_lines(out / "measures.jsonl"),
        samples=named,
        comparable={
            "data": record["data"]["fingerprint"],
            "height": record["shape"]["height"],
            "width": record["shape"]["width"],
            "channels": record["shape"]["channels"],
        },
    )


def runs_in(folder: Path) -> list[str]:
    """The names of the runs in a folder, the newest first."""
    found = [path.parent for path in folder.glob("*/run.json")]
    found.sort(key=lambda run: run.stat().st_mtime, reverse=True)
    return [run.name for run in found if NAME.fullmatch(run.name)]


@dataclass
class _Job:
    process: subprocess.Popen[bytes]
    messages: IO[bytes]
    stopping: bool = False

    def stop(self) -> None:
        """Ask the training, once, to save and end."""
        if not self.stopping:  # a second signal would end it before it has saved
            self.stopping = True
            self.process.send_signal(signal.SIGINT)

    def failure(self) -> str | None:
        """The last error message; None while it runs, after success or a stop."""
        if self.process.poll() in (None, 0, 128 + signal.SIGINT):
            return None
        self.messages.seek(0)
        lines = self.messages.read().decode(errors="replace")[-TAIL:].splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        return printable((errors or lines or ["it ended without a message"])[-1])


@dataclass
class Jobs:
    """The trainings that this process has started, in one folder of runs."""

    folder: Path
    _jobs: dict[str, _Job] = field(default_factory=dict)

    def place(self, name: str) -> Path:
        """The folder of a run. Raises `UserError` for an invalid name."""
        if not NAME.fullmatch(name):
            raise UserError(
                f"a run's name has letters, digits, dots and dashes, 64 at most; got {name!r}"
            )
        return self.folder / name

    def start(
        self,
        name: str,
        recipe: str,
        data: str,
        *,
        size: int | None = None,
        minutes: float | None = None,
        settings: Sequence[str] = (),
    ) -> None:
        """Train in a new process.

        name: of the run, a folder in `self.folder`
        recipe: or "auto", which plans a run of these minutes
        minutes: until the training is stopped; it can be continued
        settings: as of `ganvas train --set`

        Raises `UserError` for a bad name, a name in use and "auto" without minutes.
        The process reports all else (`failure`).
        """
        if self.place(name).exists() or self.is_running(name):
            raise UserError(f"there is a run {name!r} already: choose another name")
        options = [] if size is None else ["--size", str(size)]
        if recipe == auto.NAME:
            if minutes is None:
                raise UserError("auto chooses a recipe by the time: give the minutes")
            options += ["--minutes", f"{minutes:g}"]
            minutes = None  # it ends by itself
        for setting in settings:
            options += ["--set", setting]
        options += ["--out", str(self.folder / name)]
        self._launch(name, ["train", *options, "--", recipe, data], minutes)

    def resume(self, name: str, *, minutes: float | None = None) -> None:
        """Continue a run in a new process.

        Raises `UserError` if there is none, or if it is being written.
        """
        out = self.place(name)
        read_record(out)
        if self.is_running(name) or is_locked(out):
            raise UserError(f"the run {name} is in progress already")
        self._launch(name, ["resume", "--", str(out)], minutes)

    def stop(self, name: str) -> None:
        """Ask a training to save and stop.

        Raises `UserError` if this process has not started it, or if it has ended.
        """
        if not self.is_running(name):
            raise UserError(f"no training of this studio writes the run {name}")
        self._jobs[name].stop()

    def is_running(self, name: str) -> bool:
        """Whether a training of this process writes the run."""
        return name in self._jobs and self._jobs[name].process.poll() is None

    def failure(self, name: str) -> str | None:
        """Why the last training of a run failed; None if it did not."""
        return self._jobs[name].failure() if name in self._jobs else None

    def close(self) -> None:
        """Stop all trainings, and wait until they have saved."""
        for job in self._jobs.values():
            job.stop()
        for job in self._jobs.values():
            job.process.wait(WAIT)
            job.messages.close()

    def _launch(self, name: str, words: Sequence[str], minutes: float | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        messages = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        # A session of its own: Ctrl-C in the terminal must not reach it twice.
        process = subprocess.Popen(
            [sys.executable, "-m", "ganvas", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            start_new_session=True,
        )
        if name in self._jobs:  # an earlier training of the run, which has ended
            self._jobs[name].messages.close()
        job = self._jobs[name] = _Job(process, messages)
        if minutes is not None:
            timer = threading.Timer(60 * minutes, job.stop)
            timer.daemon = True
            timer.start()
