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

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ganvas.core import Measure, distributed
from ganvas.core.arguments import checked
from ganvas.core.config import Assignments, assignments, dump
from ganvas.core.environment import say, usable_device
from ganvas.core.errors import UserError
from ganvas.core.guards import plural
from ganvas.core.sizes import parse_size
from ganvas.data import Prefetch
from ganvas.data.open_source import one_text
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.engine.lock import run_lock
from ganvas.engine.records import LogState, RunRecord
from ganvas.engine.restore import load_checkpoint, restore
from ganvas.engine.retention import DEFAULT, Retention
from ganvas.engine.run_dir import count_of, in_whole_batches, read_record, write_record
from ganvas.inference.importers.options import Options
from ganvas.inference.model import Model
from ganvas.training import continuation, trackers
from ganvas.training import initial as initial_weights
from ganvas.training.command import command_of
from ganvas.training.interrupts import resume_command
from ganvas.training.loop import OnSnapshot, Watching, fit
from ganvas.training.notes import notes, notes_on_data, notes_on_going_on
from ganvas.training.planning import planned
from ganvas.training.probe import held_out_images
from ganvas.training.snapshot import model_facts, owes_snapshot, write_report_quietly
from ganvas.training.start import (
    check_labels,
    check_upscale,
    describe_run,
    must_be_free,
    new_run_dir,
)
from ganvas.training.trackers import Tracker
from ganvas.training.validation import validation_of
from ganvas.training.watch import ON_COLLAPSE, parse_early_stopping, require_measured


