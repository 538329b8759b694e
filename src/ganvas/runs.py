"""Run folders: read the description, the curves and the checkpoints of a run, and lock it for the one process that writes.

`run.json` describes the run and holds no path of the machine that it was made on, only the names of files and folders. Their
paths stand in `local.json`, which is not needed to sample from the run and need not be shared.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pydantic
import torch
from torch import Tensor

from ganvas import config, ranks
from ganvas.core import Clock, Method, Run, Shape
from ganvas.data import Prefetch
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine, build
from ganvas.errors import UserError, printable
from ganvas.jsonfile import parse_json, read_json

try:
    import fcntl
except ImportError:  # Windows: runs are not locked there
    fcntl = None

NOTE = "Where this run's data lie on this machine, and the command as it was given. Leave this file out when you share the run."
WEIGHTS = (".pth", ".pt", ".safetensors")  # files that a method's setting may name


# ---------------------------------------------------------------- one writer


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Within: this process (rank 0 of several) is the only one that writes the run's folder.

    The system releases the lock when the process ends, however it ends; the text of the file is informational. Raises
    `UserError`, which names the holder, if another process writes. Reading is never blocked."""
    if ranks.rank() != 0 or fcntl is None:
        yield
        return
    path = out / ".lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise UserError(f"the run's folder {out} cannot be written: {e.strerror}. Make it writable") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = printable(os.read(handle, 200).decode(errors="replace")) or "another process"
            raise UserError(f"{out} is being written by {holder}. Wait until it has ended, or stop it") from None
        except OSError:  # a file system without locks
            pass
        with suppress(OSError):  # a full disk
            os.truncate(handle, 0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode())
        yield
    finally:
        with suppress(OSError):
            os.truncate(handle, 0)
        os.close(handle)


# ---------------------------------------------------------------- run.json and local.json

Positive = Annotated[int, pydantic.Field(ge=1)]
Count = Annotated[int, pydantic.Field(ge=0)]


class _Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)


class _Shape(_Open):
    channels: Annotated[int, pydantic.Field(ge=1, le=4)]
    height: Positive
    width: Positive
    classes: Count


class _Data(_Open):
    source: str
    count: Count
    fingerprint: str


class _Record(_Open):
    """What every run.json holds; more may stand beside it."""

    ganvas: str
    recipe: str
    paper: str
    task: str
    images: Count
    seed: int
    save: Positive
    tick: Positive
    tensorboard: bool = False
    shape: _Shape
    data: _Data
    run: dict[str, Any]
    versions: dict[str, str]
    commit: str | None


class _Local(_Open):
    note: str = ""
    command: str = ""
    paths: dict[str, str] = {}


def read_record(out: Path) -> dict[str, Any]:
    """run.json of a run folder. Raises `UserError` where there is none or it cannot be read."""
    path = out / "run.json"
    if not path.exists():
        raise UserError(
            f"there is no run in {out} (no run.json){runs_below(out) or f'. Start one: ganvas train METHOD DATA --out {out}'}"
        )
    return _checked(read_json(path, "run description"), _Record, path)


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Write run.json, and local.json with the paths that it does not hold."""
    tree, paths = _without_paths(record["run"])
    command = record.get("command") or ""
    public = {**record, "run": tree, "command": _without_folders(command)}
    known = _read_local(out)
    local = {"note": NOTE, "command": command if command != public["command"] else known.command, "paths": paths}
    if local["command"] or paths:
        checkpoint.write_atomically(out / "local.json", json.dumps(local, indent=1))
    checkpoint.write_atomically(out / "run.json", json.dumps(public, indent=1))


def run_of(out: Path, record: dict[str, Any]) -> Run:
    """The `Run` that a run.json describes, with this machine's paths where local.json has them."""
    where = out / "run.json"
    try:
        run = config.load(_with_paths(record["run"], _read_local(out).paths))
    except UserError:
        raise
    except Exception as e:  # whatever a description that was not written by this program leads to
        raise UserError(f"{where} does not describe a run: {printable(e)}") from None
    if not isinstance(run, Run) or not isinstance(run.data, partial) or not isinstance(run.optim, dict):
        raise UserError(f"{where} does not describe a run: its `run` is something else")
    return run


def portable(run: Run) -> Run:
    """`run` without the files of weights that its method names, which only training needs."""
    assert isinstance(run.method, partial)
    kept = {k: None if isinstance(v, str) and Path(v).suffix in WEIGHTS else v for k, v in run.method.keywords.items()}
    return replace(run, method=partial(run.method.func, **kept))


def runs_below(folder: Path) -> str:
    """What a message adds where `folder` is not a run and holds some: ", but there are: ..."; "" where it holds none."""
    found = sorted((p.parent for p in folder.glob("*/run.json")), key=lambda p: p.stat().st_mtime, reverse=True)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f", but there {'are' if len(found) > 1 else 'is'}: {', '.join(map(str, found[:5]))}{more}" if found else ""


def _read_local(out: Path) -> _Local:
    path = out / "local.json"
    if not path.exists():
        return _Local()
    return _Local(**_checked(read_json(path, "file of local paths"), _Local, path))


def _checked(value: dict[str, Any], shape: type[pydantic.BaseModel], path: Path) -> dict[str, Any]:
    try:
        shape.model_validate(value)
    except pydantic.ValidationError as e:
        first = e.errors()[0]
        where = printable(".".join(map(str, first["loc"])))
        raise UserError(f"{path} is damaged, or was not written by ganvas: {where}: {first['msg'].lower()}") from None
    return value


