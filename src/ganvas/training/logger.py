"""Training log: log.jsonl and timing.jsonl, and a tracker if the run names one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ganvas.core import distributed
from ganvas.core.files import write
from ganvas.engine.engine import Engine
from ganvas.engine.records import LogState, RunRecord
from ganvas.engine.run_dir import number, read_lines
from ganvas.training import trackers
from ganvas.training.snapshot import STOPPED, Snapshot, owes_snapshot

LOG_STEPS = 10  # steps per line of log.jsonl; the first ten steps have a line each


class Logger:
    """Writer of log.jsonl: mean scalars since the last line.

    Lines stand at step counts that do not depend on interruptions, so that a resumed
    run writes the same file. Scalars stay on an accelerator until a line needs them,
    since reading one waits for the device.
    """

    def __init__(
        self,
        out: Path,
        engine: Engine,
        unfinished: LogState,
        record: RunRecord,
        tracker: trackers.Tracker | None = None,
    ) -> None:
        self.engine = engine
        self.latest: dict[str, float] = {}
        self.owes_snapshot = False  # that of the checkpoint from which the run goes on
        self._pending: list[dict[str, Tensor]] = []
        self._sums: dict[str, float] = dict(unfinished.get("sums", {}))
        self._counts: dict[str, int] = dict(
            unfinished.get("counts", {})
        )  # a lazy penalty is absent in most steps
        self._file = self._timing = None
        # A caller's tracker stays open: it may serve several runs.
        self._tracker: trackers.Tracker | None = None
        self._own_tracker: trackers.Tracker | None = None
        self._started, self._from = time.monotonic(), engine.clock.images
        self._before = 0.0
        if distributed.rank() == 0:
            images = engine.clock.images
            self.owes_snapshot = owes_snapshot(out, unfinished, images)
            for name in ("log.jsonl", "timing.jsonl"):
                _truncate_log(out / name, images)
            _truncate_log(out / "measures.jsonl", images - self.owes_snapshot)
            for grid in (out / "samples").glob("*.png"):
                if grid.name.startswith(STOPPED) or (
                    grid.stem.isdigit() and int(grid.stem) > engine.clock.images
                ):
                    grid.unlink()
            self._before = max(
                (number(e, "seconds") for e in read_lines(out / "timing.jsonl")), default=0.0
            )
            self._file = (out / "log.jsonl").open("a", encoding="utf-8")
            self._timing = (out / "timing.jsonl").open("a", encoding="utf-8")
            name = record.get("log") or ("tensorboard" if record.get("tensorboard") else None)
            if tracker is None and name is not None:
                self._own_tracker = trackers.opened(name, out, record)
            self._tracker = self._own_tracker if tracker is None else tracker

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Add the scalars of one step; write a line if one is due.

        Raises `NumericalError` if a loss is not finite.
        """
        clock = self.engine.clock
        self._pending.append(dict(scalars))
        if self.engine.device.type == "cpu" or len(self._pending) >= LOG_STEPS:
            self.flush()
        if clock.step % LOG_STEPS == 0 or clock.step <= LOG_STEPS:
            self.flush()
            self._line({k: v / self._counts[k] for k, v in self._sums.items()})
            self._sums, self._counts = {}, {}

    def flush(self) -> None:
        """Read the scalars that the device still holds."""
        for scalars in self._pending:
            values = dict(zip(scalars, torch.stack(list(scalars.values())).tolist(), strict=True))
            self.engine.raise_if_not_finite(values)
            self.latest = values
            for k, v in values.items():
                self._sums[k] = self._sums.get(k, 0.0) + v
                self._counts[k] = self._counts.get(k, 0) + 1
        self._pending.clear()

    def sync(self) -> None:
        """Force the lines to the disk, in any thread; a checkpoint relies on them."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def _line(self, means: dict[str, float]) -> None:
        if self._file is None or self._timing is None:
            return
        clock, seconds = self.engine.clock, time.monotonic() - self._started
        print(
            json.dumps({"step": clock.step, "images": clock.images, **means}),
            file=self._file,
            flush=True,
        )
        rate = (clock.images - self._from) / max(seconds, 1e-9)
        timing = {
            "images": clock.images,
            "seconds": round(self._before + seconds, 3),
            "images_per_second": round(rate, 2),
        }
        print(json.dumps(timing), file=self._timing, flush=True)
        if self._tracker is not None:
            self._tracker.scalars(means, clock.images)

    def snapshot(self, snapshot: Snapshot) -> None:
        """Send a snapshot to the tracker, if there is one."""
        if self._tracker is not None:
            self._tracker.scalars(snapshot.measures, snapshot.images)
            with Image.open(snapshot.grid) as grid:
                self._tracker.image("samples", grid.convert("RGB"), snapshot.images)

    def state(self, *, snapshot: bool) -> LogState:
        """The unfinished line, for the checkpoint.

        snapshot: whether a snapshot follows
        """
        return {"sums": self._sums, "counts": self._counts, "snapshot": snapshot}

    def close(self) -> None:
        """Close the files; a line that a full disk rejects is lost."""
        for f in (self._file, self._timing, self._own_tracker):
            if f is not None:
                # On a full disk the last line is lost; the checkpoint has its figures.
                with suppress(OSError):
                    f.close()


def _truncate_log(path: Path, images: int) -> None:
    """Drop the lines after `images`, the checkpoint from which the run continues."""
    if path.is_file():
        kept = [e for e in read_lines(path, warn=True) if number(e, "images") <= images]
        write(path, "".join(json.dumps(line) + "\n" for line in kept), sync=True)
