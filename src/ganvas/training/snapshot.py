"""Snapshots of a training run: sample grid, point of the quality curve, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import torch
from PIL.Image import Image
from torch import Tensor

from ganvas.core import Method, Run, Samples, Translates, distributed
from ganvas.core.environment import say
from ganvas.core.errors import UserError
from ganvas.data import Prefetch
from ganvas.data.feed import Feed
from ganvas.engine.engine import Engine
from ganvas.engine.records import LogState, RunRecord, ShortStage
from ganvas.evaluation.report import write_report
from ganvas.inference.model import Model
from ganvas.media import encode
from ganvas.media import grid as media
from ganvas.training.monitor import Finding
from ganvas.training.notes import stage_begins
from ganvas.training.probe import FEATURES, Probe
from ganvas.training.validation import Validation

SNAPSHOT_INTERVAL = 1000  # images, at least, between two snapshots
STOPPED = "stopped-"  # prefix of the sample grid of an interrupted run
GRID_IMAGES = 64  # images in a sample grid


@dataclass(frozen=True)
class Snapshot:
    """One snapshot of a run, as `on_snapshot` of `ganvas.train` receives it."""

    images: int  # real images drawn so far
    folder: Path  # the run folder; its model/ can be loaded
    # Of `training.probe`, unless the data set is one image; with held-out pairs "psnr",
    # "ssim" and, if its weights are there, "lpips".
    measures: Mapping[str, float]
    grid: Path  # the sample grid
    findings: Sequence[Finding] = ()  # faults that show for the first time


def is_early(before: int, now: int) -> bool:
    """Whether 1,000, 2,000, 4,000 … images were passed between `before` and `now`.

    Early sample grids appear there, since the first snapshot may be hours away.
    """
    return (before // SNAPSHOT_INTERVAL).bit_length() < (now // SNAPSHOT_INTERVAL).bit_length()


class Schedule(TypedDict):
    """Fields of run.json that say when snapshots are due."""

    tick: int
    short_stage: NotRequired[ShortStage]


def schedule(run: Run, method: Method) -> Schedule:
    """When the snapshots of a new run are due.

    20 times, `SNAPSHOT_INTERVAL` images apart or more; and in the stage in which the
    run ends, at its start and as often as the method asks for.
    """
    found: Schedule = {"tick": max(run.batch, run.images // 20, SNAPSHOT_INTERVAL)}
    last = method.stage(run.clock(run.images - 1))
    if method.last_snapshots:
        start = stage_begins(run, method, last.index, -1, run.images - 1)
        every = max(run.batch, (run.images - start) // method.last_snapshots)
        if every < found["tick"]:
            found["short_stage"] = {"start": start, "every": every}
    return found


def is_due(record: RunRecord, before: int, now: int) -> bool:
    """Whether a snapshot is due after a step from `before` to `now` images."""
    if now // record["tick"] > before // record["tick"]:
        return True
    stage = record.get("short_stage")
    if stage is None or now < stage["start"]:
        return False
    start, every = stage["start"], stage["every"]
    return (now - start) // every > (before - start) // every


def write_sample_grid(engine: Engine, out: Path, record: RunRecord, prefix: str = "") -> Model:
    """Write a sample grid of the current model, and return the model.

    prefix: `STOPPED` for a grid that an uninterrupted run would not have; `resume`
        removes it.
    """
    model = _model(engine, record)
    _save_grid(sample_grid(model, engine.feed, engine.run.seed), model, engine, out, prefix)
    return model


def owes_snapshot(out: Path, log: LogState, images: int) -> bool:
    """Whether the snapshot that follows a run's last checkpoint was not completed.

    log, images: of the checkpoint
    """
    return log.get("snapshot", False) and not _grid_file(out, images).is_file()


def _model(engine: Engine, record: RunRecord) -> Model:
    return Model(engine.model(), model_facts(engine, record), str(engine.device))


def _grid_file(out: Path, images: int, prefix: str = "") -> Path:
    return out / "samples" / f"{prefix}{images:09d}.png"


def _save_grid(grid: Image, model: Model, engine: Engine, out: Path, prefix: str = "") -> Path:
    composite = isinstance(model.method, Translates)  # its grids show real images, too
    file = _grid_file(out, engine.clock.images, prefix)
    encode.save(grid, file, composite=composite, **model.facts, seed=engine.run.seed)
    return file


def write_snapshot(
    engine: Engine,
    out: Path,
    record: RunRecord,
    probe: Probe,
    rehearsed: Mapping[str, float],
    validation: Validation | None = None,
    interruptible: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Snapshot:
    """Write a line of measures and a sample grid.

    The grid is written last: a snapshot without it is not complete (`owes_snapshot`).

    rehearsed: of `Probe.rehearse`, which all ranks call
    validation: of held-out pairs; None: there are none
    interruptible: a context in which everything is computed before it is written
    """
    images = engine.clock.images
    measures: dict[str, float] = {}
    notes: dict[str, str] = {}
    with interruptible():
        model = _model(engine, record)
        grid = sample_grid(model, engine.feed, engine.run.seed)
        if engine.feed.info.count >= 2:  # a single image has no distribution
            measures = {**probe.measure(engine, model), **rehearsed}
            notes["extractor"] = FEATURES
        if validation is not None:
            try:
                measures |= validation(model)
                notes["protocol"] = validation.record()["protocol"]
            except UserError as e:  # files that were there when the run began
                say(f"warning: the held-out pairs could not be measured: {e}")
    if measures:
        line = {"images": images, **measures, **notes}
        with (out / "measures.jsonl").open("a", encoding="utf-8") as f:
            print(json.dumps(line), file=f)
    return Snapshot(images, out, measures, _save_grid(grid, model, engine, out))


def sample_grid(model: Model, feed: Feed | Prefetch, seed: int) -> Image:
    """Samples of the model in one image.

    Noise to image: a grid of samples. Image to image: rows of inputs, outputs and, for
    paired data, targets; then rows of samples of each domain if the method samples.
    """
    if not isinstance(model.method, Translates):
        columns = model.columns(GRID_IMAGES)
        n = GRID_IMAGES if columns is None else GRID_IMAGES // columns * columns
        samples = model.sample(n, seed=seed, output="torch")
        return media.grid(model.runtime.apart(samples), columns=columns)
    real = feed.fixed(8)
    rows: list[Tensor] = []
    for to in model.method.directions:
        x, target = (real.a, real.b) if to == "b" else (real.b, real.a)
        shown = torch.nn.functional.interpolate(
            x, scale_factor=model.method.upscale, mode="nearest"
        )
        rows += [shown, torch.cat([model.translate(one[None], to=to, output="torch") for one in x])]
        rows += [target] if feed.info.task == "pairs" else []
    if isinstance(model.method, Samples):
        rows += [
            model.sample(8, seed=seed, labels=[y] * 8, output="torch")
            for y in range(model.method.classes)
        ]
    return media.grid(model.runtime.apart(torch.cat(rows)), columns=8)


def model_facts(engine: Engine, record: RunRecord) -> dict[str, object]:
    """Facts of the run that a model file carries."""
    keys = ("ganvas", "recipe", "paper", "task", "seed", "shape", "data", "commit", "versions")
    return {**{k: record[k] for k in keys}, "images_trained": engine.clock.images}


def write_report_quietly(out: Path, running: bool = False) -> None:
    """Write report.html on rank 0; a failure is only a warning.

    running: the run is still in progress.
    """
    if distributed.rank() == 0:
        try:
            write_report(out, running=running)
        except Exception as e:
            say(f"warning: the report could not be written: {e}")
