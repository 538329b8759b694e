"""Data sets of claims that do not come with scikit-learn or with ganvas."""

from __future__ import annotations

import os
from pathlib import Path

from ganvas.core.errors import UserError
from ganvas.data.downloads import SETS

DATA_VARIABLE = "GANVAS_DATA"


def place(name: str) -> str:
    """Location of the data set `name`, as `ganvas.data.images` takes it.

    That is a folder of this name (or with _ for -) in the folder that the environment
    variable GANVAS_DATA names; else the name of an official set, which is downloaded.

    Raises `UserError` if it is neither.
    """
    folder = os.environ.get(DATA_VARIABLE)
    if folder:
        for path in (Path(folder).expanduser() / n for n in (name, name.replace("-", "_"))):
            if path.exists():
                return str(path)
    if name in SETS:
        return name
    where = f"is not in {folder}" if folder else "is no official set"
    raise UserError(
        f"this claim needs the data set {name!r}, which {where}: set the environment variable "
        f"{DATA_VARIABLE} to a folder that has it as {name}"
    )