def _is_path(text: Any) -> bool:
    return isinstance(text, str) and any(Path(part).is_absolute() for part in text.split(","))


def _names(text: str) -> str:
    """The last components of the paths in a text, which are separated by commas."""
    return ",".join(Path(part).name or part for part in text.split(","))


def _without_paths(tree: Any, at: str = "") -> tuple[Any, dict[str, str]]:
    """(the tree with names in place of absolute paths, place in the tree -> path)."""
    if isinstance(tree, dict):
        parts = {k: _without_paths(v, f"{at}.{k}" if at else k) for k, v in tree.items()}
        paths = {place: path for _, found in parts.values() for place, path in found.items()}
        return {k: v for k, (v, _) in parts.items()}, paths
    return (_names(tree), {at: tree}) if _is_path(tree) else (tree, {})


def _with_paths(tree: Any, paths: dict[str, str], at: str = "") -> Any:
    if isinstance(tree, dict):
        return {k: _with_paths(v, paths, f"{at}.{k}" if at else k) for k, v in tree.items()}
    return paths[at] if at in paths and tree == _names(paths[at]) else tree


def _without_folders(command: str) -> str:
    """A command with the last components of its paths."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    return shlex.join(
        re.sub(r"^(.*=)?(.*)$", lambda m: (m[1] or "") + _names(m[2]), word, flags=re.DOTALL)
        if "/" in word or os.sep in word
        else word
        for word in words
    )


# ---------------------------------------------------------------- the curves

LINES = {  # what each line must have, beside numbers and text
    "log.jsonl": ("step", "images"),
    "timing.jsonl": ("images", "seconds"),
    "measures.jsonl": ("images", "frechet"),
}


def read_lines(path: Path, *, warn: bool = False) -> list[dict[str, Any]]:
    """The sound lines of a run's .jsonl file; a last line that a killed process left half written is left out.

    `warn`: name the damaged lines on stderr."""
    found: list[dict[str, Any]] = []
    try:
        text = path.read_bytes() if path.is_file() else b""
    except OSError as e:
        raise UserError(f"{path} cannot be read: {e.strerror}") from None
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_line(line, f"{path}, line {number}", LINES.get(path.name, ("images",))))
        except UserError as e:
            if warn and (number < len(lines) or text.endswith(b"\n")):  # what is written whole ends with a line break
                say(f"warning: {e}; the line is left out")
    return found


def _line(text: bytes, where: str, wanted: Sequence[str]) -> dict[str, Any]:
    line = parse_json(text, where, "line of a run's log")
    for key, value in line.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key in ("step", "images") and not (number and isinstance(value, int) and 0 <= value < 1 << 63):
            raise UserError(f"{where} is damaged: {printable(key)} is no count")
        if not number and (key in wanted or not isinstance(value, str)):
            raise UserError(f"{where} is damaged: {printable(key)} is no number")
    if missing := [key for key in wanted if key not in line]:
        raise UserError(f"{where} is damaged: it has no {' and no '.join(missing)}")
    return line


def best_checkpoint(out: Path) -> str | None:
    """The name of the checkpoint with the smallest distance on the quality curve."""
    measured = [line for line in read_lines(out / "measures.jsonl") if math.isfinite(line["frechet"])]
    return f"{min(measured, key=lambda line: line['frechet'])['images']:09d}" if measured else None


# ---------------------------------------------------------------- checkpoints


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
    engine = Engine(run, Prefetch(feed), usable_device(device))
    found = _chosen(out, which)
    loaded = _first_sound(out, found) if found else None
    if loaded is None:
        return engine, record, {}  # killed before its first checkpoint: from the start
    values, shared, own = loaded
    engine.load_state(values, shared, own)
    if values["ranks"] != ranks.world():
        say(
            f"note: this run was saved by {values['ranks']} processes and continues with {ranks.world()}: each image "
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
    method = build(run, Shape(**{k: record["shape"][k] for k in ("channels", "height", "width", "classes")}))
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
    method.now = method.stage(clock)
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
            return checkpoint.load(path, ranks.rank())
        except UserError as e:
            trouble = e
            if path != found[0]:
                say(f"warning: {e}; falling back to the checkpoint before it")
    raise UserError(f"no checkpoint of {out} can be read; the last trouble was: {trouble}")


# ---------------------------------------------------------------- small things


def absolute(data: str | Path) -> str:
    """A source of data, with absolute paths where it names files or folders."""
    parts = str(data).split(",")
    return ",".join(str(Path(part).resolve()) for part in parts) if all(map(os.path.exists, parts)) else str(data)


def usable_device(device: str | None) -> str:
    """`device`, or the best there is. Raises `UserError` where it cannot be used."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as e:
        reason = str(e).splitlines()[0].split(". ")[0].rstrip(".!")
        raise UserError(f"device {device!r} cannot be used: {reason}. Leave --device out to choose one") from None
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


def say(*lines: str) -> None:
    """Print lines to standard error, on rank 0. Names from outside cannot steer the terminal."""
    if ranks.rank() == 0:
        with suppress(OSError, ValueError):  # nobody reads it any more: torchrun was killed, a pipe was closed
            print(*map(printable, lines), sep="\n", file=sys.stderr, flush=True)
