"""Rebuild a run's engine from one of its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas.core import Clock, Method, Shape, config, distributed
from ganvas.core.environment import say, usable_device
from ganvas.core.errors import UserError, printable
from ganvas.data import Prefetch
from ganvas.engine import checkpoint
from ganvas.engine.build import build, require_buildable
from ganvas.engine.engine import Engine
from ganvas.engine.run_dir import _read_local, absolute, portable, read_lines, read_record, run_of


def best_checkpoint(out: Path) -> str | None:
    """The name of the checkpoint with the smallest distance on the quality curve."""
    measured = [line for line in read_lines(out / "measures.jsonl") if math.isfinite(line["frechet"])]
    return f"{min(measured, key=lambda line: line['frechet'])['images']:09d}" if measured else None


def restore(
    out: Path,
    which: str = "last",
    device: str | None = None,
    *,
    images: int | None = None,
    set: Sequence[str] = (),
    data: str | None = None,
) -> tuple[Engine, dict[str, Any], dict[str, Any]]:
    """(engine, run.json, the log's unfinished line) of a run, as a checkpoint left it: "last", "best" or a number of images.

    `data`: where the run's data lie now."""
    record = read_record(out)
    run = run_of(out, record)
    assert isinstance(run.data, partial)
    if data is not None:
        run = replace(run, data=partial(run.data.func, **{**run.data.keywords, "source": absolute(data)}))
    for assignment in set:
        run = config.override(run, assignment)
    run = replace(run, images=images or run.images)
    record |= {"run": config.dump(run), "images": run.images}
    if command := _read_local(out).command:
        record["command"] = command
    where = f"{out}, whose data are {record['data']['source']!r} ({record['data']['count']:,} images)"
    try:
        feed = run.data()
    except (UserError, TypeError) as e:
        raise UserError(f"{e}. To go on with {where}, say where they are: ganvas resume {out} --data PATH") from None
    if feed.info.fingerprint != record["data"]["fingerprint"]:
        raise UserError(
            f"the data at {printable(run.data.keywords.get('source'))} has changed since this run began, or is other data "
            f"(fingerprint {feed.info.fingerprint}, was {record['data']['fingerprint']}): restore it, name its place with "
            "--data, or start a new run with the new data"
        )
    where_to = usable_device(device)
    require_buildable(run, feed.info.shape, torch.device(where_to))
    engine = Engine(run, Prefetch(feed), where_to)
    found = _chosen(out, which)
    loaded = _first_sound(out, found) if found else None
    if loaded is None:
        return engine, record, {}  # killed before its first checkpoint: from the start
    values, shared, own = loaded
    engine.load_state(values, shared, own)
    if values["ranks"] != distributed.world():
        say(
            f"note: this run was saved by {values['ranks']} processes and continues with {distributed.world()}: each image "
            "gets the same noise as before; image pools of new processes start empty, and sums round differently"
        )
    return engine, record, values.get("log", {})


def weights_of(out: Path, which: str = "last") -> tuple[Method, dict[str, Any]]:
    """(method, run.json with `images_trained`) of a run's checkpoint, for inference: no data are opened, and no optimizer
    is built. Averaged weights where the run averages."""
    record = read_record(out)
    run = portable(run_of(out, record))
    found = _chosen(out, which)
    if not found:
        raise UserError(f"{out} has no checkpoint yet")
    values, shared, _ = _first_sound(out, found)
    shape = Shape(**{k: record["shape"][k] for k in ("channels", "height", "width", "classes")})
    require_buildable(run, shape, torch.device("cpu"))
    method = build(run, shape)
    tensors = {k.removeprefix("method/"): v for k, v in shared.items() if k.startswith("method/")}
    tensors |= {k.removeprefix("ema/"): v for k, v in shared.items() if k.startswith("ema/")}
    own = {name for name, m in method.named_modules() if getattr(m, "per_rank", False)}
    try:
        missing, unexpected = method.load_state_dict(tensors, strict=False)
    except RuntimeError as e:
        raise UserError(f"this checkpoint belongs to another method or other sizes: {printable(e)}") from None
    missing = [k for k in missing if not any(k.startswith(f"{name}.") for name in own)]
    unexpected = [k for k in unexpected if not k.startswith("augment.")]
    if missing or unexpected:
        names = ", ".join(map(printable, [*missing, *unexpected][:3]))
        raise UserError(f"this checkpoint belongs to another method: {names} … do not match")
    clock = Clock(**values["clock"])
    method.current_stage = method.stage(clock)
    return method.eval().requires_grad_(False), {**record, "images_trained": clock.images}


def _chosen(out: Path, which: str) -> list[Path]:
    """The checkpoints that `which` names, oldest first; of "last" all of them, since older ones stand in for damaged ones."""
    folder = out / "checkpoints"
    found = checkpoint.all_of(folder)
    if which == "last":
        return found
    if which == "best":
        best = best_checkpoint(out)
        if best is None or not (folder / best).is_dir():
            raise UserError(f"{out} has no best checkpoint yet; use last")
        return [folder / best]
    named = [p for p in found if which.isascii() and which.isdigit() and p.name.lstrip("0") == which.lstrip("0")]
    if not named:
        have = ", ".join(str(int(p.name)) for p in found) or "none"
        raise UserError(f"{out} keeps no checkpoint {which!r}; it has last, best and: {have}")
    return named


def _first_sound(out: Path, found: list[Path]) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor] | None]:
    trouble = None
    for path in reversed(found):
        try:
            return checkpoint.load(path, distributed.rank())
        except UserError as e:
            trouble = e
            if path != found[0]:
                say(f"warning: {e}; falling back to the checkpoint before it")
    raise UserError(f"no checkpoint of {out} can be read; the last trouble was: {trouble}")
