"""Train a recipe on a data set and write a run folder that is resumable at every moment.

run.json            every number that decided the run, versions, the data's fingerprint, the command
local.json          the paths of this machine, which run.json does not hold; not needed by others
log.jsonl           losses by image count (bitwise the same whether or not the run was interrupted)
timing.jsonl        how long it took
measures.jsonl      the quality curve: a Frechet distance at every tick
samples/            grids at every tick, and some before the first; report.html shows it all
checkpoints/        to continue from; model/: to use
"""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ganvas import recipes
from ganvas.core import Run, distributed
from ganvas.core.environment import auto_precision, say, usable_device
from ganvas.core.errors import NumericalError, UserError
from ganvas.core.progress import Progress
from ganvas.data import Prefetch
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.engine.lock import run_lock
from ganvas.engine.restore import best_checkpoint, restore
from ganvas.engine.run_dir import portable, read_record, write_record
from ganvas.inference import model_file
from ganvas.inference.model import Model
from ganvas.training.logger import Logger
from ganvas.training.snapshot import is_early, model_facts, write_report_quietly, write_sample_grid, write_snapshot
from ganvas.training.start import (
    STOPPED,
    Stopped,
    _must_be_free,
    augmented,
    describe_run,
    new_run_dir,
    refuse_early,
    with_data,
)

SAVE_SECONDS = 300  # a checkpoint at least this often
REPORT_SECONDS = 60  # between two reports of a run that goes on, at least


def train(
    recipe: str,
    data: str | Path,
    *,
    out: str | Path,
    size: int | tuple[int, int] | None = None,
    batch: int | None = None,
    images: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    compile: str | None = None,
    augment: str | None = None,
    set: Sequence[str] = (),
    tensorboard: bool = False,
    command: str | None = None,
) -> Model:
    """Train `recipe` on `data` and write the run to `out`; returns the trained model.

    `data`: "digits", a path, or an official data set's name. `size`: pixels, one side or (height, width). `batch`: images per
    draw, all ranks together. `images`: where to stop, counted in real images drawn. `precision`: "fp32", "tf32"
    (CUDA), "bf16", or "auto" (`runs.auto_precision`). `compile`: a mode of torch.compile for the networks ("default";
    "reduce-overhead": CUDA graphs). `augment`: what the discriminators' images pass: "color,translation,cutout" or some of
    them, "ada", or "none", which leaves the recipe's own out. `set`: further numbers as "path=value" (`"D.width=32"`).
    Raises `UserError` for anything that does not fit, before training."""
    distributed.init(device)
    out = Path(out)
    device = usable_device(device)
    make = recipes.find(recipe)
    precision = auto_precision(device) if precision == "auto" else precision
    given = {"batch": batch, "images": images, "seed": seed, "precision": precision, "compile": compile}

    def described(
        count: int,
        set: Sequence[str] = set,
        size: int | tuple[int, int] | None = size,
        given: Mapping[str, Any] = given,
    ) -> Run:
        run = with_data(augmented(make(count), augment), data, size, set)
        return replace(run, **{k: v for k, v in given.items() if v is not None})

    if distributed.rank() == 0:
        _must_be_free(out)
    refuse_early(described, set, size, given, torch.device(device))
    feed = described(1).data()
    run = described(feed.info.count)
    engine = Engine(run, Prefetch(feed), device)
    if engine.method.upscale != feed.scale:
        raise UserError(
            f"the network enlarges {engine.method.upscale} times, and the data is reduced {feed.scale} times: give both, "
            "as in --set G.scale=2 --set data.scale=2"
        )
    record = describe_run(recipe, run, engine, feed.info, command, tensorboard)
    with new_run_dir(out, record):
        return _fit(engine, out, record, {})


def resume(
    out: str | Path,
    *,
    images: int | None = None,
    device: str | None = None,
    set: Sequence[str] = (),
    data: str | Path | None = None,
) -> Model:
    """Continue the run in `out`, to `images` in all (default: what it was started for), exactly as if it had never stopped.

    `set`: numbers to change from here on, as in `train`; they are written to run.json. `data`: where the run's data lie now,
    if they were moved or the run was copied without its local.json. Raises `UserError` where there is no run, where another
    process writes it, where no checkpoint can be read, or where the data has changed."""
    distributed.init(device)
    out = Path(out)
    read_record(out)  # before the lock, which makes a file
    with run_lock(out):
        if distributed.rank() == 0:
            checkpoint.sweep(out)
        distributed.barrier()
        where = None if data is None else str(data)
        engine, record, log = restore(out, "last", device, images=images, set=set, data=where)
        if engine.clock.images >= engine.run.images:
            if not (out / "report.html").is_file():
                write_report_quietly(out)
            more = engine.clock.images + max(engine.run.images, engine.clock.images) // 2
            raise UserError(
                f"{out} is complete: {engine.clock.images:,} of {engine.run.images:,} images. "
                f"To train on: ganvas resume {shlex.quote(str(out))} --images {more}"
            )
        if distributed.rank() == 0:
            write_record(out, record)
        return _fit(engine, out, record, log)


