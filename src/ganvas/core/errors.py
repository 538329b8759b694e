"""The one error that people see. It prints as a message, without a traceback, and says what was got, what was expected
and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can mend. The message says what was got, what was expected and what to do."""


class WrongUse(UserError):
    """Asked of a model what its method cannot do; no other input would help."""


class NotWritten(UserError):
    """A file could not be written (a full disk, a read-only folder); the next one could not, either."""


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """The tail of an error message: the nearest known name, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."


def printable(text: object) -> str:
    """Text from outside (file, folder and class names, messages of other programs) as one safe line.

    Control characters, line breaks, bidirectional overrides and bytes that are not UTF-8
    (surrogates) become backslash escapes, as `ls -b` prints them, so that the result can
    be encoded as UTF-8, prints on one line and cannot steer a terminal."""
    return "".join(
        c if c.isprintable() and not "\ud800" <= c <= "\udfff" else c.encode("unicode_escape").decode()
        for c in str(text)
    )