@checked
def train(
    recipe: str,
    data: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    size: int | str | tuple[int, int] | None = None,
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
    option: Options | None = None,
    freeze: str | None = None,
    set: Assignments = (),
    config: str | Path | None = None,
    test: str | Path | None = None,
    best: Measure | None = None,
    on_collapse: str = "warn",
    early_stopping: str | None = None,
    log: str | Tracker | None = None,
    keep: int | str | None = None,
    resume: str = "never",
    on_snapshot: OnSnapshot | None = None,
) -> Model:
    """Train `recipe` on `data`, write the run to `out` and return the trained model.

    recipe: its name, or "auto": one that suits the data and the length of training
        (`ganvas.training.auto`), in `precision` "auto".
    data: "digits", "letters", a path, or the name of an official data set; two paths
        as a list or as "PATH_A,PATH_B".
    out: the run folder; it must be new or empty, unless `resume` is "auto".
    size: pixels, one side or (height, width), also as text ("48x64"). None: the
        recipe's.
    batch: images per batch, over all ranks.
    images: length of the run in real images drawn. The recipe's stages and schedules
        become shorter or longer in proportion; `set` may give others.
    minutes: length of the run in minutes, about: the rate is measured first, and the
        number of images follows from it.
    seed: every random number of the run follows from it.
    device: "cpu", "cuda", "cuda:1", "mps". None: the fastest that there is.
    precision: "fp32", "tf32" (CUDA), "bf16", or "auto" (bf16 where the hardware has
        it).
    compile: torch.compile mode for the networks ("default"; "reduce-overhead": CUDA
        graphs).
    augment: augmentation of the discriminators' images: "ada",
        "color,translation,cutout" or some of the three, or "none", which removes the
        recipe's own.
    start_from: weights to start from: a run, a model or another project's file, or
        several, each "[NETWORK=]PATH[#PART]" (`ganvas.training.initial`).
    discriminator_from: the same, of which only discriminators are taken.
    partial: take the tensors of these that fit, instead of refusing others.
    option: settings of other projects' networks that their files do not show.
    freeze: weights that stay as they are: "G:mapping,D:3" (`ganvas.engine.freezing`).
    set: further numbers by their path: `{"D.width": 32}` or `["D.width=32"]`.
    config: a TOML file of settings (`ganvas.training.config_file`). Arguments and
        `set` take precedence over it.
    test: images to measure at every snapshot and not to train on, in any form that
        `data` takes; of pairs PSNR, SSIM and LPIPS, for super-resolution of whole
        images. None: the test part of `data`, if it has one.
    best: the measure by which the best checkpoint is kept: "frechet" (if None), or
        "psnr", "ssim" or "lpips" of held-out pairs.
    on_collapse: on a fault that the monitor sees, "warn"; "stop" after saving; or
        "rewind" to the last good checkpoint and go on with one changed setting.
    early_stopping: end when a measure has no new best: "frechet", "coverage:8" (for 8
        snapshots), precision, recall, of held-out pairs psnr, ssim and lpips, and of a
        method without a discriminator its loss on held-out images, "VAE/loss_heldout".
    log: send the log and sample grids to "tensorboard", "wandb", "trackio" or
        "mlflow", too; or to an object of your own with the functions of
        `ganvas.training.trackers.Tracker`: `scalars`, called with every line of the
        log, `image` and `close`.
    keep: checkpoints that stay beside the best, as "NEWEST,every=IMAGES,size=BYTES"
        or some of them (`ganvas.engine.retention`), e.g. "3,every=50000,size=20GB".
        None: the newest two.
    resume: "auto": the same call starts a run, continues it from its last checkpoint,
        or returns the model of a complete one; SIGTERM saves and raises `SystemExit`
        with status 0. "never": a run in `out` is an error.
    on_snapshot: called on rank 0 with every `Snapshot`, after its checkpoint and
        model file are saved. An exception from it ends training; the run can be
        resumed.

    Returns the model with the final weights (averaged if the recipe averages).

    Raises `UserError` before training for any setting or data that does not fit.
    """
    command = command_of(train, {**locals(), "data": (data := one_text(data))})
    size = parse_size(size)
    if resume not in continuation.MODES:
        raise UserError(f"resume takes {' or '.join(continuation.MODES)}; got {resume!r}")
    keep = None if keep is None else str(keep)
    if keep is not None:
        Retention.parse(keep)
    distributed.init(device)
    out, device = Path(out), usable_device(device)
    known = read_record(out) if resume == "auto" and continuation.begun(out) else None
    if known is None and distributed.rank() == 0:
        must_be_free(out)
    if on_collapse not in ON_COLLAPSE:
        raise UserError(f"on_collapse is {on_collapse!r}; expected {', '.join(ON_COLLAPSE)}")
    named = trackers.checked(log) if isinstance(log, str) else None
    tracker = None if isinstance(log, str) else trackers.complete(log)
    stopping = parse_early_stopping(early_stopping)
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
        set=assignments(set),
        config=config,
    )
    sources = [start_from] if isinstance(start_from, str | Path) else start_from
    discriminators = () if discriminator_from is None else (discriminator_from,)
    if known is not None:
        run = continuation.continued(run, known)
        continuation.require_same(out, known, recipe, run, feed.info, [*sources, *discriminators])
    fitted, run = run.images, in_whole_batches(run)
    if run.images != fitted and known is None:
        say(f"the run has {plural(run.images, 'image')}, in whole batches, instead of {fitted:,}")
    engine = Engine(run, Prefetch(feed), device)
    if known is not None:
        known["run"] = cast(dict[str, object], dump(run))
        known["images"] = run.images
        known["keep"] = keep or known.get("keep", DEFAULT)
        # What watches a run is no setting of the training: the latest call decides.
        known["log"], known["on_collapse"] = named, on_collapse
        known["early_stopping"] = stopping
        return _continue(engine, out, known, on_snapshot, tracker)
    check_upscale(engine.method.upscale, feed.scale)
    initial = initial_weights.start_from(
        engine, sources, discriminators, partial=partial, options=option
    )
    check_labels(engine.method, feed.labeled)
    record = describe_run(recipe, run, engine, feed.info, command)
    record["fitted"] = fitted
    unattended = resume == "auto"
    record["early_stopping"] = stopping
    watching = _watching(engine, record, on_snapshot, tracker, unattended=unattended)
    record["log"] = named
    record["on_collapse"] = on_collapse
    say(*notes_on_data(feed.info, record), *notes(run, engine.method))
    if watching.validation is not None:
        say(watching.validation.line())
    if initial:
        record["initial"] = initial
        say(*initial_weights.lines(initial))
    record["keep"] = keep or DEFAULT
    with new_run_dir(out, record):
        if initial:  # so that the run resumes without the files that it started from
            checkpoint.save(out / "checkpoints", *engine.state())
        if unattended:
            say(f"{out} is a new run of {run.images:,} images")
        return fit(engine, out, record, {}, watching)


