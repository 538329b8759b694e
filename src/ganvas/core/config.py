"""Convert a run to JSON and back, and change its settings (`--set D.width=64`).

The signature of a constructor is its configuration. A run is a tree of
`functools.partial`s, frozen dataclasses and plain values. Every keyword of every
callable in it can be set from the command line, and is checked against its annotation.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeVar, overload

import pydantic

from ganvas.core import Length, Run
from ganvas.core.errors import ConfigError, UserError, did_you_mean, printable
from ganvas.core.json_files import Json
from ganvas.core.registry import LARGEST, find, shorten
from ganvas.core.schedules import HalfLife, LinearDecay

T = TypeVar("T")
Assignments = str | Sequence[str] | Mapping[str, object]  # "path=value", or values by path


def dump(value: object) -> Json:
    """Convert a tree of partials, dataclasses and plain values to JSON-ready data."""
    if isinstance(value, functools.partial):
        assert not value.args, (
            "give keywords to partials in a run, so that they can be written down"
        )
        return {"$partial": _name(value.func), **{k: dump(v) for k, v in value.keywords.items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            "$new": _name(type(value)),
            **{f.name: dump(getattr(value, f.name)) for f in dataclasses.fields(value)},
        }
    if isinstance(value, type) or inspect.isfunction(value):
        return {"$partial": _name(value)}
    if isinstance(value, dict):
        return {str(k): dump(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [dump(v) for v in value]
    assert value is None or isinstance(value, bool | int | float | str), (
        f"{value!r} cannot be written to a run's file"
    )
    return value


@overload
def load(value: object) -> Run: ...


@overload
def load(value: object, kind: type[T]) -> T: ...


@overload
def load(value: object, kind: object) -> object: ...


def load(value: object, kind: object = Run) -> object:
    """Build the value that an untrusted description stands for: the inverse of `dump`.

    Every keyword is checked against the annotation of its callable. Lists become tuples
    unless an annotation asks for something else.

    value: parsed JSON; it may name the entries of `registry.ALLOWED`, and networks and
        optimizers of the user's own program
    kind: the expected class, or the annotation of a callable, of which type checkers
        know no type

    Raises `ConfigError` with one line that names the path of the misfit.
    """
    return _checked(_load(value, ""), kind, "the description")


def _load(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        marks = [k for k in value if k.startswith("$")]
        fields = {
            k: _load(v, f"{path}.{k}" if path else k) for k, v in value.items() if k not in marks
        }
        if not marks:
            return fields
        mark = marks[0]
        if len(marks) > 1 or mark not in ("$partial", "$new") or not isinstance(value[mark], str):
            raise ConfigError(
                f"{path or 'the description'}: expected one name as $partial or $new, got "
                f"{shorten(marks)}"
            )
        thing: Any = find(value[mark])
        record = bool(dataclasses.is_dataclass(thing))
        if record != (mark == "$new"):
            raise ConfigError(
                f"{path or 'the description'}: {value[mark]} cannot be given as {mark}"
            )
        known = _keywords(thing)
        for name in fields:
            at = f"{path}.{name}" if path else name
            if name not in known:
                raise ConfigError(
                    f"{at}: {value[mark]} takes no {printable(name)!r}. {did_you_mean(name, known)}"
                )
            fields[name] = _checked(fields[name], known[name][0], at)
        if not record:
            return functools.partial(thing, **fields)
        needed = {
            f.name
            for f in dataclasses.fields(thing)
            if f.default is f.default_factory is dataclasses.MISSING
        }
        if missing := sorted(needed - fields.keys()):
            raise ConfigError(
                f"{path or 'the description'}: {value[mark]} needs {', '.join(missing)}"
            )
        if thing is Run and not inspect.isfunction(getattr(fields["data"], "func", None)):
            raise ConfigError(f"{path}data: expected a function of ganvas.data that opens images")
        return thing(**fields)
    if isinstance(value, list):
        return tuple(_load(v, f"{path}[{i}]") for i, v in enumerate(value))
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ConfigError(
            f"{path or 'the description'}: a number of {len(str(value))} digits is too large"
        )
    return value


def _name(thing: Any) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"


def assignments(settings: Assignments) -> tuple[str, ...]:
    """Settings as `override` takes them: `{"D.width": 32}` is `("D.width=32",)`.

    Raises `ConfigError` for a value that is no number, text, boolean, list or None.
    """
    if isinstance(settings, str):
        return (settings,)
    if not isinstance(settings, Mapping):
        return tuple(settings)
    try:
        return tuple(
            f"{path}={value if isinstance(value, str) else json.dumps(value)}"
            for path, value in settings.items()
        )
    except (TypeError, ValueError) as e:
        raise ConfigError(f"set takes numbers, text, booleans, lists and None: {e}") from None


def override(run: Run, assignment: str) -> Run:
    """A copy of the run with one setting changed.

    assignment: `"D.width=64"`, `"optim.G.lr=1e-4"`, `"lr.start=1000"`, `"ema=null"`;
        the first name is a field of `Run` or a keyword of the run's method.
        `lr.start` or `lr.end` gives a run of constant rates a `LinearDecay` from 0 to
        its last image, and `ema.images` one without averaging a `HalfLife`.

    Raises `ConfigError` for an unknown name or a value of the wrong type.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set takes path=value, as in --set D.width=64; got {assignment!r}")
    names = path.strip().split(".")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # text, or JSON beyond Python's limits
        value = text
    if names[0] not in {f.name for f in dataclasses.fields(Run)}:
        known = {f.name for f in dataclasses.fields(Run)} | set(_keywords(run.method))
        if names[0] not in known:
            raise ConfigError(
                f"--set {path}: there is no {names[0]!r} here. {did_you_mean(names[0], known)}"
            )
        names = ["method", *names]
    if names[0] == "lr" and run.lr is None and names[1:]:
        run = dataclasses.replace(run, lr=LinearDecay(start=0, end=run.images))
    if names[0] == "ema" and run.ema is None and names[1:]:
        run = dataclasses.replace(run, ema=HalfLife(images=max(run.images // 20, 1)))
    return _set(run, names, value, path)


def fitted(run: Run, images: int) -> Run:
    """The run, `images` long, with its stages and schedules in proportion.

    Every keyword and field that is annotated as a `Length` changes by the same factor,
    to 1 or more; 0 stays 0. `images` below 1, which the engine refuses, change nothing
    else.
    """
    if images != run.images and images > 0 and run.images > 0:
        run = _fitted(run, Fraction(images, run.images))
    return dataclasses.replace(run, images=images)


def _fitted(node: Any, factor: Fraction, length: bool = False) -> Any:
    """A setting in proportion. length: whether its annotation has a `Length`."""
    if length and isinstance(node, int) and not isinstance(node, bool):
        return max(round(node * factor), min(node, 1))
    if isinstance(node, list | tuple):
        return type(node)(_fitted(v, factor, length) for v in node)
    if isinstance(node, dict):
        return {k: _fitted(v, factor) for k, v in node.items()}
    if inspect.isclass(node) or inspect.isfunction(node):
        inner = _fitted(functools.partial(node), factor)
        return inner if inner.keywords else node
    if isinstance(node, functools.partial):
        lengths = _lengths(node.func.__init__ if isinstance(node.func, type) else node.func)
        defaults = {k: v for k, (_, v) in _keywords(node).items() if k in lengths}
        fields = {
            k: _fitted(v, factor, k in lengths) for k, v in {**defaults, **node.keywords}.items()
        }
        changed = {k: v for k, v in fields.items() if k in node.keywords or v != defaults[k]}
        return functools.partial(node.func, **changed)
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        lengths = _lengths(type(node))
        fields = {f.name: getattr(node, f.name) for f in dataclasses.fields(node) if f.init}
        return dataclasses.replace(
            node, **{k: _fitted(v, factor, k in lengths) for k, v in fields.items()}
        )
    return node


def _lengths(target: Any) -> frozenset[str]:
    """The names of parameters or fields whose annotation has a `Length`."""
    try:
        hints = typing.get_type_hints(target, include_extras=True)
    except NameError:
        hints = {}
    return frozenset(k for k, hint in hints.items() if _has_length(hint))


def _has_length(hint: Any) -> bool:
    return hint == Length or any(map(_has_length, typing.get_args(hint)))


def _set(node: Any, names: list[str], value: Any, path: str) -> Any:
    name, rest = names[0], names[1:]
    if isinstance(node, dict):
        known: dict[str, Any] = dict.fromkeys(node, Any)
        current = node.get(name)
    elif isinstance(node, functools.partial):
        known = _keywords(node)
        current = node.keywords.get(name, known[name][1] if name in known else None)
    elif dataclasses.is_dataclass(node) and not isinstance(node, type):
        hints = _hints(type(node))
        known = {f.name: (hints[f.name], None) for f in dataclasses.fields(node)}
        current = getattr(node, name, None)
    elif inspect.isclass(node) or inspect.isfunction(node):
        return _set(functools.partial(node), names, value, path)
    else:
        raise ConfigError(
            f"--set {path}: {node!r} has no settings of its own, so {name!r} cannot be set in it"
        )
    if name not in known:
        raise ConfigError(f"--set {path}: there is no {name!r} here. {did_you_mean(name, known)}")
    if rest:
        new = _set(current, rest, value, path)
    elif isinstance(node, dict):
        raise ConfigError(f"--set {path}: name a setting inside it, as in {path}.lr")
    else:
        new = _checked(value, known[name][0], f"--set {path}")
    if isinstance(node, dict):
        return {**node, name: new}
    if isinstance(node, functools.partial):
        return functools.partial(node.func, **{**node.keywords, name: new})
    return dataclasses.replace(node, **{name: new})


@functools.lru_cache(maxsize=4096)  # annotations are text, which is compiled
def _hints(target: Any) -> dict[str, Any]:
    """The types of a callable's parameters, or of a dataclass's fields, by name."""
    return typing.get_type_hints(target)


def _keywords(call: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """(annotation, default) of a callable's parameters, by name."""
    func = call.func if isinstance(call, functools.partial) else call
    target = func.__init__ if isinstance(func, type) else func
    try:
        hints = _hints(target)
    except NameError:
        hints = {}
    return {
        name: (hints.get(name, Any), None if p.default is p.empty else p.default)
        for name, p in inspect.signature(func).parameters.items()
        if name != "self" and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    }


def _checked(value: Any, annotation: Any, path: str) -> Any:
    """Convert a value to the type of an annotation.

    Raises `ConfigError`, which begins with `path`.
    """
    try:
        adapter = pydantic.TypeAdapter(
            annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True)
        )
    except (
        pydantic.PydanticUserError
    ):  # the type is a dataclass or model with a configuration of its own
        adapter = pydantic.TypeAdapter(annotation)
    given = value
    try:
        value = adapter.validate_python(value)
        if isinstance(given, bool) and not isinstance(value, bool):  # 1 for true
            raise ConfigError(f"{path}: got {shorten(given)}, expected {_title(annotation)}")
    except pydantic.ValidationError as e:
        for error in e.errors():  # a class's own message says more
            if isinstance(cause := error.get("ctx", {}).get("error"), UserError):
                raise ConfigError(f"{path}: {cause}") from None
        why = printable(e.errors()[0]["msg"].lower())
        raise ConfigError(
            f"{path}: got {shorten(value)}, expected {_title(annotation)} ({why})"
        ) from None
    if typing.get_origin(annotation) is dict and isinstance(value, dict):
        inner = typing.get_args(annotation)[1]
        return {k: _checked(v, inner, f"{path}.{printable(k)}") for k, v in value.items()}
    if (
        callable(value)
        and (results := _results(annotation))
        and not issubclass(_result(value), results)
    ):
        want = " or ".join(r.__name__ for r in results)
        raise ConfigError(f"{path}: got {shorten(value)}, expected a callable that returns {want}")
    return value


def _title(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _results(annotation: Any) -> tuple[type, ...]:
    """The classes that callables of an annotation return; none if it names none."""
    alternatives = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    found = [typing.get_args(a)[-1] for a in alternatives if typing.get_origin(a) is Callable]
    return tuple(found) if all(isinstance(f, type) and f is not Any for f in found) else ()


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _result(call: Callable[..., Any]) -> type:
    """The class that a callable returns, `object` if its annotation names none."""
    func = call.func if isinstance(call, functools.partial) else call
    if isinstance(func, type):
        return func
    target = func if inspect.isfunction(func) else type(func).__call__
    found = _hints(target).get("return", object)
    return found if isinstance(found, type) else object
