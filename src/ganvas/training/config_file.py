"""Settings of a run as a TOML file: `ganvas train --config` and `--print-config`.

The keys are those of `--set` (`G.width`, `optim.D.lr`, `batch`, `images`, `seed`), plus
`size`, `augment` and `precision = "auto"`, which mean the same as the options:

    size = 64
    images = 200000
    augment = "ada"
    G.width = 64
    [optim.D]
    lr = 1e-4

A value is a TOML number, boolean or array, also of tables (`[[data.degrade]]`). A
string is read like the value of `--set`: as JSON if it is JSON ("null" stands for None,
which TOML lacks), else as text.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ganvas.core import Run
from ganvas.core.errors import UserError
from ganvas.core.guards import open_regular
from ganvas.core.sizes import parse_size
from ganvas.data.degradation_chain import Chain
from ganvas.data.real_degradation import NAME, RealDegradation

# Settings of optimizers that decide how they compute, or that no game needs (maximize).
EXECUTION = ("foreach", "fused", "capturable", "differentiable", "maximize")
# Settings of networks that methods derive from the data.
DERIVED = ("size", "channels", "channels_in", "channels_out", "classes")
MOST = 1 << 20  # bytes of a settings file
_HEADER = """\
# Settings of a ganvas run. Use them: ganvas train {recipe} DATA --config FILE --out RUN
# Lines behind a # are further settings, with their defaults.
"""


@dataclass(frozen=True)
class Settings:
    """The content of a settings file. None: the file does not have the setting."""

    size: int | tuple[int, int] | None = None
    augment: str | None = None
    precision: str | None = None
    assignments: tuple[str, ...] = ()  # "path=value", as for --set


def read(path: str | Path) -> Settings:
    """Read a settings file.

    Raises `UserError` if it cannot be read or is not TOML of this form.
    """
    try:
        with open_regular(path) as file:
            text = file.read(MOST + 1)
        if len(text) > MOST:
            raise UserError(
                f"the settings file {path} has more than {MOST:,} bytes; settings need fewer"
            )
        values = dict(_flat(tomllib.loads(text.decode())))
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"the settings file {path} cannot be read: {e}") from None
    except (ValueError, RecursionError) as e:  # also of numbers and nesting beyond Python's limits
        raise UserError(f"the settings file {path} is not valid TOML: {e}") from None
    augment, precision = values.pop("augment", None), values.pop("precision", None)
    size = _size(values.pop("size", None), path)
    for name, value in (("augment", augment), ("precision", precision)):
        if value is not None and not isinstance(value, str):
            raise UserError(f"the settings file {path}: {name} takes text; got {value!r}")
    assignments = []
    for key, value in values.items():
        try:
            said = value if isinstance(value, str) else json.dumps(value)
        except TypeError:  # dates and times
            raise UserError(
                f"the settings file {path}: {key} takes a number, a boolean, text or an array of "
                f"these; got {value}"
            ) from None
        assignments.append(f"{key}={said}")
    return Settings(size, augment, precision, tuple(assignments))


def write(recipe: str, run: Run, augment: str | None = None) -> str:
    """The settings of `run` as TOML, such that `read` leads to the same run.

    augment: the option that `run` was made with, if any.
    """
    lines = [_HEADER.format(recipe=recipe)]
    fields = {f.name: getattr(run, f.name) for f in dataclasses.fields(run)}
    data, method, own = fields.pop("data"), fields.pop("method"), fields.pop("augment")
    openings = dict(data.keywords) if isinstance(data, partial) else {}
    openings.pop("source", None)
    fields.pop("test")
    size = openings.pop("size", None)
    if size is not None:
        lines.append(_line("size", size))
    first = ("images", "batch", "seed", "precision")
    for name in (*first, *(n for n in fields if n not in first)):
        lines += [_line(*leaf) for leaf in _leaves(name, fields[name])]
    if own is None:
        augment = "none"
    if augment is not None:
        lines.append(_line("augment", augment))
    if own is not None:
        # TOML allows no table of the name of a value, but it allows a quoted key.
        quote = augment is not None
        lines += [_line(key, value, quote) for key, value in _leaves("augment", own)]
    for name, value in openings.items():
        real = isinstance(value, RealDegradation)  # its name first: another recipe has None
        lines += [_line(f"data.{name}", NAME)] if real else []
        lines += [_line(*leaf, real) for leaf in _leaves(f"data.{name}", value)]
    names = {f.name for f in dataclasses.fields(run)}
    for name, value in _keywords(method).items():
        key = f"method.{name}" if name in names else name
        lines += [_line(*leaf) for leaf in _leaves(key, value)]
    for name, part in {"": method, "data": data, **fields}.items():
        lines += [f"# {_line(*leaf)}" for leaf in _defaults(name, part)]
    return "\n".join(lines) + "\n"


def _keywords(call: Any) -> dict[str, Any]:
    return call.keywords if isinstance(call, partial) else {}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(v) for v in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, bool | int | float | str)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The settings inside a part of a run, as `--set` names them, with their values."""
    if isinstance(value, Chain):
        value = value.tables()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif isinstance(value, partial):
        value = value.keywords
    elif _is_plain(value):
        yield key, value
        return
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _leaves(f"{key}.{name}", part)


def _defaults(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The settings inside a part of a run that have their defaults, with these."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _defaults(f"{key}.{name}", part)
        return
    call = value.func if isinstance(value, partial) else value
    if not (inspect.isclass(call) or inspect.isfunction(call)):
        return
    given = _keywords(value)
    for name, parameter in inspect.signature(call).parameters.items():
        inner, default = f"{key}.{name}".removeprefix("."), parameter.default
        if name in given:
            yield from _defaults(inner, given[name])
        elif default is not parameter.empty and not _is_derived(key, name):
            yield from _leaves(inner, default)
            yield from _defaults(inner, default)


def _is_derived(key: str, name: str) -> bool:
    """Whether a setting of the part `key` follows from others, or changes no result."""
    if key == "data":
        return name == "size"
    return name in (EXECUTION if key.startswith("optim.") else DERIVED)


def _line(key: str, value: Any, quote: bool = False) -> str:
    parts = [key] if quote else key.split(".")
    name = ".".join(p if re.fullmatch(r"[A-Za-z0-9_-]+", p) else _quoted(p) for p in parts)
    return f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    """A value as TOML; what TOML lacks (null) as a string of JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)  # inf and nan, too
    if isinstance(value, list | tuple) and all(
        isinstance(v, int | float | list | tuple) and _is_plain(v) for v in value
    ):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        return "[\n" + "".join(f"  {_inline(table)},\n" for table in value) + "]"
    if not isinstance(value, str):
        return _quoted(json.dumps(value))
    try:
        json.loads(value)
    except (ValueError, RecursionError):  # not what `override` reads as JSON
        return _quoted(value)
    return _quoted(json.dumps(value))  # a text that would be read as JSON


def _inline(value: Any) -> str:
    """A value of a table, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _quoted(value) if isinstance(value, str) else _toml(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _size(value: Any, path: str | Path) -> int | tuple[int, int] | None:
    """A size: 64, "48x64", or [height, width]."""
    numbers = value if isinstance(value, list) else [value]
    if value is None or isinstance(value, str) or all(type(n) is int for n in numbers):
        try:
            return parse_size(value)
        except UserError as e:
            raise UserError(f"the settings file {path}: {e}") from None
    raise UserError(
        f"the settings file {path}: size takes pixels, as 64 or as [height, width]; got {value!r}"
    )