@checked
def resume(
    out: str | Path,
    *,
    images: int | None = None,
    device: str | None = None,
    set: Assignments = (),
    data: str | Path | Sequence[str | Path] | None = None,
    keep: int | str | None = None,
    on_snapshot: OnSnapshot | None = None,
    log: Tracker | None = None,
) -> Model:
    """Continue the run in `out` from its last checkpoint, as if it had never stopped.

    images: total number of images at which to stop. None: that of the original
        command.
    device: as in `train`; it may be another than before.
    set: numbers to change from here on, as in `train`; they are written to run.json.
    data: the data set's present place, if it was moved or the run was copied without
        its local.json. They may be other data of the same size and classes, such as the
        same with more images; run.json records the change.
    keep: as in `train`. None: as before.
    on_snapshot: as in `train`.
    log: an object of your own, as in `train`. None: the tracker of the run, if it has
        one.

    Returns the model with the final weights.

    Raises `UserError` if there is no run, another process writes it, no checkpoint can
    be read, or the data has changed and `data` does not say so.
    """
    keep = None if keep is None else str(keep)
    if keep is not None:
        Retention.parse(keep)
    distributed.init(device)
    out = Path(out)
    read_record(out)  # before the lock, which creates a file
    with _swept(out):
        place = None if data is None else one_text(data)
        engine, record, unfinished = restore(
            out, "last", device, images=images, set=assignments(set), data=place
        )
        record["keep"] = keep or record.get("keep", DEFAULT)
        if _is_complete(engine, out, unfinished):
            more = engine.clock.images + max(engine.run.images, engine.clock.images) // 2
            raise UserError(
                f"{out} is complete: {count_of(engine.clock.images, engine.run.images)}. "
                f"To train on: {resume_command(out)} --images {more}"
            )
        say(*notes_on_data(engine.feed.info, record))
        say(*notes_on_going_on(engine.run, engine.clock.images))
        watching = _watching(engine, record, on_snapshot, log, strict=False)
        if distributed.rank() == 0:
            write_record(out, record)
        return fit(engine, out, record, unfinished, watching)


def _continue(
    engine: Engine,
    out: Path,
    record: RunRecord,
    on_snapshot: OnSnapshot | None,
    tracker: Tracker | None,
) -> Model:
    """Continue the run of a new engine, or return the model of a complete one."""
    with _swept(out):
        unfinished = load_checkpoint(engine, out, record)
        images = count_of(engine.clock.images, engine.run.images)
        if _is_complete(engine, out, unfinished):
            say(f"{out} is complete: {images}")
            return Model(engine.model(), model_facts(engine, record), str(engine.device))
        say(f"{out} continues at {images}")
        say(*notes_on_data(engine.feed.info, record))
        say(*notes_on_going_on(engine.run, engine.clock.images))
        watching = _watching(engine, record, on_snapshot, tracker, unattended=True)
        if distributed.rank() == 0:
            write_record(out, record)
        return fit(engine, out, record, unfinished, watching)


def _watching(
    engine: Engine,
    record: RunRecord,
    on_snapshot: OnSnapshot | None,
    tracker: Tracker | None,
    *,
    unattended: bool = False,
    strict: bool = True,
) -> Watching:
    """Open the images that are not trained on; the record names what is measured.

    strict: raise `UserError`, and do not only say so, if early stopping depends on a
        measure that is not taken
    """
    run, feed = engine.run, engine.feed
    validation = validation_of(run, engine.method, feed.info)
    held_out = held_out_images(run, feed, paired=validation is not None)
    rule = record.get("early_stopping")
    try:
        require_measured(rule, engine.method, feed.info, validation, held_out is not None)
    except UserError as e:
        if strict:
            raise
        say(f"warning: {e}")
    if validation is not None:
        record["held_out"] = validation.record()
    return Watching(validation, held_out, on_snapshot, tracker, unattended)


@contextmanager
def _swept(out: Path) -> Iterator[None]:
    """Hold the lock of a run folder, without incomplete files of killed processes."""
    with run_lock(out):
        if distributed.rank() == 0:
            checkpoint.sweep(out)
        distributed.barrier()
        yield


def _is_complete(engine: Engine, out: Path, unfinished: LogState) -> bool:
    """Whether nothing is left to train and measure; if so, write a missing report."""
    images = engine.clock.images
    owes = distributed.rank() == 0 and owes_snapshot(out, unfinished, images)
    complete = images >= engine.run.images and not distributed.largest(owes)[0]
    if complete and not (out / "report.html").is_file():
        write_report_quietly(out)
    return complete
