"""The command that repeats a training, for run.json."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from ganvas.core.config import Assignments, assignments

OPTIONS = {"start_from": "--from", "discriminator_from": "--from-discriminator"}


def command_of(train: Callable[..., object], arguments: Mapping[str, object]) -> str:
    """The command line of a call of `ganvas.train`, quoted for a shell.

    arguments: of the call, by name; those that equal their default are left out, as are
        objects and functions of the user's own program, for which there is no option
    """
    words = ["ganvas", "train", str(arguments["recipe"]), str(arguments["data"])]
    for name, parameter in inspect.signature(train).parameters.items():
        value = arguments[name]
        if parameter.kind is parameter.KEYWORD_ONLY and value != parameter.default:
            option = OPTIONS.get(name, f"--{name.replace('_', '-')}")
            words += [option] if value is True else _words(option, value)
    return shlex.join(words)


def _words(option: str, value: object) -> list[str]:
    if option == "--set":
        value = assignments(cast(Assignments, value))
    elif option == "--size" and isinstance(value, Sequence) and not isinstance(value, str):
        value = "x".join(map(str, value))
    if isinstance(value, list | tuple):
        return [word for part in value for word in (option, str(part))]
    return [option, str(value)] if isinstance(value, str | int | float | Path) else []
