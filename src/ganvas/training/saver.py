"""Write checkpoints and model files in a thread, while training goes on."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from torch import Tensor

from ganvas.core import distributed
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.engine.records import EngineState, LogState, RunRecord
from ganvas.engine.restore import best_checkpoint
from ganvas.engine.retention import DEFAULT, Retention
from ganvas.engine.run_dir import portable
from ganvas.inference import model_file
from ganvas.training.snapshot import model_facts

IDLE, WRITTEN, WRITING = 0, 1, 2  # phases of a save, on one rank and over all of them


class Saver:
    """The writer of a run's model file and checkpoints.

    `save` copies the state in memory, and a thread of each rank writes it. Threads of
    different ranks do not speak to each other: the ranks compare their phases between
    two steps (`agree`), and rank 0 completes the checkpoint when all have written their
    parts. Within a `with` statement, an error that ends training does not end a write
    of this process alone.
    """

    def __init__(self, engine: Engine, out: Path, record: RunRecord) -> None:
        self._engine, self._out, self._record = engine, out, record
        self._retention = Retention.parse(record.get("keep", DEFAULT))
        self._thread: threading.Thread | None = None
        self._written = threading.Event()  # this rank's part
        self._agreed = threading.Event()  # all parts are written
        self._abandoned = False
        self._error: Exception | None = None

    @property
    def phase(self) -> int:
        """What this rank does: IDLE, WRITTEN (rank 0 is to complete), or WRITING.

        Raises the error with which the thread has ended, an `OutputError` or `OSError`.
        """
        if self._thread is None:
            return IDLE
        if self._thread.is_alive():
            return WRITTEN if self._written.is_set() and self._error is None else WRITING
        self._join()
        return IDLE

    def agree(self, phase: int) -> None:
        """Take note of the largest phase of all ranks, at the same step on each."""
        if phase < WRITING:
            self._agreed.set()

    def save(self, log: LogState, sync: Callable[[], None]) -> None:
        """Begin to write a checkpoint of the engine's state, and a model file.

        Every rank must call this, with no other save under way (`finish`).

        log: the log's unfinished line
        sync: called in the thread first: the log must be on the disk before a
            checkpoint that continues it
        """
        values, shared, own = self._engine.state()
        values["log"] = copy.deepcopy(log)
        shared, own = checkpoint.copies(shared), checkpoint.copies(own)
        write_model = (
            model_writer(self._engine, self._out, self._record) if distributed.rank() == 0 else None
        )
        self._written.clear()
        self._agreed.clear()
        if distributed.world() == 1:
            self._agreed.set()

        def write() -> None:
            try:
                sync()
                # The model file comes first: a run with a final checkpoint then always
                # has its model.
                if write_model is not None:
                    write_model()
                self._write(values, shared, own)
            except Exception as e:
                self._error = e
            finally:
                self._written.set()

        # A daemon: what a second Ctrl-C leaves of it has no final name.
        self._thread = threading.Thread(target=write, name="ganvas saver", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until a checkpoint under way is complete. Every rank must call this."""
        if self._thread is not None:
            self._written.wait()
            if self._error is not None:
                self._join()
        distributed.barrier()
        self._agreed.set()
        self._join()
        distributed.barrier()

    def prune(self) -> None:
        """Remove checkpoints after a measurement that came after the last save."""
        if distributed.rank() == 0:
            self._retention.prune(self._out / "checkpoints", best_checkpoint(self._out))

    def _write(
        self, values: EngineState, shared: dict[str, Tensor], own: dict[str, Tensor]
    ) -> None:
        folder = self._out / "checkpoints"
        checkpoint.write_part(folder, values, shared, own)
        self._written.set()
        if distributed.rank() == 0:
            self._agreed.wait()
            if not self._abandoned:
                checkpoint.commit(folder, values)
                self.prune()

    def _join(self) -> None:
        """Wait for the thread, and raise its error."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        if kind is None or self._thread is None:
            return
        if distributed.world() > 1:  # whether the other ranks have written is unknown
            self._abandoned = True
            self._agreed.set()
        if issubclass(kind, Exception):
            self._thread.join()


def model_writer(engine: Engine, out: Path, record: RunRecord) -> Callable[[], None]:
    """A function that writes the present model as the run's model file."""
    model = engine.model().to("cpu")
    facts = model_facts(engine, record)
    run, shape = portable(engine.run), engine.feed.info.shape
    return lambda: model_file.save(out / "model", model, run, shape, facts)
