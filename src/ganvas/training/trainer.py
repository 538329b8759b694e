"""Train a recipe on a data set and write a resumable run folder.

run.json            every number of the run, versions, data fingerprint, command
local.json          paths of this machine, which run.json leaves out
log.jsonl           losses by image count, bitwise the same with interruptions
timing.jsonl        seconds and images per second
measures.jsonl      the quality curve: measures at every snapshot
samples/            sample grids at every snapshot, and some before the first
checkpoints/        complete states to resume from
model/              the model file of the newest checkpoint
report.html         all of it on one page
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

from ganvas.core import Measure, distributed
from ganvas.core.config import dump
from ganvas.core.environment import say, usable_device
from ganvas.core.errors import UserError
from ganvas.core.progress import Progress
from ganvas.data import Prefetch
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.engine.lock import run_lock
from ganvas.engine.records import LogState, RunRecord
from ganvas.engine.restore import load_checkpoint, restore
from ganvas.engine.retention import DEFAULT, Retention
from ganvas.engine.run_dir import read_record, write_record
from ganvas.inference.model import Model
from ganvas.training import continuation
from ganvas.training import initial as initial_weights
from ganvas.training.interrupts import (
    catch_signals,
    explain_failures,
    resume_command,
    stop_run,
)
from ganvas.training.logger import Logger
from ganvas.training.planning import planned
from ganvas.training.saver import IDLE, Saver
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
)
from ganvas.training.validation import Validation, validation_of

SAVE_SECONDS = 300  # a checkpoint at least this often
REPORT_SECONDS = 60  # at least, between two reports of a run in progress
REPORT_SHARE = 0.01  # of the time, at most, goes into these reports

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
    best: Measure | None = None,
    tensorboard: bool = False,
    keep: str | None = None,
    resume: str = "never",
    command: str | None = None,
    on_snapshot: OnSnapshot | None = None,
) -> Model:
    """Train `recipe` on `data`, write the run to `out` and return the trained model.

    `recipe`: its name, or "auto": one that suits the data and the length of training
        (`ganvas.training.auto`), in `precision` "auto".
    `data`: "digits", "letters", a path, or the name of an official data set.
    `out`: the run folder; it must be new or empty, unless `resume` is "auto".
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
    `test`: pairs to measure at every snapshot and not to train on, in any form that
        `data` takes; for super-resolution whole images. None: the test part of `data`,
        if it has one.
    `best`: the measure by which the best checkpoint is kept: "frechet" (if None), or
        "psnr", "ssim" or "lpips" of these pairs.
    `tensorboard`: write TensorBoard files too.
    `keep`: checkpoints that stay beside the best, as "NEWEST,every=IMAGES,size=BYTES"
        or some of them (`ganvas.engine.retention`), e.g. "3,every=50000,size=20GB".
        None: the newest two.
    `resume`: "auto": the same call starts a run, continues it from its last checkpoint,
        or returns the model of a complete one; SIGTERM saves and raises `SystemExit`
        with status 0. "never": a run in `out` is an error.
    `command`: the command line for run.json. None: an equivalent one.
    `on_snapshot`: called on rank 0 with every `Snapshot`, after its checkpoint and
        model file are saved. An exception from it ends training; the run can be
        resumed.

    Returns the model with the final weights (averaged if the recipe averages).

    Raises `UserError` before training for any setting or data that does not fit.
    """
    if resume not in continuation.MODES:
        raise UserError(f"--resume takes {' or '.join(continuation.MODES)}; got {resume!r}")
    if keep is not None:
        Retention.parse(keep)
    distributed.init(device)
    out, device = Path(out), usable_device(device)
    known = read_record(out) if resume == "auto" and continuation.begun(out) else None
    if known is None and distributed.rank() == 0:
        must_be_free(out)
    recipe, run, feed = planned(
        recipe,
        data,
        device,
        minutes,
        known,
        size=size,
        batch=batch,
        images=images,
        seed=seed,
        precision=precision,
        compile=compile,
        augment=augment,
        freeze=freeze,
        test=test,
        best=best,
        set=set,
        config=config,
    )
    sources = [start_from] if isinstance(start_from, str | Path) else start_from
    discriminators = () if discriminator_from is None else (discriminator_from,)
    if known is not None:
        continuation.require_same(out, known, recipe, run, feed.info, [*sources, *discriminators])
    engine = Engine(run, Prefetch(feed), device)
    if known is not None:
        known["run"] = cast(dict[str, object], dump(run))
        known["images"] = run.images
        known["keep"] = keep or known.get("keep", DEFAULT)
        return _continue(engine, out, known, on_snapshot)
    check_upscale(engine.method.upscale, feed.scale)
    initial = initial_weights.start_from(engine, sources, discriminators, partial=partial)
    check_labels(engine.method, feed.labeled)
    validation = validation_of(run, engine.method, feed.info)
    record = describe_run(recipe, run, engine, feed.info, command, tensorboard)
    if validation is not None:
        record["held_out"] = validation.record()
        say(validation.line())
    if initial:
        record["initial"] = initial
        say(*initial_weights.lines(initial))
    record["keep"] = keep or DEFAULT
    with new_run_dir(out, record):
        if initial:  # so that the run resumes without the files that it started from
            checkpoint.save(out / "checkpoints", *engine.state())
        if resume == "auto":
            say(f"{out} is a new run of {run.images:,} images")
        unattended = resume == "auto"
        return _fit(engine, out, record, {}, validation, on_snapshot, unattended=unattended)


def resume(
    out: str | Path,
    *,
    images: int | None = None,
    device: str | None = None,
    set: Sequence[str] = (),
    data: str | Path | None = None,
    keep: str | None = None,
    on_snapshot: OnSnapshot | None = None,
) -> Model:
    """Continue the run in `out` from its last checkpoint, as if it had never stopped.

    `images`: total number of images at which to stop. None: that of the original
        command.
    `set`: numbers to change from here on, as in `train`; they are written to run.json.
    `data`: the data set's present place, if it was moved or the run was copied without
        its local.json. They may be other data of the same size and classes, such as the
        same with more images; run.json records the change.
    `keep`: as in `train`. None: as before.
    `on_snapshot`: as in `train`.

    Returns the model with the final weights.

    Raises `UserError` if there is no run, another process writes it, no checkpoint can
    be read, or the data has changed and `data` does not say so.
    """
    if keep is not None:
        Retention.parse(keep)
    distributed.init(device)
    out = Path(out)
    read_record(out)  # before the lock, which creates a file
    with _swept(out):
        place = None if data is None else str(data)
        engine, record, log = restore(out, "last", device, images=images, set=set, data=place)
        record["keep"] = keep or record.get("keep", DEFAULT)
        if _is_complete(engine, out):
            more = engine.clock.images + max(engine.run.images, engine.clock.images) // 2
            raise UserError(
                f"{out} is complete: {engine.clock.images:,} of {engine.run.images:,} images. "
                f"To train on: {resume_command(out)} --images {more}"
            )
        validation = validation_of(engine.run, engine.method, engine.feed.info)
        if validation is not None:
            record["held_out"] = validation.record()
        if distributed.rank() == 0:
            write_record(out, record)
        return _fit(engine, out, record, log, validation, on_snapshot)


def _continue(
    engine: Engine, out: Path, record: RunRecord, on_snapshot: OnSnapshot | None
) -> Model:
    """Continue the run of a new engine, or return the model of a complete one."""
    with _swept(out):
        log = load_checkpoint(engine, out, record)
        images = f"{engine.clock.images:,} of {engine.run.images:,} images"
        if _is_complete(engine, out):
            say(f"{out} is complete: {images}")
            return Model(engine.model(), model_facts(engine, record), str(engine.device))
        say(f"{out} continues at {images}")
        validation = validation_of(engine.run, engine.method, engine.feed.info.channels)
        if validation is not None:
            record["held_out"] = validation.record()
        if distributed.rank() == 0:
            write_record(out, record)
        return _fit(engine, out, record, log, validation, on_snapshot, unattended=True)


@contextmanager
def _swept(out: Path) -> Iterator[None]:
    """Hold the lock of a run folder, without incomplete files of killed processes."""
    with run_lock(out):
        if distributed.rank() == 0:
            checkpoint.sweep(out)
        distributed.barrier()
        yield


def _is_complete(engine: Engine, out: Path) -> bool:
    """Whether no image is left to train on; if so, write a report that is missing."""
    complete = engine.clock.images >= engine.run.images
    if complete and not (out / "report.html").is_file():
        write_report_quietly(out)
    return complete


def _fit(
    engine: Engine,
    out: Path,
    record: RunRecord,
    unfinished: LogState,
    validation: Validation | None,
    on_snapshot: OnSnapshot | None,
    *,
    unattended: bool = False,
) -> Model:
    """Train from the engine's clock to the end of its run.

    `unfinished`: the log's unfinished line, from the checkpoint.
    `unattended`: a launcher started this process, and may repeat the command.

    Ctrl-C saves everything and raises `SystemExit`.
    """
    run, clock = engine.run, engine.clock
    rank0 = distributed.rank() == 0
    (observed,) = distributed.largest(on_snapshot is not None)
    with (
        catch_signals(unattended=unattended) as received,
        explain_failures(out),
        Progress(run.images, clock.images, quiet=not rank0) as bar,
        closing(Logger(out, engine, unfinished, record)) as log,
        Saver(engine, out, record) as saver,
    ):
        write_report_quietly(out, running=True)
        last_saved = time.monotonic()
        next_report = last_saved + REPORT_SECONDS
        while engine.clock.images < run.images:
            log.add(engine.step())
            bar.update(engine.clock.images, log.latest)

            before, clock = clock.images, engine.clock
            done = clock.images >= run.images
            tick, due = (clock.images // record[n] > before // record[n] for n in ("tick", "save"))
            early = is_early(before, clock.images) and clock.images < record["tick"]
            overdue = time.monotonic() - last_saved > SAVE_SECONDS
            stop, overdue, phase = distributed.largest(
                received[0] if received else 0, overdue, saver.phase
            )
            saver.agree(phase)
            save = stop or due or tick or done or (overdue and phase == IDLE)

            if early and not done and rank0:
                write_sample_grid(engine, out, record)
            if save:
                saver.finish()
                log.flush()
                engine.check_weights()
                snapshot = None
                if rank0:
                    if tick or done:  # before a stop, too: a resumed run does not return here
                        snapshot = write_snapshot(engine, out, record, validation)
                    elif stop and not early and not unattended:  # launchers give little time
                        write_sample_grid(engine, out, record, STOPPED)
                saver.save(log.state(), log.sync)
                last_saved = time.monotonic()
                if stop or done or observed:
                    saver.finish()
                if snapshot is not None and on_snapshot is not None:
                    on_snapshot(snapshot)
            if stop:
                bar.close()
                stop_run(out, clock.images, run.images, stop, received, unattended=unattended)
            if not done and (start := time.monotonic()) > next_report:
                write_report_quietly(out, running=True)
                end = time.monotonic()
                next_report = end + max(REPORT_SECONDS, (end - start) / REPORT_SHARE)
    write_report_quietly(out)
    distributed.barrier()
    return Model(engine.model(), model_facts(engine, record), str(engine.device))
