"""Check the arguments of a public function against its annotations."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pydantic
import torch

from ganvas.core.errors import UserError, printable

P = ParamSpec("P")
T = TypeVar("T")


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function raise `UserError` for an argument of another type than annotated.

    Nothing is converted but numbers of numpy and torch, which become Python's.
    """
    untyped: Callable[..., T] = function

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        plain = [_plain(value) for value in args]
        named = {name: _plain(value) for name, value in kwargs.items()}
        # A missing or unknown argument is Python's own TypeError.
        arguments = inspect.signature(function).bind(*plain, **named).arguments
        adapters = _adapters(function)
        for name, value in {**arguments, **named}.items():
            if name in adapters:
                hint, adapter = adapters[name]
                try:
                    adapter.validate_python(value, strict=True)
                except pydantic.ValidationError:
                    raise UserError(
                        f"{name} takes {_text(hint)}; got {printable(repr(value))[:100]}"
                    ) from None
        return untyped(*plain, **named)

    return call


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray | torch.Tensor):
        return value.tolist()
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


@functools.cache
def _adapters(function: Callable[..., object]) -> dict[str, tuple[Any, pydantic.TypeAdapter[Any]]]:
    """(annotation, its check) of each parameter and of each key of `**options`.

    Without those of protocols, which say themselves what an object lacks.
    """
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            hint = hints.pop(name, None)
            if typing.get_origin(hint) is typing.Unpack:
                hints |= typing.get_type_hints(typing.get_args(hint)[0])
    hints.pop("return", None)
    config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    return {
        name: (hint, pydantic.TypeAdapter(hint, config=config))
        for name, hint in hints.items()
        if not any(getattr(t, "_is_protocol", False) for t in (hint, *typing.get_args(hint)))
    }


def _text(hint: Any) -> str:
    """An annotation in words: "int, 'x' or None"."""
    *first, last = dict.fromkeys(_alternatives(hint))
    return f"{', '.join(first)} or {last}" if first else last


def _alternatives(hint: Any) -> list[str]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return [text for part in inner for text in _alternatives(part)]
    if origin is typing.Literal:
        return list(map(repr, inner))
    if origin is Sequence:
        return [f"a list of ({_text(inner[0])})"]
    if origin is Callable:
        return ["a function"]
    if origin is None and isinstance(hint, type):
        return ["None" if hint is type(None) else hint.__name__]
    return [str(hint)]
