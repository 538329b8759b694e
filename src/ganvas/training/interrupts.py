"""Early ends of training: signals, a full disk, diverged losses.

The first signal saves and stops, a second one stops at once. A snapshot that is being
measured is left to the run that goes on: it can take longer than a launcher waits.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ganvas.core import distributed
from ganvas.core.environment import say
from ganvas.core.errors import UserError
from ganvas.engine import checkpoint
from ganvas.engine.engine import NumericalError
from ganvas.engine.run_dir import count_of
from ganvas.training.snapshot import write_report_quietly


class Stopped(UserError):
    """Training ended early. The message says how to continue the run."""


class Interrupted(BaseException):
    """A signal came within `Signals.interruptible`."""


class Signals:
    """The signals that a training has received, in `received`."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._raises = False

    @property
    def first(self) -> int:
        """The number of the first signal; 0: none."""
        return self.received[0] if self.received else 0

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """In this context a signal raises `Interrupted`, and so does an earlier one."""
        self._raises = True
        try:
            if self.received:
                raise Interrupted
            yield
        finally:
            self._raises = False

    def add(self, number: int) -> None:
        """Take note of the first signal, in its handler."""
        self.received.append(number)
        if self._raises:
            say("leaving the snapshot until the run goes on …")
            raise Interrupted
        say("finishing this step and saving …")


@contextmanager
def catch_signals(*, unattended: bool = False) -> Iterator[Signals]:
    """Collect SIGINT and SIGTERM in the object that the context yields.

    A second signal raises `KeyboardInterrupt`, except under torchrun: it forwards a
    signal that its processes have already received. In a thread other than the main
    one, signals stay with their owner and none is received.

    unattended: a launcher started this process: a further SIGTERM, of which launchers
        may send several, changes nothing
    """
    signals = Signals()

    def handle(number: int, _frame: FrameType | None) -> None:
        if signals.received:
            if distributed.world() > 1 or (unattended and number == signal.SIGTERM):
                return
            raise KeyboardInterrupt
        signals.add(number)

    try:
        previous = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread
        previous = {}
    try:
        yield signals
    finally:
        for s, handler in previous.items():
            signal.signal(s, handler)


def stop_run(
    out: Path,
    images: int,
    total: int,
    number: int,
    received: Sequence[int],
    *,
    unattended: bool = False,
) -> None:
    """Report a stop by signal `number` and raise `SystemExit`.

    received: signals of this rank; the one that stops the run may be another rank's
    unattended: a launcher started this process, and may repeat the command: the status
        after its own SIGTERM is 0. Ranks that have received none end as after a
        failure, so that torchrun starts them again, on the machines that are left
    """
    write_report_quietly(out)
    say(
        f"stopped at {count_of(images, total)}; everything is saved.",
        f"Continue: {resume_command(out)}",
    )
    distributed.barrier()  # torchrun ends all ranks as soon as one has ended
    terminated = signal.SIGTERM in received
    raise SystemExit(0 if unattended and terminated else 128 + number)


@contextmanager
def explain_failures(out: Path) -> Iterator[None]:
    """Turn failures of the disk and diverged losses into `Stopped`, with advice."""
    try:
        yield
    except OSError as e:
        raise Stopped(
            f"training stopped: the run folder {out} could not be written: {e}. The last "
            "checkpoint is intact. Free some space or make the folder writable, then "
            f"continue: {resume_command(out)}"
        ) from None
    except NumericalError as e:
        saved = checkpoint.all_of(out / "checkpoints")
        lower = "--set optim.D.lr=… (a lower learning rate)"
        new_run = "start a new run with another seed (--seed)"
        if saved:
            state = f"the last good checkpoint, at {int(saved[-1].name):,} images, is kept"
            advice = (
                f"To continue from it more carefully: {resume_command(out)} {lower}, or {new_run}"
            )
        else:
            state, advice = "no checkpoint was saved before", f"Use {lower}, or {new_run}"
        write_report_quietly(out)
        what = str(e).removesuffix(".")
        raise Stopped(f"training stopped: {what}. In {out}: {state}. {advice}") from None


def resume_command(out: Path) -> str:
    """The command that continues the run in `out`, quoted for a shell."""
    return f"ganvas resume {shlex.quote(str(out))}"
