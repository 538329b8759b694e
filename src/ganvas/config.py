"""A run's numbers as text: `Run` <-> JSON, and `--set D.width=64`.

Configuration is a constructor's signature. A run is a tree of `functools.partial`s, frozen dataclasses and plain values;
every keyword of every callable in it can be set from the command line and is checked against that callable's annotations.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import json
import sys
import typing
from collections.abc import Callable
from typing import Any

import pydantic
import torch
from torch import nn

from ganvas.core import Run
from ganvas.errors import UserError, did_you_mean

# What a run's file may name. Anything else must have been imported by the user's own program first: opening somebody's run
# folder never runs code that the reader did not choose.
TRUSTED = ("ganvas.methods.", "ganvas.nets.", "ganvas.data.", "ganvas.schedules.", "ganvas.core.", "torch.optim.")


# ---------------------------------------------------------------- to and from JSON


def dump(value: Any) -> Any:
    """A tree of partials, dataclasses and plain values as JSON-ready data."""
    if isinstance(value, functools.partial):
        assert not value.args, "give keywords to partials in a run, so that they can be written down"
        return {"$partial": _name(value.func), **{k: dump(v) for k, v in value.keywords.items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"$new": _name(type(value)), **{f.name: dump(getattr(value, f.name)) for f in dataclasses.fields(value)}}
    if isinstance(value, type) or inspect.isfunction(value):
        return {"$partial": _name(value)}
    if isinstance(value, dict):
        return {str(k): dump(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [dump(v) for v in value]
    assert value is None or isinstance(value, bool | int | float | str), f"{value!r} cannot be written to a run's file"
    return value


def load(value: Any) -> Any:
    """The inverse of `dump`. Lists come back as tuples."""
    if isinstance(value, dict):
        fields = {k: load(v) for k, v in value.items() if not k.startswith("$")}
        if "$partial" in value:
            return functools.partial(_find(value["$partial"]), **fields)
        if "$new" in value:
            return _find(value["$new"])(**fields)
        return fields
    if isinstance(value, list):
        return tuple(load(v) for v in value)
    return value


def _name(thing: Any) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"


def _find(name: str) -> Callable[..., Any]:
    module, _, qualname = name.partition(":")
    known = f"{module}.".startswith(TRUSTED)
    if not known and module not in sys.modules:
        raise UserError(
            f"this run uses {name!r}, which is not part of ganvas: import the module {module!r} in your program first, "
            "if you trust it, and load the run from there"
        )
    try:
        thing: Any = functools.reduce(getattr, qualname.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as e:
        raise UserError(f"this run uses {name!r}, which this version of ganvas does not have ({e})") from None
    # A module's own imports (`ganvas.data:os.system`) are not its things; and of other modules only what runs are made of.
    own = getattr(thing, "__module__", "") == module
    if not own or not (known or (isinstance(thing, type) and issubclass(thing, nn.Module | torch.optim.Optimizer))):
        raise UserError(f"this run names {name!r}, which is nothing that a run is made of: it was not opened")
    return thing


# ---------------------------------------------------------------- --set path=value


def override(run: Run, assignment: str) -> Run:
    """`run` with one number changed: `"D.width=64"`, `"optim.G.lr=1e-4"`, `"lr.start=1000"`, `"ema=null"`.

    The first name is a field of `Run` or a keyword of the run's method. Raises `UserError` for an unknown name or a value of
    the wrong type."""
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise UserError(f"--set takes path=value, as in --set D.width=64; got {assignment!r}")
    names = path.strip().split(".")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    if names[0] not in {f.name for f in dataclasses.fields(Run)}:
        known = {f.name for f in dataclasses.fields(Run)} | set(_keywords(run.method))
        if names[0] not in known:
            raise UserError(f"--set {path}: there is no {names[0]!r} here. {did_you_mean(names[0], known)}")
        names = ["method", *names]
    return _set(run, names, value, path)


def _set(node: Any, names: list[str], value: Any, path: str) -> Any:
    name, rest = names[0], names[1:]
    if isinstance(node, dict):
        known: dict[str, Any] = dict.fromkeys(node, Any)
        current = node.get(name)
    elif isinstance(node, functools.partial):
        known = _keywords(node)
        current = node.keywords.get(name, known[name][1] if name in known else None)
    elif dataclasses.is_dataclass(node) and not isinstance(node, type):
        hints = typing.get_type_hints(type(node))
        known = {f.name: (hints[f.name], None) for f in dataclasses.fields(node)}
        current = getattr(node, name, None)
    elif inspect.isclass(node) or inspect.isfunction(node):
        return _set(functools.partial(node), names, value, path)
    else:
        raise UserError(f"--set {path}: {node!r} has no settings of its own, so {name!r} cannot be set in it")
    if name not in known:
        raise UserError(f"--set {path}: there is no {name!r} here. {did_you_mean(name, known)}")
    if rest:
        new = _set(current, rest, value, path)
    elif isinstance(node, dict):
        raise UserError(f"--set {path}: name a setting inside it, as in {path}.lr")
    else:
        new = _checked(value, known[name][0], path)
    if isinstance(node, dict):
        return {**node, name: new}
    if isinstance(node, functools.partial):
        return functools.partial(node.func, **{**node.keywords, name: new})
    return dataclasses.replace(node, **{name: new})


def _keywords(call: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of what a callable takes."""
    func = call.func if isinstance(call, functools.partial) else call
    target = func.__init__ if isinstance(func, type) else func
    try:
        hints = typing.get_type_hints(target)
    except NameError:
        hints = {}
    return {
        name: (hints.get(name, Any), None if p.default is p.empty else p.default)
        for name, p in inspect.signature(func).parameters.items()
        if name != "self" and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    }


def _checked(value: Any, annotation: Any, path: str) -> Any:
    try:
        adapter = pydantic.TypeAdapter(annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True))
    except pydantic.PydanticUserError:  # the type is a dataclass or model with a configuration of its own
        adapter = pydantic.TypeAdapter(annotation)
    try:
        return adapter.validate_python(value)
    except pydantic.ValidationError as e:
        want = getattr(annotation, "__name__", None) or str(annotation)
        raise UserError(f"--set {path}: got {value!r}, expected {want} ({e.errors()[0]['msg'].lower()})") from None
