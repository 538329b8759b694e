"""A run's folder, read: its record, its curve, its checkpoints. What training writes and everybody else reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ganvas import config, ranks
from ganvas.core import Run
from ganvas.data import Prefetch
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.errors import UserError


def restore(
    out: Path, which: str = "last", device: str | None = None, *, images: int | None = None, set: Sequence[str] = ()
) -> tuple[Engine, dict[str, Any], dict[str, Any]]:
    """(engine, run.json, the log's unfinished line) of a run, as a checkpoint left it: "last", "best" or a number of images."""
    record = read_record(out)
    run: Run = config.load(record["run"])
    for assignment in set:
        run = config.override(run, assignment)
    run = replace(run, images=images or run.images)
    record |= {"run": config.dump(run), "images": run.images}
    feed = run.data()
    if feed.info.fingerprint != record["data"]["fingerprint"]:
        raise UserError(
            f"the data at {record['data']['source']} has changed since this run began (fingerprint "
            f"{feed.info.fingerprint}, was {record['data']['fingerprint']}): restore it, or start a new run with the new data"
        )
    engine = Engine(run, Prefetch(feed), usable_device(device))
    folder = out / "checkpoints"
    found = checkpoint.all_of(folder)
    if which == "best":
        best = best_checkpoint(out)
        if best is None or not (folder / best).is_dir():
            raise UserError(f"{out} has no best checkpoint yet; use last")
        found = [folder / best]
    elif which != "last":
        found = [p for p in found if int(p.name) == int(which)] if which.isdigit() else []
        if not found:
            have = ", ".join(str(int(p.name)) for p in checkpoint.all_of(folder)) or "none"
            raise UserError(f"{out} keeps no checkpoint {which!r}; it has last, best and: {have}")
    trouble = None
    for path in reversed(found):
        try:
            values, shared, own = checkpoint.load(path, ranks.rank())
        except UserError as e:
            trouble = e
            say(f"warning: {e}; falling back to the checkpoint before it")
            continue
        engine.load_state(values, shared, own)
        if values["ranks"] != ranks.world():
            say(
                f"note: this run was saved by {values['ranks']} processes and continues with {ranks.world()}: each image "
                "gets the same noise as before; image pools of new processes start empty, and sums round differently"
            )
        return engine, record, values["log"]
    if trouble is not None:
        raise UserError(f"no checkpoint of {out} can be read; the last trouble was: {trouble}")
    return engine, record, {}  # killed before its first checkpoint: from the start


def read_record(out: Path) -> dict[str, Any]:
    """run.json of a run folder. Raises `UserError` where there is none or it cannot be read."""
    try:
        return json.loads((out / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"there is no run in {out} (no run.json){runs_below(out) or f'. Start one: ganvas train METHOD DATA --out {out}'}"
        ) from None
    except (OSError, json.JSONDecodeError) as e:
        raise UserError(f"{out / 'run.json'} cannot be read: {e}") from None


def runs_below(folder: Path) -> str:
    """What a message adds where `folder` is not a run and holds some: ", but there are: ..."; "" where it holds none."""
    found = sorted((p.parent for p in folder.glob("*/run.json")), key=lambda p: p.stat().st_mtime, reverse=True)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f", but there {'are' if len(found) > 1 else 'is'}: {', '.join(map(str, found[:5]))}{more}" if found else ""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl file; a last line that a killed process left half written is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def best_checkpoint(out: Path) -> str | None:
    """The name of the checkpoint with the smallest distance on the quality curve."""
    measured = read_lines(out / "measures.jsonl")
    return f"{min(measured, key=lambda line: line['frechet'])['images']:09d}" if measured else None


def usable_device(device: str | None) -> str:
    """`device`, or the best there is. Raises `UserError` where it cannot be used."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as e:
        raise UserError(
            f"device {device!r} cannot be used: {str(e).splitlines()[0]}. Leave --device out to choose one"
        ) from None
    return device


def auto_precision(device: str) -> str:
    """ "bf16" where the device multiplies in it: GPUs, and processors with its instructions (by
    /proc/cpuinfo, which Linux has); else "fp32", since emulated bf16 is slower."""
    if device != "cpu":
        return "bf16" if device.startswith("cuda") and torch.cuda.is_bf16_supported(False) else "fp32"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return "fp32"
    return "bf16" if {"avx512_bf16", "amx_bf16", "bf16"} & set(flags) else "fp32"


def say(text: str) -> None:
    if ranks.rank() == 0:
        print(text, file=sys.stderr, flush=True)
