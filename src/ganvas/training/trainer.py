"""Train a recipe on a data set and write a resumable run folder.

run.json            every number of the run, versions, data fingerprint, command
local.json          paths of this machine, which run.json leaves out
log.jsonl           losses by image count, bitwise the same with interruptions
timing.jsonl        seconds and images per second
measures.jsonl      the quality curve and what else snapshots measure
monitor.json        faults that the monitor sees, if there are any
samples/            sample grids at every snapshot, and some before the first
checkpoints/        complete states to resume from
model/              the model file of the newest checkpoint
report.html         all of it on one page
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

from ganvas.core import config as configuration
from ganvas.core import distributed
from ganvas.core.environment import say, usable_device
from ganvas.core.errors import NumericalError, UserError
from ganvas.core.progress import Progress
from ganvas.data import Prefetch
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.engine.lock import run_lock
from ganvas.engine.records import LogState, RunRecord
from ganvas.engine.restore import best_checkpoint, restore
from ganvas.engine.run_dir import portable, read_record, write_record
from ganvas.inference import model_file
from ganvas.inference.model import Model
from ganvas.training import benchmark, trackers
from ganvas.training import initial as initial_weights
from ganvas.training.interrupts import (
    catch_signals,
    explain_failures,
    resume_command,
    stop_run,
    sync_flags,
)
from ganvas.training.logger import Logger
from ganvas.training.probe import Probe, held_out_images
from ganvas.training.snapshot import (
    STOPPED,
    Snapshot,
    is_early,
    model_facts,
    write_report_quietly,
    write_sample_grid,
    write_snapshot,
)
from ganvas.training.start import (
    check_labels,
    check_upscale,
    describe_run,
    must_be_free,
    new_run_dir,
    plan_run,
)
from ganvas.training.trackers import Tracker
from ganvas.training.watch import (
    ON_COLLAPSE,
    Judgement,
    Rewound,
    Verdict,
    after_numerical_error,
    judge,
    parse_early_stopping,
    stopped,
)

MAX_MINUTES = 1e6
SAVE_SECONDS = 300  # a checkpoint at least this often
REPORT_SECONDS = 60  # at least, between two reports of a run in progress

OnSnapshot = Callable[[Snapshot], object]


def train(
    recipe: str,
    data: str | Path,
    *,
    out: str | Path,
    size: int | tuple[int, int] | None = None,
    batch: int | None = None,
    images: int | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    compile: str | None = None,
    augment: str | None = None,
    start_from: str | Path | Sequence[str | Path] = (),
    discriminator_from: str | Path | None = None,
    partial: bool = False,
    freeze: str | None = None,
    set: Sequence[str] = (),
    config: str | Path | None = None,
    test: str | Path | None = None,
    on_collapse: str = "warn",
    early_stopping: str | None = None,
    log: str | Tracker | None = None,
    command: str | None = None,
    on_snapshot: OnSnapshot | None = None,
) -> Model:
    """Train `recipe` on `data`, write the run to `out` and return the trained model.

    `data`: "digits", "letters", a path, or the name of an official data set.
    `out`: the run folder; it must be new or empty.
    `size`: pixels, one side or (height, width). None: the recipe's.
    `batch`: images per batch, over all ranks.
    `images`: length of the run in real images drawn.
    `minutes`: length of the run in minutes, about: the rate is measured first, and the
        number of images follows from it.
    `seed`: every random number of the run follows from it.
    `precision`: "fp32", "tf32" (CUDA), "bf16", or "auto" (bf16 where the hardware has
        it).
    `compile`: torch.compile mode for the networks ("default"; "reduce-overhead": CUDA
        graphs).
    `augment`: augmentation of the discriminators' images: "ada",
        "color,translation,cutout" or some of the three, or "none", which removes the
        recipe's own.
    `start_from`: weights to start from: a run, a model or another project's file, or
        several, each "PATH" or "NETWORK=PATH" (`ganvas.training.initial`).
    `discriminator_from`: the same, of which only discriminators are taken.
    `partial`: take the tensors of these that fit, instead of refusing others.
    `freeze`: weights that stay as they are: "G:mapping,D:3" (`ganvas.engine.freezing`).
    `set`: further numbers as "path=value" (`"D.width=32"`).
    `config`: a TOML file of settings (`ganvas.training.config_file`). Arguments and
        `set` take precedence over it.
    `test`: images to measure at every snapshot and not to train on, in any form that
        `data` takes. None: the test part of `data`, if it has one.
    `on_collapse`: on a fault that the monitor sees, "warn"; "stop" after saving; or
        "rewind" to the last good checkpoint and go on with one changed setting.
    `early_stopping`: end when a measure has no new best: "frechet", "coverage:8" (for 8
        snapshots).
    `log`: send the log and sample grids to "tensorboard", "wandb", "trackio" or
        "mlflow", too; or to an object of your own (`ganvas.training.trackers.Tracker`),
        whose `scalars` is called with every line of the log.
    `command`: the command line for run.json. None: an equivalent one.
    `on_snapshot`: called on rank 0 with every `Snapshot`, after its checkpoint and
        model file are saved. An exception from it ends training; the run can be
        resumed.

    Returns the model with the final weights (averaged if the recipe averages).

    Raises `UserError` before training for any setting or data that does not fit.
    """
    distributed.init(device)
    out, device = Path(out), usable_device(device)
    if distributed.rank() == 0:
        must_be_free(out)
    if minutes is not None and not (images is None and 0 < minutes < MAX_MINUTES):
        raise UserError(
            f"--minutes {minutes:g}: give a length above 0, either in minutes or in --images"
        )
    if on_collapse not in ON_COLLAPSE:
        raise UserError(f"on_collapse is {on_collapse!r}; expected {', '.join(ON_COLLAPSE)}")
    named = trackers.checked(log) if isinstance(log, str) else None
    own = None if isinstance(log, str) else log
    stopping = parse_early_stopping(early_stopping)
    run, feed, _ = plan_run(
        recipe,
        data,
        device,
        size=size,
        batch=batch,
        images=images,
        seed=seed,
        precision=precision,
        compile=compile,
        augment=augment,
        freeze=freeze,
        set=set,
        test=test,
        config=config,
    )
    if minutes is not None:
        run = replace(run, images=benchmark.images_within(run, feed, device, minutes))
        say(f"{run.images:,} images in about {minutes:g} minutes")
    held_out_images(run, feed)  # before a run folder is made
    engine = Engine(run, Prefetch(feed), device)
    check_upscale(engine.method.upscale, feed.scale)
    sources = [start_from] if isinstance(start_from, str | Path) else start_from
    discriminators = () if discriminator_from is None else (discriminator_from,)
    initial = initial_weights.start_from(engine, sources, discriminators, partial=partial)
    check_labels(engine.method, feed.labeled)
    record = describe_run(recipe, run, engine, feed.info, command)
    record["log"] = named
    record["on_collapse"] = on_collapse
    record["early_stopping"] = stopping
    if initial:
        record["initial"] = initial
        say(*initial_weights.lines(initial))
    with new_run_dir(out, record):
        if initial:  # so that the run resumes without the files that it started from
            checkpoint.save(out / "checkpoints", *engine.state())
        return _train(engine, out, record, {}, on_snapshot, own)


def resume(
    out: str | Path,
    *,
    images: int | None = None,
    device: str | None = None,
    set: Sequence[str] = (),
    data: str | Path | None = None,
    on_snapshot: OnSnapshot | None = None,
    log: Tracker | None = None,
) -> Model:
    """Continue the run in `out` from its last checkpoint, as if it had never stopped.

    `images`: total number of images at which to stop. None: that of the original
        command.
    `set`: numbers to change from here on, as in `train`; they are written to run.json.
    `data`: the data set's present place, if it was moved or the run was copied without
        its local.json. They may be other data of the same size and classes, such as the
        same with more images; run.json records the change.
    `on_snapshot`: as in `train`.
    `log`: an object of your own, as in `train`. None: the tracker of the run, if it has
        one.

    Returns the model with the final weights.

    Raises `UserError` if there is no run, another process writes it, no checkpoint can
    be read, or the data has changed and `data` does not say so.
    """
    distributed.init(device)
    out = Path(out)
    read_record(out)  # before the lock, which creates a file
    with run_lock(out):
        if distributed.rank() == 0:
            checkpoint.sweep(out)
        distributed.barrier()
        place = None if data is None else str(data)
        engine, record, unfinished = restore(
            out, "last", device, images=images, set=set, data=place
        )
        if engine.clock.images >= engine.run.images:
            if not (out / "report.html").is_file():
                write_report_quietly(out)
            more = engine.clock.images + max(engine.run.images, engine.clock.images) // 2
            raise UserError(
                f"{out} is complete: {engine.clock.images:,} of {engine.run.images:,} images. "
                f"To train on: {resume_command(out)} --images {more}"
            )
        if distributed.rank() == 0:
            write_record(out, record)
        return _train(engine, out, record, unfinished, on_snapshot, log)


def _train(
    engine: Engine,
    out: Path,
    record: RunRecord,
    unfinished: LogState,
    on_snapshot: OnSnapshot | None,
    tracker: Tracker | None,
) -> Model:
    """`_fit`, again after every return to an earlier checkpoint."""
    with explain_failures(out):
        while True:
            try:
                return _fit(engine, out, record, unfinished, on_snapshot, tracker)
            except NumericalError:
                if not after_numerical_error(engine, out, record):
                    raise
            except Rewound:
                pass
            distributed.barrier()
            engine.feed.close()
            engine, record, unfinished = restore(out, "last", str(engine.device))
            _save_model(engine, out, record)


def _fit(
    engine: Engine,
    out: Path,
    record: RunRecord,
    unfinished: LogState,
    on_snapshot: OnSnapshot | None,
    tracker: Tracker | None,
) -> Model:
    """Train from the engine's clock to the end of its run.

    `unfinished`: the log's unfinished line, from the checkpoint.

    Ctrl-C saves everything and raises `SystemExit`. Raises `Rewound` after the run
    folder was set back.
    """
    run, clock = engine.run, engine.clock
    rank0 = distributed.rank() == 0
    probe = Probe(engine.feed, held_out_images(run, engine.feed))
    with (
        catch_signals() as received,
        Progress(run.images, clock.images, quiet=not rank0) as bar,
        closing(Logger(out, engine, unfinished, record, tracker)) as log,
    ):
        if not (out / "report.html").exists():
            write_report_quietly(out, running=True)
        last_saved = last_report = time.monotonic()
        while engine.clock.images < run.images:
            log.add(engine.step())
            bar.update(engine.clock.images, log.latest)

            before, clock = clock.images, engine.clock
            done = clock.images >= run.images
            tick, due = (clock.images // record[n] > before // record[n] for n in ("tick", "save"))
            early = is_early(before, clock.images) and clock.images < record["tick"]
            overdue = time.monotonic() - last_saved > SAVE_SECONDS
            stop, save = sync_flags(received[0] if received else 0, due or tick or overdue or done)

            if early and not done and rank0:
                write_sample_grid(engine, out, record)
            if save or stop:
                log.sync()
                engine.check_weights()
                snapshot = None
                measured = tick or done  # before a stop, too: a resumed run does not return here
                several = engine.feed.info.count > 1
                rehearsed = probe.rehearse(engine) if measured and several else {}
                if rank0:
                    if measured:
                        snapshot = write_snapshot(engine, out, record, probe, rehearsed)
                        log.snapshot(snapshot)
                    elif stop and not early:
                        write_sample_grid(engine, out, record, STOPPED)
                _save(engine, out, record, log)
                last_saved = time.monotonic()
                judgement = judge(engine, out, record) if measured else Judgement(Verdict.GO_ON)
                if snapshot is not None and on_snapshot is not None:
                    on_snapshot(replace(snapshot, findings=judgement.findings))
                if judgement.verdict is Verdict.REWIND:
                    raise Rewound
                if judgement.verdict is Verdict.STOP:
                    write_report_quietly(out)
                    raise stopped(out, judgement.findings)
                if judgement.verdict is Verdict.END_EARLY and not done:
                    bar.close()
                    _end_here(engine, out, record)
                    break
            if stop:
                bar.close()
                stop_run(out, clock.images, run.images, stop)
            if save and not done and time.monotonic() - last_report > REPORT_SECONDS:
                write_report_quietly(out, running=True)
                last_report = time.monotonic()
    write_report_quietly(out)
    distributed.barrier()
    return Model(engine.model(), model_facts(engine, record), str(engine.device))


def _end_here(engine: Engine, out: Path, record: RunRecord) -> None:
    """Make the present number of images the run's length."""
    rule = record.get("early_stopping")
    assert rule is not None
    say(
        f"ended early at {engine.clock.images:,} images: no better {rule['measure']} in "
        f"{rule['snapshots']} snapshots"
    )
    run = replace(engine.run, images=engine.clock.images)
    record["run"], record["images"] = cast(dict[str, object], configuration.dump(run)), run.images
    if distributed.rank() == 0:
        write_record(out, record)


def _save_model(engine: Engine, out: Path, record: RunRecord) -> None:
    if distributed.rank() == 0:
        run, shape = portable(engine.run), engine.feed.info.shape
        model_file.save(out / "model", engine.model(), run, shape, model_facts(engine, record))


def _save(engine: Engine, out: Path, record: RunRecord, log: Logger) -> None:
    """Write the model file and a checkpoint; remove checkpoints that are not needed."""
    # The model file comes first: a run with a final checkpoint then always has its
    # model.
    _save_model(engine, out, record)
    values, shared, own = engine.state()
    values["log"] = log.state()
    checkpoint.save(out / "checkpoints", values, shared, own)
    if distributed.rank() == 0:
        checkpoint.prune(out / "checkpoints", best_checkpoint(out))
