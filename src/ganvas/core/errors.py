"""The errors that users see, in one tree, and the text of their messages.

UserError            user
├── DataError        data
├── ConfigError      config
├── CheckpointError  checkpoint
├── CapabilityError  capability
├── NumericalError   numerical
└── OutputError      output
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class UserError(ValueError):
    """A mistake that the user can correct.

    The message says what was got, what was expected and what to do. It prints without a
    traceback.
    code: a short, stable name of the kind of error, for programs
    """

    code: ClassVar[str] = "user"


class DataError(UserError):
    """An image, file or folder of the user's data cannot be read or does not fit."""

    code = "data"


class ConfigError(UserError):
    """A setting, a name or a description of a run is unknown or has the wrong value."""

    code = "config"


class CheckpointError(UserError):
    """A run folder, checkpoint or model file cannot be read or does not fit its run."""

    code = "checkpoint"


class CapabilityError(UserError):
    """The model's method cannot do what was requested; no other input would help."""

    code = "capability"


class NumericalError(UserError):
    """A loss, a gradient, a weight or an optimizer's state is NaN or infinite."""

    code = "numerical"


class OutputError(UserError):
    """A file cannot be written (full disk, read-only folder); nor can the next one."""

    code = "output"


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all."""
    known = sorted(known)
    near = difflib.get_close_matches(got, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."


def sentence(text: object) -> str:
    """A message that ends with one mark, so that another sentence can follow it."""
    found = str(text)
    return found if found.endswith((".", "?", "!")) else f"{found}."


def printable(text: object) -> str:
    """Untrusted text (file and class names, other programs' messages) as a safe line.

    Control characters, line breaks, bidirectional overrides and bytes that are not
    UTF-8 (surrogates) become backslash escapes, as `ls -b` prints them, so that the
    result can be encoded as UTF-8, prints on one line and cannot steer a terminal.
    """
    return "".join(
        c
        if c.isprintable() and not "\ud800" <= c <= "\udfff"
        else c.encode("unicode_escape").decode()
        for c in str(text)
    )
