"""Read and write the description of a run, and read its curves.

`run.json` describes the run. It holds no path of the machine that it was written on,
only the names of files and folders. Their paths are in `local.json`, which is not
needed to sample from the run and need not be shared. `log.jsonl`, `timing.jsonl` and
`measures.jsonl` hold the curves.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import pydantic

from ganvas.core import Measure, Run, config
from ganvas.core.environment import say
from ganvas.core.errors import CheckpointError, UserError, printable
from ganvas.core.files import write
from ganvas.core.json_files import parse_json, read_json
from ganvas.engine.records import RunRecord

NOTE = (
    "Where this run's data lie on this machine, and the command as it was given. Leave this "
    "file out when you share the run."
)
MEASURES: tuple[Measure, ...] = get_args(Measure)
HIGHER = ("psnr", "ssim")  # measures of which more is better
# The folders of an absolute path in a word of a command: --out=/a/b, G=/a/b, /a/b,/c/d.
ABSOLUTE = re.compile(
    r"""(?:^|(?<=[=,"'\[:]))(?!(?<=:)//)(?:[A-Za-z]:)?[/\\](?:[^/\\,"']*[/\\])*(?=[^/\\,"'])"""
)
WEIGHTS = (".pth", ".pt", ".safetensors")  # files that a method's setting may name
Positive = Annotated[int, pydantic.Field(ge=1)]
Count = Annotated[int, pydantic.Field(ge=0)]
Line = dict[str, float | str]  # numbers and texts of a .jsonl file
# The keys that each line of a file must have.
LINES = {
    "log.jsonl": ("step", "images"),
    "timing.jsonl": ("images", "seconds"),
    "measures.jsonl": ("images",),
}


class _Open(pydantic.BaseModel):
    """A model that permits further fields."""

    model_config = pydantic.ConfigDict(strict=True)


class _Shape(_Open):
    channels: Annotated[int, pydantic.Field(ge=1, le=16)]
    height: Positive
    width: Positive
    classes: Count
    palette: list[Annotated[int, pydantic.Field(ge=0, lt=1 << 24)]] = []
    ids: bool = False


class _Data(_Open):
    source: str
    count: Count
    fingerprint: str


class _EarlyStopping(_Open):
    measure: str
    snapshots: Positive


class _EndedEarly(_Open):
    images: Count
    planned: Count


class _Rewind(_Open):
    kind: str
    images: Count
    to: Count
    setting: str
    source: str


class _ShortStage(_Open):
    start: Count
    every: Positive


class _Record(_Open):
    """The fields that every run.json has, among others."""

    ganvas: str
    recipe: str
    paper: str
    task: str
    images: Count
    seed: int
    save: Positive
    tick: Positive
    short_stage: _ShortStage | None = None
    keep: str = "2"
    tensorboard: bool = False
    log: str | None = None
    on_collapse: Literal["warn", "stop", "rewind"] = "warn"
    early_stopping: _EarlyStopping | None = None
    ended_early: _EndedEarly | None = None
    rewinds: list[_Rewind] = []
    shape: _Shape
    data: _Data
    run: dict[str, Any]
    versions: dict[str, str]
    commit: str | None


class Local(_Open):
    """Contents of local.json: the command as given, and paths by place in the run."""

    note: str = ""
    command: str = ""
    paths: dict[str, str] = {}


def read_record(out: Path) -> RunRecord:
    """Read run.json of a run folder.

    Raises `UserError` if there is none or it cannot be read.
    """
    path = out / "run.json"
    if not path.exists():
        start = f"ganvas train METHOD DATA --out {shlex.quote(str(out))}"
        advice = runs_below(out) or f". Start one: {start}"
        raise CheckpointError(f"there is no run in {out} (no run.json){advice}")
    content: dict[str, Any] = read_json(path, "run description", error=CheckpointError)
    return cast(RunRecord, _checked(content, _Record, path))


def write_record(out: Path, record: RunRecord) -> None:
    """Write run.json, and local.json with the paths that run.json must not hold."""
    tree, paths = split_paths(record["run"])
    command = record.get("command") or ""
    public = {**record, "run": tree, "command": _without_folders(command)}
    if command == public["command"]:
        command = read_local(out).command
    local = {"note": NOTE, "command": command, "paths": paths}
    if command or paths:
        write(out / "local.json", json.dumps(local, indent=1), sync=True)
    write(out / "run.json", json.dumps(public, indent=1), sync=True)


def run_of(out: Path, record: RunRecord) -> Run:
    """The `Run` that a run.json describes, with any paths of local.json.

    out: the run folder
    record: of `read_record`
    """
    failure = f"{out / 'run.json'} does not describe a run"
    try:
        run = config.load(_join_paths(record["run"], read_local(out).paths))
    except UserError:
        raise
    except Exception as e:  # a description by another program can lead to any error
        raise CheckpointError(f"{failure}: {printable(e)}") from None
    if (
        not isinstance(run, Run)
        or not isinstance(run.data, partial)
        or not isinstance(run.optim, dict)
    ):
        raise CheckpointError(f"{failure}: its `run` is something else")
    return run


def read_local(out: Path) -> Local:
    """Read local.json of a run folder; empty if there is none."""
    path = out / "local.json"
    if not path.exists():
        return Local()
    content: dict[str, Any] = read_json(path, "file of local paths", error=CheckpointError)
    return Local(**_checked(content, Local, path))


def read_lines(path: Path, *, warn: bool = False) -> list[Line]:
    """Read the undamaged lines of a run's .jsonl file.

    A last line that a killed process left incomplete is dropped.
    warn: name damaged lines on stderr

    Raises `CheckpointError` if the file cannot be read.
    """
    try:
        text = path.read_bytes() if path.is_file() else b""
    except OSError as e:
        raise CheckpointError(f"{path} cannot be read: {e.strerror}") from None
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    required = LINES.get(path.name, ("images",))
    records: list[Line] = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_parse_line(line, f"{path}, line {number}", required))
        except UserError as e:
            complete = number < len(lines) or text.endswith(b"\n")
            if warn and complete:
                say(f"warning: {e}; the line is left out")
    return records


def number(line: Line, name: str) -> float:
    """A number of a line that `read_lines` returned, required or known to be one."""
    value = line[name]
    assert not isinstance(value, str), f"{name} is a text"
    return value


def best_measure(record: RunRecord) -> Measure:
    """The measure that decides which checkpoint of a run is the best."""
    chosen = record["run"].get("best")
    return cast(Measure, chosen) if chosen in MEASURES else "frechet"


def best_line(lines: Sequence[Line], measure: Measure = "frechet") -> Line | None:
    """The best of measures.jsonl's lines; None if none has a finite measure."""
    finite = [line for line in lines if measure in line and math.isfinite(number(line, measure))]
    sign = -1 if measure in HIGHER else 1
    return min(finite, key=lambda line: sign * number(line, measure), default=None)


def portable(run: Run) -> Run:
    """The run without weight files that its method names; only training needs them."""
    assert isinstance(run.method, partial)
    keywords = {
        k: None if isinstance(v, str) and Path(v).suffix in WEIGHTS else v
        for k, v in run.method.keywords.items()
    }
    return replace(run, method=partial(run.method.func, **keywords))


def in_whole_batches(run: Run) -> Run:
    """The run up to the end of its last batch: no step draws a part of one."""
    return replace(run, images=-(-run.images // max(run.batch, 1)) * max(run.batch, 1))


def count_of(images: int, total: int) -> str:
    """How far a run is. A last step of several batches may pass the run's length."""
    return f"{images:,} of {total:,} images" if images <= total else f"{images:,} images"


def absolute(data: str | Path) -> str:
    """A source of data, with absolute paths if it names files or folders that exist."""
    parts = str(data).split(",")
    if not all(map(os.path.exists, parts)):
        return str(data)
    return ",".join(str(Path(part).resolve()) for part in parts)


def runs_below(folder: Path) -> str:
    """The end of a message about a folder that is no run: its runs, or ""."""
    runs = [p.parent for p in folder.glob("*/run.json")]
    runs.sort(key=lambda run: run.stat().st_mtime, reverse=True)
    if not runs:
        return ""
    more = f" and {len(runs) - 5} more" if len(runs) > 5 else ""
    return f", but there {'are' if len(runs) > 1 else 'is'}: {', '.join(map(str, runs[:5]))}{more}"


def _checked(value: dict[str, Any], model: type[pydantic.BaseModel], path: Path) -> dict[str, Any]:
    """The value. Raises `CheckpointError`, with the path, if it misfits the model."""
    try:
        model.model_validate(value)
    except pydantic.ValidationError as e:
        first = e.errors()[0]
        where = printable(".".join(map(str, first["loc"])))
        raise CheckpointError(
            f"{path} is damaged, or was not written by ganvas: {where}: {first['msg'].lower()}"
        ) from None
    return value


def _parse_line(text: bytes, where: str, required: Sequence[str]) -> Line:
    """A line of numbers and texts. Raises `UserError` if it is damaged."""
    line = cast(Line, parse_json(text, where, "line of a run's log", CheckpointError))
    for key, value in line.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key in ("step", "images") and not (
            number and isinstance(value, int) and 0 <= value < 1 << 63
        ):
            raise CheckpointError(f"{where} is damaged: {printable(key)} is no count")
        if not number and (key in (*required, *MEASURES) or not isinstance(value, str)):
            raise CheckpointError(f"{where} is damaged: {printable(key)} is no number")
    if missing := [key for key in required if key not in line]:
        raise CheckpointError(f"{where} is damaged: it has no {' and no '.join(missing)}")
    return line


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and any(Path(part).is_absolute() for part in value.split(","))


def _names(text: str) -> str:
    """The last components of the paths in a text, which are separated by commas."""
    return ",".join(Path(part).name or part for part in text.split(","))


def split_paths(tree: object, at: str = "") -> tuple[object, dict[str, str]]:
    """(the tree with names in place of absolute paths, the paths by place)."""
    if isinstance(tree, dict):
        parts = {k: split_paths(v, f"{at}.{k}" if at else k) for k, v in tree.items()}
        paths = {place: path for _, inner in parts.values() for place, path in inner.items()}
        return {k: v for k, (v, _) in parts.items()}, paths
    if isinstance(tree, str) and _is_path(tree):
        return _names(tree), {at: tree}
    return tree, {}


def _join_paths(tree: Any, paths: dict[str, str], at: str = "") -> Any:
    """The inverse of `split_paths`; a name that was changed keeps its new value."""
    if isinstance(tree, dict):
        return {k: _join_paths(v, paths, f"{at}.{k}" if at else k) for k, v in tree.items()}
    return paths[at] if at in paths and tree == _names(paths[at]) else tree


def _without_folders(command: str) -> str:
    """A command without the folders of absolute paths, which may tell a user's name.

    Relative paths stay, so that the command can be repeated in a copy of its folder.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    return shlex.join(ABSOLUTE.sub("", word) for word in words)
