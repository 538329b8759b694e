"""Restore a run from one of its checkpoints.

`restore` rebuilds the engine, to train on: it opens the data and builds the optimizers.
`weights_of` builds only the networks, for inference.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from ganvas.core import Clock, Method, Run, Shape, config, distributed
from ganvas.core.environment import say, usable_device
from ganvas.core.errors import CheckpointError, DataError, UserError, printable, sentence
from ganvas.core.registry import shorten
from ganvas.data import Feed, Prefetch
from ganvas.data.info import Info
from ganvas.engine import checkpoint
from ganvas.engine.build import build, require_buildable, without_weights
from ganvas.engine.engine import Engine
from ganvas.engine.records import EngineState, LogState, RunRecord, data_record, shape_record
from ganvas.engine.run_dir import (
    absolute,
    best_line,
    best_measure,
    in_whole_batches,
    portable,
    read_lines,
    read_local,
    read_record,
    run_of,
)
from ganvas.engine.state import own_keys, without_prefix


def restore(
    out: Path,
    which: str = "last",
    device: str | None = None,
    *,
    images: int | None = None,
    set: Sequence[str] = (),
    data: str | None = None,
) -> tuple[Engine, RunRecord, LogState]:
    """Rebuild a run's engine as a checkpoint left it.

    out: the run folder
    which: the checkpoint: "last", "best" or its number of images
    device: None: the best of this machine
    images: where the run is to stop; None: where it was to stop
    set: assignments as of `--set`
    data: where the data are now; None: where they were

    Returns (engine, run.json, the log's unfinished line). The engine of a run without a
    checkpoint is at its start.

    Raises `UserError` if the run, its data or the checkpoint cannot be read or used.
    """
    record = read_record(out)
    run = run_of(out, record)
    assert isinstance(run.data, partial)
    if data is not None:
        keywords = {**run.data.keywords, "source": absolute(data)}
        run = replace(run, data=partial(run.data.func, **keywords))
    for assignment in set:
        run = config.override(run, assignment)
    run = in_whole_batches(replace(run, images=images or run.images))
    record["run"] = cast(dict[str, object], config.dump(run))
    record["images"] = run.images
    if command := read_local(out).command:
        record["command"] = command
    feed = _open_data(run, record, out, moved=data is not None)
    target = usable_device(device)
    require_buildable(run, feed.info.shape, torch.device(target))
    engine = Engine(run, Prefetch(feed), target)
    return engine, record, load_checkpoint(engine, out, record, which)


def load_checkpoint(engine: Engine, out: Path, record: RunRecord, which: str = "last") -> LogState:
    """Bring the engine of a run to the state of a checkpoint.

    record: of the run; other data than before are noted in it
    which: as of `restore`

    Returns the log's unfinished line. The engine of a run without a checkpoint stays at
    its start. Raises `UserError` if the checkpoint cannot be read or used.
    """
    feed = engine.feed
    paths = _checkpoints(out, which)
    if not paths:  # killed before its first checkpoint
        if record.get("initial"):
            raise CheckpointError(
                f"{printable(out)} was killed before the weights that it started from were saved: "
                "remove the folder, and start it again"
            )
        _note_new_data(record, feed.info, 0)
        return {}
    values, shared, own = _load_newest(out, paths)
    engine.load_state(values, shared, own)
    _note_new_data(record, feed.info, engine.clock.images)
    if values["ranks"] != distributed.world():
        say(
            f"note: this run was saved by {values['ranks']} processes and continues with "
            f"{distributed.world()}: each image gets the same noise as before; image pools of "
            "new processes start empty, and sums round differently"
        )
    return values.get("log", {})


def weights_of(out: Path, which: str = "last") -> tuple[Method, RunRecord]:
    """Build a run's method with a checkpoint's weights, for inference.

    It opens no data and builds no optimizer. The weights are the averaged ones if the
    run averages.

    Returns (method, run.json with `images_trained`). Raises `UserError` if the run or
    the checkpoint cannot be read.
    """
    record = read_record(out)
    run = portable(run_of(out, record))
    paths = _checkpoints(out, which)
    if not paths:
        raise CheckpointError(f"{out} has no checkpoint yet")
    values, shared, _ = _load_newest(out, paths)
    shape = _shape(record)
    require_buildable(run, shape, torch.device("cpu"))
    method = build(run, shape)
    tensors = {**without_prefix("method/", shared), **without_prefix("ema/", shared)}
    try:
        missing, unexpected = method.load_state_dict(tensors, strict=False)
    except RuntimeError as e:
        raise CheckpointError(
            f"this checkpoint belongs to another method or other sizes: {printable(e)}"
        ) from None
    own = own_keys(method)
    missing = [k for k in missing if k not in own]
    unexpected = [k for k in unexpected if not k.startswith("augment.")]
    if missing or unexpected:
        names = ", ".join(map(printable, [*missing, *unexpected][:3]))
        raise CheckpointError(f"this checkpoint belongs to another method: {names} … do not match")
    clock = Clock(**values["clock"])
    method.current_stage = method.stage(clock)
    record["images_trained"] = clock.images
    return method.eval().requires_grad_(False), record


def untrained_of(out: Path) -> Method:
    """Build a run's method without memory for weights, for its networks' settings.

    Raises `UserError` if the run cannot be read.
    """
    record = read_record(out)
    run, shape = portable(run_of(out, record)), _shape(record)
    require_buildable(run, shape, torch.device("cpu"))
    return without_weights(run, shape)


def _shape(record: RunRecord) -> Shape:
    sides = record["shape"]
    return Shape(
        sides["channels"],
        sides["height"],
        sides["width"],
        sides["classes"],
        tuple(sides.get("palette", ())),
        sides.get("ids", False),
    )


def newest_checkpoint(out: Path) -> tuple[Path, dict[str, Tensor]]:
    """The newest undamaged checkpoint: (its folder, tensors that ranks share).

    Raises `CheckpointError` if there is none.
    """
    paths = _checkpoints(out, "last")
    if not paths:
        raise CheckpointError(f"{printable(out)} has no checkpoint yet")
    values, shared, _ = _load_newest(out, paths)
    images = values["clock"]["images"]
    return next(path for path in paths if int(path.name) == images), shared


def best_checkpoint(out: Path) -> str | None:
    """The name of the checkpoint that is the best by the run's measure (`Run.best`).

    None without a finite measurement in measures.jsonl.
    """
    measure = best_measure(read_record(out))
    best = best_line(read_lines(out / "measures.jsonl"), measure)
    return None if best is None else f"{best['images']:09d}"


def _open_data(run: Run, record: RunRecord, out: Path, moved: bool) -> Feed:
    """The run's feed.

    moved: the user said where the data are: they may be other data than before, of the
        same shape, which is written to the record

    Raises `DataError` if the data changed and the user did not say so.
    """
    assert isinstance(run.data, partial)
    known = record["data"]
    resume = f"ganvas resume {shlex.quote(str(out))} --data PATH"
    opened, shape = run.data, record["shape"]
    if "palette" in shape and "ids" not in opened.keywords:
        # Older runs read numbers as colors, and go on so.
        opened = partial(opened, ids=shape.get("ids", False))
    try:
        feed = opened()
    except (UserError, TypeError) as e:
        raise DataError(
            f"{sentence(e)} To go on with {out}, whose data are {known['source']!r} "
            f"({known['count']:,} images), say where they are: {resume}"
        ) from None
    if feed.info.fingerprint == known["fingerprint"]:
        return feed
    if not moved:
        raise DataError(
            f"the data at {printable(run.data.keywords.get('source'))} has changed since this run "
            f"began, or is other data (fingerprint {feed.info.fingerprint}, was "
            f"{known['fingerprint']}): restore it; or go on with the data as they are now: {resume}"
        )
    shape, before = shape_record(feed.info.shape), record["shape"]
    alike = all(before.get(name, side) == side for name, side in shape.items())
    values = data_record(feed.info).get("values")
    if known.get("values") != values:
        raise DataError(
            f"the data at {printable(run.data.keywords.get('source'))} have the values {values}, "
            f"expected {known.get('values')}: convert them to the type of this run's data"
        )
    if not alike or list(known["classes"]) != list(feed.info.classes):
        raise DataError(
            f"the data at {printable(run.data.keywords.get('source'))} are not like this run's: "
            f"{shape} and classes {shorten(list(feed.info.classes))}, expected {before} and "
            f"{shorten(list(known['classes']))}. Start a new run from the old one's weights: "
            "ganvas train METHOD DATA --out NEW --from " + shlex.quote(str(out))
        )
    return feed


def _note_new_data(record: RunRecord, info: Info, images: int) -> None:
    """Write other data than before to the record, and tell the user."""
    before = record["data"]
    if info.fingerprint == before["fingerprint"]:
        return
    record["data"] = data_record(info)
    record["data_changes"] = [
        *record.get("data_changes", []),
        {"images": images, "before": before},
    ]
    say(
        f"note: from image {images:,} on, the data are {printable(info.source)} ({info.count:,} "
        f"images); before, they were {printable(before['source'])} ({before['count']:,} images)"
    )


def _checkpoints(out: Path, which: str) -> list[Path]:
    """The checkpoints that may serve as `which`, oldest first.

    All of them for "last", since older ones replace damaged ones.
    """
    folder = out / "checkpoints"
    paths = checkpoint.all_of(folder)
    if which == "last":
        return paths
    if which == "best":
        best = best_checkpoint(out)
        if best is None or not (folder / best).is_dir():
            raise CheckpointError(f"{out} has no best checkpoint yet; use last")
        return [folder / best]
    digits = which.lstrip("0") if which.isascii() and which.isdigit() else None
    named = [path for path in paths if path.name.lstrip("0") == digits]
    if not named:
        have = ", ".join(str(int(path.name)) for path in paths) or "none"
        raise CheckpointError(f"{out} keeps no checkpoint {which!r}; it has last, best and: {have}")
    return named


def _load_newest(
    out: Path, paths: list[Path]
) -> tuple[EngineState, dict[str, Tensor], dict[str, Tensor] | None]:
    """Load the newest checkpoint that is not damaged. See `checkpoint.load`."""
    error = None
    for path in reversed(paths):
        try:
            return checkpoint.load(path, distributed.rank())
        except UserError as e:
            error = e
            if path != paths[0]:
                say(f"warning: {e}; falling back to the checkpoint before it")
    raise CheckpointError(f"no checkpoint of {out} can be read; the last error was: {error}")
