"""Find the models in a folder, and keep those in use loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pydantic
from safetensors import safe_open

from ganvas.core import Method, Samples, Translates, registry
from ganvas.core.errors import UserError, printable
from ganvas.core.json_files import parse_json
from ganvas.inference.load import load
from ganvas.inference.model import Model
from ganvas.inference.model_file import MAX_HEADER, Header
from ganvas.methods.base import supports

PLACES = ("", "*/", "*/*/")  # of runs and models below a folder
LOADED = 4  # models that stay in memory


class Entry(NamedTuple):
    """A model in a folder.

    name: its place below the folder
    path: for `ganvas.load`
    title: name, recipe and training size
    generates: whether it makes images from noise
    translates: whether it makes images from images
    """

    name: str
    path: Path
    title: str
    generates: bool
    translates: bool


def find_models(*folders: Path) -> list[Entry]:
    """The models of ganvas below folders, down to `zoo/NAME/model`.

    The newest of each folder come first. Only headers are read. Files that are not
    models of ganvas are left out.
    """
    entries: dict[Path, Entry] = {}
    for folder in folders:
        files = {file: None for place in PLACES for file in sorted(_files(folder, place))}
        found = {e.path: e for file in files if (e := _entry(file, folder)) is not None}
        entries |= {e.path: e for e in sorted(found.values(), key=lambda e: -_modified(e.path))}
    return list(entries.values())


def open_model(path: Path) -> Model:
    """Load a model, or take it from memory if its file has not changed.

    Raises `UserError` as `load` does.
    """
    return _opened(path, _modified(path))


@lru_cache(LOADED)
def _opened(path: Path, _modified: float) -> Model:
    return load(path)


def _files(folder: Path, place: str) -> Iterator[Path]:
    yield from folder.glob(f"{place}model/model.safetensors")
    yield from folder.glob(f"{place}model.safetensors")
    if place != "*/*/":  # single files beside each other, as in a zoo
        yield from folder.glob(f"{place}*.safetensors")


def _modified(path: Path) -> float:
    files = (path / "model" / "model.safetensors", path / "model.safetensors", path)
    return next(os.stat(file).st_mtime for file in files if file.exists())


def _entry(file: Path, folder: Path) -> Entry | None:
    """The entry of a model file; None for another file."""
    path = file
    if file.name == "model.safetensors":
        path = file.parent.parent if file.parent.name == "model" else file.parent
    try:
        header = _header(file)
        generates, translates = _abilities(header)
    except (UserError, pydantic.ValidationError):
        return None
    name = str(path.relative_to(folder)) if path != folder else path.resolve().name
    size = f"{header.shape.width}x{header.shape.height}"
    recipe = printable(header.recipe or "model")
    return Entry(name, path, f"{printable(name)} ({recipe}, {size})", generates, translates)


def _header(file: Path) -> Header:
    try:
        with safe_open(file, "pt") as opened:
            text = (opened.metadata() or {}).get("ganvas", "")
    except Exception as e:  # a damaged file may fail in any way inside the reader
        raise UserError(f"{printable(file)} cannot be read: {printable(e)}") from None
    if not 0 < len(text) <= MAX_HEADER:
        raise UserError(f"{printable(file)} is not a ganvas model")
    return Header.model_validate(parse_json(text, printable(file), "ganvas model"))


def _abilities(header: Header) -> tuple[bool, bool]:
    """(generates, translates) of the method that a header describes."""
    if header.method is None:  # imported: its task says it
        return header.task == "images", header.task != "images"
    kind = registry.find(str(header.method.get("$partial")))
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise UserError("a model's method is a class of methods")
    return supports(kind, Samples), supports(kind, Translates)
