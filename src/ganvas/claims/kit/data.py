"""Data sets that claims play on and that do not come with scikit-learn."""

from __future__ import annotations

import os
from pathlib import Path

from ganvas.core.errors import UserError
from ganvas.data.downloads import SETS

DATA_VARIABLE = "GANVAS_DATA"


def place(name: str) -> str:
    """Where the data set `name` is: in the folder that the environment variable GANVAS_DATA names, or where `images` finds
    an official set, which is downloaded. Raises `UserError` where it is neither.
    """
    folder = os.environ.get(DATA_VARIABLE)
    if folder and (path := Path(folder).expanduser() / name).exists():
        return str(path)
    if name in SETS:
        return name
    where = f"is not in {folder}" if folder else "is no official set"
    raise UserError(
        f"this claim needs the data set {name!r}, which {where}: set the environment variable {DATA_VARIABLE} to a folder that "
        f"has it as {name}"
    )