def _fit(engine: Engine, out: Path, record: dict[str, Any], unfinished: dict[str, Any]) -> Model:
    """Train from the engine's clock to the end of its run. Ends early, with everything saved, on Ctrl-C."""
    run, clock = engine.run, engine.clock
    folder, last_saved = out / "checkpoints", time.monotonic()
    command = f"ganvas resume {shlex.quote(str(out))}"
    log: Logger | None = None
    with _interrupts() as pressed, Progress(run.images, clock.images, quiet=distributed.rank() > 0) as bar:
        try:
            log = Logger(out, engine, unfinished, record)
            if not (out / "report.html").exists():
                write_report_quietly(out, running=True)
            last_report = time.monotonic()
            while engine.clock.images < run.images:
                log.add(engine.step())
                bar.update(engine.clock.images, log.latest)
                tick, save = (engine.clock.images // n > clock.images // n for n in (record["tick"], record["save"]))
                early = is_early(clock.images, engine.clock.images) and engine.clock.images < record["tick"]
                clock = engine.clock
                done = clock.images >= run.images
                overdue = time.monotonic() - last_saved > SAVE_SECONDS
                stop, save = _sync_flags(pressed[0] if pressed else 0, save or tick or overdue or done)
                if early and not done and distributed.rank() == 0:
                    write_sample_grid(engine, out, record)
                if save or stop:
                    log.sync()
                    engine.check_weights()
                    if distributed.rank() == 0:
                        if tick or done:  # also where it stops: it will not come by here again
                            write_snapshot(engine, out, record)
                        elif stop and not early:
                            write_sample_grid(engine, out, record, STOPPED)
                        # Before the checkpoint: a run whose last checkpoint stands has its model.
                        facts = model_facts(engine, record)
                        model_file.save(out / "model", engine.model(), portable(run), engine.feed.info.shape, facts)
                    values, shared, own = engine.state()
                    checkpoint.save(folder, {**values, "log": log.state()}, shared, own)
                    if distributed.rank() == 0:
                        checkpoint.prune(folder, best_checkpoint(out))
                    last_saved = time.monotonic()
                if stop:
                    bar.close()
                    write_report_quietly(out)
                    say(
                        f"stopped at {clock.images:,} of {run.images:,} images; everything is saved.",
                        f"Continue: {command}",
                    )
                    distributed.barrier()  # torchrun ends all ranks as soon as one has ended
                    raise SystemExit(128 + stop)
                if save and not done and time.monotonic() - last_report > REPORT_SECONDS:
                    write_report_quietly(out, running=True)
                    last_report = time.monotonic()
        except OSError as e:
            raise Stopped(
                f"training stopped: the run's folder {out} could not be written: {e}. Nothing of the last checkpoint is lost. "
                f"Free some space or make the folder writable, then continue: {command}"
            ) from None
        except NumericalError as e:
            bar.close()
            kept = checkpoint.all_of(folder)
            good = (
                f"the last good checkpoint, at {int(kept[-1].name):,} images, is kept"
                if kept
                else "nothing was saved before"
            )
            write_report_quietly(out)
            raise Stopped(
                f"training stopped: {e}. In {out}: {good}. To go on from it more carefully: "
                f"{command} --set optim.D.lr=… (a lower rate), or another --seed in a new run"
            ) from None
        finally:
            if log is not None:
                log.close()
    write_report_quietly(out)
    distributed.barrier()
    return Model(engine.model(), model_facts(engine, record), str(engine.device))


def _sync_flags(stop: int, save: bool) -> tuple[int, bool]:
    """Every rank stops and saves where one of them does. `stop`: the number of the signal that it received, or 0."""
    if distributed.world() == 1:
        return stop, save
    votes = torch.tensor([stop, save], dtype=torch.float32)
    distributed.all_reduce_max_(votes)
    return int(votes[0]), bool(votes[1])


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Within: the first Ctrl-C (or SIGTERM) is noted in the list; a second one interrupts at once.

    Not under torchrun, which passes on the signal that its processes have received already."""
    pressed: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if pressed:
            if distributed.world() > 1:
                return
            raise KeyboardInterrupt
        pressed.append(number)
        say("finishing this step and saving …")

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever owns it handles signals
        before = {}
    try:
        yield pressed
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
