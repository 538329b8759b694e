"""Run folders: read the description, the curves and the checkpoints of a run, and lock it for the one process that writes.

`run.json` describes the run and holds no path of the machine that it was made on, only the names of files and folders. Their
paths stand in `local.json`, which is not needed to sample from the run and need not be shared.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pydantic

from ganvas.core import Run, config
from ganvas.core.environment import say
from ganvas.core.errors import UserError, printable
from ganvas.core.files import write
from ganvas.core.json_files import parse_json, read_json

NOTE = "Where this run's data lie on this machine, and the command as it was given. Leave this file out when you share the run."
WEIGHTS = (".pth", ".pt", ".safetensors")  # files that a method's setting may name
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
    local = {
        "note": NOTE,
        "command": command if command != public["command"] else known.command,
        "paths": paths,
    }
    if local["command"] or paths:
        write(out / "local.json", json.dumps(local, indent=1), sync=True)
    write(out / "run.json", json.dumps(public, indent=1), sync=True)


def run_of(out: Path, record: dict[str, Any]) -> Run:
    """The `Run` that a run.json describes, with this machine's paths where local.json has them."""
    where = out / "run.json"
    try:
        run = config.load(_with_paths(record["run"], _read_local(out).paths))
    except UserError:
        raise
    except Exception as e:  # whatever a description that was not written by this program leads to
        raise UserError(f"{where} does not describe a run: {printable(e)}") from None
    if (
        not isinstance(run, Run)
        or not isinstance(run.data, partial)
        or not isinstance(run.optim, dict)
    ):
        raise UserError(f"{where} does not describe a run: its `run` is something else")
    return run


def portable(run: Run) -> Run:
    """`run` without the files of weights that its method names, which only training needs."""
    assert isinstance(run.method, partial)
    kept = {
        k: None if isinstance(v, str) and Path(v).suffix in WEIGHTS else v
        for k, v in run.method.keywords.items()
    }
    return replace(run, method=partial(run.method.func, **kept))


def runs_below(folder: Path) -> str:
    """What a message adds where `folder` is not a run and holds some: ", but there are: ..."; "" where it holds none."""
    found = sorted(
        (p.parent for p in folder.glob("*/run.json")), key=lambda p: p.stat().st_mtime, reverse=True
    )
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return (
        f", but there {'are' if len(found) > 1 else 'is'}: {', '.join(map(str, found[:5]))}{more}"
        if found
        else ""
    )


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
        raise UserError(
            f"{path} is damaged, or was not written by ganvas: {where}: {first['msg'].lower()}"
        ) from None
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
            if warn and (
                number < len(lines) or text.endswith(b"\n")
            ):  # what is written whole ends with a line break
                say(f"warning: {e}; the line is left out")
    return found


def _line(text: bytes, where: str, wanted: Sequence[str]) -> dict[str, Any]:
    line = parse_json(text, where, "line of a run's log")
    for key, value in line.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key in ("step", "images") and not (
            number and isinstance(value, int) and 0 <= value < 1 << 63
        ):
            raise UserError(f"{where} is damaged: {printable(key)} is no count")
        if not number and (key in wanted or not isinstance(value, str)):
            raise UserError(f"{where} is damaged: {printable(key)} is no number")
    if missing := [key for key in wanted if key not in line]:
        raise UserError(f"{where} is damaged: it has no {' and no '.join(missing)}")
    return line


def absolute(data: str | Path) -> str:
    """A source of data, with absolute paths where it names files or folders."""
    parts = str(data).split(",")
    return (
        ",".join(str(Path(part).resolve()) for part in parts)
        if all(map(os.path.exists, parts))
        else str(data)
    )
