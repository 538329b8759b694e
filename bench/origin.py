"""Where a record comes from: the fields that every record of this folder has."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ganvas.core.environment import commit, machine
from ganvas.core.json_files import Json


def command(arguments: Sequence[str] | None = None) -> str:
    """The command line of this process, as a page prints it.

    Absolute paths are shortened to their names: those of a machine tell others nothing.
    """
    script, *words = sys.argv if arguments is None else arguments
    shown = [Path(word).name if Path(word).is_absolute() else word for word in words]
    return shlex.join(["python", f"bench/{Path(script).name}", *shown])


def origin() -> dict[str, Json]:
    """`command`, `commit` and `machine` of a record."""
    return {"command": command(), "commit": commit(), "machine": machine()}
