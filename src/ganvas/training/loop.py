"""The loop around the engine: steps, log, snapshots, checkpoints, monitor, reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from ganvas.core import Run, distributed
from ganvas.core.config import dump
from ganvas.core.environment import say
from ganvas.core.errors import NumericalError
from ganvas.core.progress import Progress
from ganvas.data.feed import Feed
from ganvas.engine.engine import Engine
from ganvas.engine.records import LogState, RunRecord
from ganvas.engine.restore import restore
from ganvas.engine.run_dir import write_record
from ganvas.inference.model import Model
from ganvas.training.interrupts import (
    Interrupted,
    Signals,
    catch_signals,
    explain_failures,
    stop_run,
)
from ganvas.training.logger import Logger
from ganvas.training.probe import Probe
from ganvas.training.saver import IDLE, Saver, model_writer
from ganvas.training.snapshot import (
    STOPPED,
    Snapshot,
    is_due,
    is_early,
    model_facts,
    write_report_quietly,
    write_sample_grid,
    write_snapshot,
)
from ganvas.training.trackers import Tracker
from ganvas.training.validation import Validation
from ganvas.training.watch import Rewound, Verdict, after_numerical_error, judge, stopped

SAVE_SECONDS = 300  # a checkpoint at least this often
REPORT_SECONDS = 60  # at least, between two reports of a run in progress
REPORT_SHARE = 0.01  # of the time, at most, goes into these reports

OnSnapshot = Callable[[Snapshot], object]


@dataclass(frozen=True)
class Watching:
    """What watches a training.

    validation: of held-out pairs; None: there are none
    held_out: images that are not trained on; None: there are none
    on_snapshot: called with every snapshot
    tracker: an object that gets the log; None: that which the run names, if any
    unattended: a launcher started this process, and may repeat the command
    """

    validation: Validation | None
    held_out: Feed | None
    on_snapshot: OnSnapshot | None
    tracker: Tracker | None
    unattended: bool = False


def fit(
    engine: Engine, out: Path, record: RunRecord, unfinished: LogState, watching: Watching
) -> Model:
    """Train from the engine's clock to the end of its run, after rewinds again.

    unfinished: the log's unfinished line, from the checkpoint

    Ctrl-C saves everything and raises `SystemExit`.
    """
    with explain_failures(out):
        while True:
            try:
                return _fit(engine, out, record, unfinished, watching)
            except NumericalError:
                if not after_numerical_error(engine, out, record):
                    raise
            except Rewound:
                pass
            distributed.barrier()
            engine.feed.close()
            engine, record, unfinished = restore(out, "last", str(engine.device))
            if distributed.rank() == 0:
                model_writer(engine, out, record)()


def _fit(
    engine: Engine,
    out: Path,
    record: RunRecord,
    unfinished: LogState,
    watching: Watching,
) -> Model:
    """Train from the engine's clock to the end of its run.

    unfinished: the log's unfinished line, from the checkpoint.

    Ctrl-C saves everything and raises `SystemExit`. Raises `Rewound` after the run
    folder was set back.
    """
    run, clock = engine.run, engine.clock
    rank0 = distributed.rank() == 0
    observed, rewinds = distributed.largest(
        watching.on_snapshot is not None, record.get("on_collapse") == "rewind"
    )
    with (
        catch_signals(unattended=watching.unattended) as signals,
        Progress(run.images, clock.images, quiet=not rank0) as bar,
        closing(Logger(out, engine, unfinished, record, watching.tracker)) as log,
        Saver(engine, out, record) as saver,
    ):
        snapshots = _Snapshots(engine, out, record, watching, signals, saver, log)

        def stop_here(number: int) -> None:
            saver.finish()
            bar.close()
            received, unattended = signals.received, watching.unattended
            stop_run(out, clock.images, run.images, number, received, unattended=unattended)

        write_report_quietly(out, running=True)
        if distributed.largest(log.owes_snapshot)[0]:
            ends_early = snapshots.take(done=clock.images >= run.images)
            if ends_early:
                bar.close()
                run = _end_here(engine, out, record)
            elif stop := _signal(signals):
                stop_here(stop)
        last_saved = time.monotonic()
        next_report = last_saved + REPORT_SECONDS
        while engine.clock.images < run.images:
            log.add(engine.step())
            bar.update(engine.clock.images, log.latest)

            before, clock = clock.images, engine.clock
            done = clock.images >= run.images
            tick = is_due(record, before, clock.images)
            due = clock.images // record["save"] > before // record["save"]
            early = is_early(before, clock.images) and clock.images < record["tick"]
            overdue = time.monotonic() - last_saved > SAVE_SECONDS
            stop, overdue, phase = distributed.largest(signals.first, overdue, saver.phase)
            saver.agree(phase)
            save = stop or due or tick or done or (overdue and phase == IDLE)

            if save:
                saver.finish()
                log.flush()
                engine.check_weights()
                measured = tick or done
                # First of all: a signal that comes while it is measured loses nothing.
                saver.save(log.state(snapshot=measured), log.sync)
                last_saved = time.monotonic()
                # The ranks complete a checkpoint together.
                if stop or done or observed or rewinds or (measured and distributed.world() > 1):
                    saver.finish()
                if measured and not stop:
                    if snapshots.take(done=done):
                        bar.close()
                        _end_here(engine, out, record)
                        break
                    last_saved, stop = time.monotonic(), _signal(signals)
                elif rank0 and stop and not early and not watching.unattended:
                    write_sample_grid(engine, out, record, STOPPED)
            if early and not done and rank0:  # a resumed run does not return here
                write_sample_grid(engine, out, record)
            if stop:
                stop_here(stop)
            if not done and (start := time.monotonic()) > next_report:
                write_report_quietly(out, running=True)
                end = time.monotonic()
                next_report = end + max(REPORT_SECONDS, (end - start) / REPORT_SHARE)
    write_report_quietly(out)
    distributed.barrier()
    return Model(engine.model(), model_facts(engine, record), str(engine.device))


def _signal(signals: Signals) -> int:
    """The signal that any rank has received; 0: none."""
    return distributed.largest(signals.first)[0]


class _Snapshots:
    """Measures and judges a run after a checkpoint."""

    def __init__(
        self,
        engine: Engine,
        out: Path,
        record: RunRecord,
        watching: Watching,
        signals: Signals,
        saver: Saver,
        log: Logger,
    ) -> None:
        self._engine, self._out, self._record = engine, out, record
        self._watching, self._signals = watching, signals
        self._saver, self._log = saver, log
        self._probe = Probe(engine.feed, watching.held_out)

    def take(self, *, done: bool) -> bool:
        """Measure, and act on what the monitor sees. Every rank must call this.

        A signal ends it without a result, and the checkpoint says that it is missing.

        done: whether the run is at its end

        Returns whether the run is to end here early. Raises `Rewound` and `Stopped`.
        """
        snapshot = self._measured()
        if distributed.largest(distributed.rank() == 0 and snapshot is None)[0]:
            return False
        judgement = judge(self._engine, self._out, self._record)
        if done or judgement.verdict is not Verdict.GO_ON:
            self._saver.finish()
            self._saver.prune()  # the best may be another one now
        if snapshot is not None and self._watching.on_snapshot is not None:
            self._watching.on_snapshot(replace(snapshot, findings=judgement.findings))
        if judgement.verdict is Verdict.REWIND:
            raise Rewound
        if judgement.verdict is Verdict.STOP:
            write_report_quietly(self._out)
            raise stopped(self._out, judgement.findings)
        return judgement.verdict is Verdict.END_EARLY and not done

    def _measured(self) -> Snapshot | None:
        """The snapshot; None on other ranks than 0 and after a signal."""
        alone = distributed.world() == 1  # other ranks would wait in a rehearsal
        try:
            with self._signals.interruptible() if alone else nullcontext():
                several = self._engine.feed.info.count > 1
                rehearsed = self._probe.rehearse(self._engine) if several else {}
            if distributed.rank() != 0:
                return None
            snapshot = write_snapshot(
                self._engine,
                self._out,
                self._record,
                self._probe,
                rehearsed,
                self._watching.validation,
                self._signals.interruptible,
            )
        except Interrupted:
            return None
        self._log.snapshot(snapshot)
        return snapshot


def _end_here(engine: Engine, out: Path, record: RunRecord) -> Run:
    """Make the present number of images the run's length. Returns the shorter run."""
    rule = record.get("early_stopping")
    assert rule is not None
    say(
        f"ended early at {engine.clock.images:,} images: no better {rule['measure']} in "
        f"{rule['snapshots']} snapshots"
    )
    record["ended_early"] = {"images": engine.clock.images, "planned": engine.run.images}
    run = replace(engine.run, images=engine.clock.images)
    record["run"], record["images"] = cast(dict[str, object], dump(run)), run.images
    if distributed.rank() == 0:
        write_record(out, record)
    return run
