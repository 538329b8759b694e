"""Read JSON from untrusted sources: bounded in size and depth, with one-line errors."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TypeAlias

from ganvas.core.errors import DataError, UserError, printable

# A value that JSON can hold. Records of other sources are checked where they are used.
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
MAX_BYTES = 1 << 26
MAX_DEPTH = 64


def read_json(
    path: str | Path,
    what: str,
    most: int = MAX_BYTES,
    error: type[UserError] = DataError,
) -> dict[str, Json]:
    """Read the JSON object of a file.

    what: the kind of file for error messages, e.g. "run description".
    most: the largest size in bytes that is read.
    error: the class of what is raised.

    Raises `error` with one line if there is no regular file, if it cannot be read, or
    if it holds anything but one JSON object within the bounds of `parse_json`.
    """
    where = printable(path)
    try:
        # Checked before opening, since opening a pipe waits for its other end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise error(f"{where} is not a regular file; expected a {what} (JSON)")
        with open(path, "rb") as f:
            text = f.read(most + 1)
    except FileNotFoundError:
        raise error(f"there is no {what} {where}") from None
    except (OSError, ValueError) as e:  # a path with a NUL is a ValueError
        reason = getattr(e, "strerror", None) or e
        raise error(f"{where} cannot be read: {printable(reason)}") from None
    if len(text) > most:
        raise error(f"{where} is larger than {most:,} bytes, too large for a {what}")
    return parse_json(text, where, what, error)


def parse_json(
    text: str | bytes, where: str, what: str, error: type[UserError] = DataError
) -> dict[str, Json]:
    """Parse a JSON object: UTF-8, nested at most `MAX_DEPTH` deep.

    where: the place that error messages name, e.g. "log.jsonl, line 3".
    what: what should be there, e.g. "run description".

    Raises `error` with one line.
    """
    try:
        value = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
        if not isinstance(value, dict):
            raise error(f"{where} is not a {what}: expected a JSON object, got {_kind(value)}")
        if _deeper(value, MAX_DEPTH):
            raise RecursionError
    except RecursionError:
        raise error(f"{where} is not a {what}: its JSON is nested too deeply") from None
    except UserError:
        raise
    except UnicodeDecodeError as e:
        raise error(f"{where} is not a {what}: byte {e.start} is not UTF-8") from None
    except ValueError as e:  # of the syntax, or an integer of thousands of digits
        raise error(f"{where} is not a {what}: its JSON is broken ({printable(e)})") from None
    return value


def _kind(value: Json) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return {list: "a list", str: "text"}.get(type(value), "a number")


def _deeper(value: dict[str, Json], most: int) -> bool:
    """Whether lists and objects are nested more than `most` deep, without recursion."""
    level: list[dict[str, Json] | list[Json]] = [value]
    for _ in range(most):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
