"""Results that lie in their place already: of the same call, or of another one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ganvas.core.errors import DataError, OutputError, printable
from ganvas.inference.model import Model
from ganvas.inference.options import TranslateOptions
from ganvas.media import provenance


def options_of(model: Model, how: TranslateOptions) -> str:
    """The options of a translation as JSON, for its mark, with the direction's name."""
    directions = getattr(model.method, "directions", ())  # of a generator: none
    to = how.get("to") or next(iter(directions), None)
    return json.dumps({**how, "to": to}, sort_keys=True)


def require_same(file: Path, facts: Mapping[str, object], *, marked: bool = False) -> None:
    """Raise `OutputError` unless the mark of a file holds these facts.

    marked: refuse a file without a mark, too, which may be of any call
    """
    try:
        known = provenance.read(file)["facts"]
    except DataError:
        known = {}
    wanted = {k: v for k, v in facts.items() if v is not None}
    if (known or marked) and not wanted.items() <= known.items():
        raise OutputError(
            f"{printable(file)} is the result of another model, input or options: choose another "
            "--out, or remove it"
        )
