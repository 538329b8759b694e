"""Open what a user names as data: a folder, a file or a data set's name, and its parts."""

from __future__ import annotations

import difflib
import os
import re
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import open_regular, plural, reason, require_regular, shell_quoted
from ganvas.data import downloads
from ganvas.data.arrays import _IDX_IMAGES, SHIPPED, Table, _cifar, _idx, _npz
from ganvas.data.file_index import FileIndex
from ganvas.data.pictures import PARTS, AnyPart, Files, Pictures, kinds, several
from ganvas.data.trees import Folder, Tree, Zip, is_image
from ganvas.media.decode import EXTENSIONS

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def open_source(source: str | os.PathLike[str], white: int | None = None) -> tuple[str, Tree | Table]:
    """(title, what is there). Raises `UserError` for what does not exist or is nothing that we read."""
    name = os.fspath(source)
    if name in SHIPPED:
        return name, SHIPPED[name]
    if name in downloads.SETS:
        kind, path = downloads.fetch(name)
        if kind == "zip":
            return name, Zip(path)
        return name, _cifar(path) if kind == "cifar" else _idx(path, downloads.SETS[name].classes, None)
    shown = printable(name)
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            title = printable(path.resolve().name)
            if any(_IDX_IMAGES.search(f) for f in os.listdir(path)):
                return title, _idx(path, None, white)
            return title, Folder(path, white)
        require_regular(mode)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"there is no '{shown}'. {_nearest(Path(name).expanduser())}") from None
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError) as e:  # also a NUL in its name, and ~nobody
        raise UserError(f"'{shown}' cannot be opened: {reason(e)}. Give a folder of images, or a zip file") from None
    lower = path.name.lower()
    if lower.endswith(".npz"):
        return printable(path.name), _npz(path, white)
    if lower.endswith(".zip") or _is_zip(path):
        return printable(path.name), Zip(path, white)
    if "idx" in lower or (lower.endswith(("ubyte", ".gz")) and not lower.endswith(".tar.gz")):
        return printable(path.name), _idx(path, None, white)
    if is_image(lower):
        raise UserError(f"'{shown}' is one image. A data set is a folder of images: give {printable(path.parent)}")
    if archive := _ARCHIVE.fullmatch(lower):
        how = "" if archive[1] in ("7z", "rar") else f", as with tar -xf {shell_quoted(path)}"
        raise UserError(f"'{shown}' is a packed archive: unpack it{how}, and give the folder that comes out of it")
    raise UserError(
        f"'{shown}' is one file of a kind that is no data set. Expected a folder of images, a zip file, an .npz, MNIST's idx "
        f"files, or one of: {', '.join([*SHIPPED, *downloads.SETS])}."
    )


_ARCHIVE = re.compile(r".*\.(tar|tgz|tbz2?|txz|tar\.\w+|7z|rar)", re.DOTALL)


def _is_zip(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return zipfile.is_zipfile(file)
    except Exception as e:
        raise UserError(f"{printable(path)} cannot be read: {reason(e)}") from None


def _nearest(path: Path) -> str:
    """The nearest name of a data set or beside `path`, or what could be given."""
    known, missing = [*SHIPPED, *downloads.SETS], ""
    try:
        where = "" if str(path.parent) == "." else f"{path.parent}/"
        known += [where + f for f in os.listdir(path.parent) if not f.startswith(".")][:10_000]
    except OSError:
        missing = f"Its parent folder {printable(path.parent)} does not exist either. "
    near = difflib.get_close_matches(str(path), known, n=1, cutoff=0.5)
    return missing + (
        f"Did you mean '{printable(near[0])}'?"
        if near
        else f"Give a folder, a zip, .npz or idx file, or one of: {', '.join([*SHIPPED, *downloads.SETS])}."
    )


def _two(source: Source) -> tuple[str | os.PathLike[str], str | os.PathLike[str]] | None:
    """The two paths of "PATH_A,PATH_B" or of a sequence; None where the source is one."""
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        if "," not in text or os.path.exists(text):
            return None
        source = [p.strip() for p in text.split(",")]
    if len(source) != 2:
        raise UserError(
            f"got {plural(len(source), 'path')} ({', '.join(map(printable, source))}), expected one, or two: PATH_A,PATH_B"
        )
    return source[0], source[1]


def _empty(tree: Tree) -> list[str]:
    bare = tree.seen.empty(tree.entries)
    return [f"{len(bare)} folder{' holds' if len(bare) == 1 else 's hold'} no images: {several(bare)}"] if bare else []


def _described(tree: Tree) -> str | None:
    """The dataset.json that lies above all images, if there is one."""
    for name in sorted(tree.seen.labels, key=lambda name: (name.count("/"), name)):
        above = tuple(name.split("/")[:-1])
        if all(f[: len(above)] == above for f in tree.entries.folders):
            return name
    return None


def _shown(source: Source) -> str:
    """A source's name as text."""
    paths = [source] if isinstance(source, (str, os.PathLike)) else source
    return ",".join(printable(os.fspath(p)) for p in paths)


def _files(pictures: Pictures) -> Files:
    if not isinstance(pictures, Files):
        raise UserError("pairs are matched by file name, and an array of images has none: give folders or zip files")
    return pictures


@dataclass
class _Two:
    """Folders named as two domains. `sides`: part -> "A" and "B" -> files; empty where there are none. `beside`: other
    folders -> how many images they hold ("" for images outside of folders); `spare`: those that belong to such layouts, as
    masks/ and a testA/ without testB/."""

    sides: dict[str, dict[str, FileIndex]]
    folders: list[str]
    beside: dict[str, int]
    spare: dict[str, int]

    def names(self) -> str:
        return several(self.folders, 4)

    def unused(self) -> list[str]:
        """What those leave out who take the two domains."""
        left = {**self.beside, **self.spare}
        left = {f"in {printable(f)}/" if f else "outside of folders": n for f, n in sorted(left.items()) if n}
        many = several([f"{plural(n, 'image')} {where}" for where, n in left.items()])
        return [f"only {self.names()} are used, not {many}"] if left else []


_SPARE = ("masks",)  # `ganvas data mosaic` writes masks/ beside A/ and B/


def _sides(tree: Tree) -> _Two:
    """The folders named A and B, in every layout, and whether anything lies beside them."""
    found: dict[str, dict[str, list[int]]] = {}
    roots: dict[tuple[str, str], set[str]] = {}
    beside: dict[str, list[int]] = {}
    spare: dict[str, list[int]] = {}
    for i, folders in enumerate(_below_top(tree)):
        side = _side(folders)
        parted = len(folders) > 1 and folders[0].lower() in PARTS
        name = "/".join(folders[: 2 if parted else 1])
        if side is None:
            (spare if name.rpartition("/")[2].lower() in _SPARE else beside).setdefault(name, []).append(i)
            continue
        found.setdefault(side[0], {"A": [], "B": []})[side[1]].append(i)
        roots.setdefault(side, set()).add(name)
    for part, both in list(found.items()):
        if not (both["A"] and both["B"]):
            (lonely,) = (s for s in "AB" if both[s])
            spare.setdefault(sorted(roots[part, lonely])[0], []).extend(both[lonely])
            del found[part]
    if any(len(roots[part, side]) > 1 for part in found for side in "AB"):  # a/ and A/, as of letters
        beside = {**beside, **{r: [] for part in found for side in "AB" for r in sorted(roots[part, side])[1:]}}
    entries = tree.entries
    return _Two(
        {part: {side: entries.within(folders) for side, folders in both.items()} for part, both in found.items()},
        sorted({printable(r) for part in found for side in "AB" for r in roots[part, side]}),
        {f: len(entries.within(at)) for f, at in beside.items()},
        {f: len(entries.within(at)) for f, at in spare.items()},
    )


def _side(folders: tuple[str, ...]) -> tuple[str, str] | None:
    """("train", "A") for files in trainA/, train_A/, A/train/, train/A/ and A/."""
    first, second = (*(f.lower() for f in folders[:2]), "", "")[:2]
    joined = re.fullmatch(r"([a-z]+?)[_-]?([ab])", first)
    if joined and joined[1] in PARTS:
        return PARTS[joined[1]], joined[2].upper()
    if first in ("a", "b"):
        return PARTS.get(second, "train"), first.upper()
    if first in PARTS and second in ("a", "b"):
        return PARTS[first], second.upper()
    return None


def _parts(tree: Tree) -> tuple[dict[str, FileIndex], list[str]]:
    """Part -> files, where train/, val/ and test/ lie at the top; else "all"."""
    if not len(tree.entries):
        what = f"the folder {printable(tree.root)}" if isinstance(tree, Folder) else printable(tree.path)
        others = tree.seen.others
        other = f" ({plural(others.total(), 'other file')}: {kinds(others)})" if others else ""
        raise UserError(
            f"{what} has no images in it{other}. Expected files ending in {', '.join(sorted(EXTENSIONS))}, "
            "or folders of them."
        )
    tops = [f[0].lower() if f else "" for f in _below_top(tree)]
    if "train" not in {PARTS.get(t) for t in tops} or not all(t in PARTS for t in tops if t):
        return {"all": tree.entries}, []
    parts = {p: [i for i, top in enumerate(tops) if top and PARTS[top] == p] for p in ("train", "val", "test")}
    loose = len(tree.entries.within([i for i, top in enumerate(tops) if not top]))
    notes = [f"{plural(loose, 'image')} beside train/ not used"] if loose else []
    return {p: tree.entries.within(folders) for p, folders in parts.items() if folders}, notes


def _below_top(tree: Tree) -> list[tuple[str, ...]]:
    """Every folder of the listing, without those that hold everything, as zip files often have
    (horse2zebra/trainA/...)."""
    folders = list(tree.entries.folders)
    while folders and all(folders) and len({f[0] for f in folders}) == 1:
        top = folders[0][0].lower()
        if top in PARTS or _side((top,)):
            break
        folders = [f[1:] for f in folders]
    return folders


def _wanted(part: AnyPart) -> tuple[str, ...]:
    return {"train": ("train", "all", "test", "val"), "val": ("val", "test", "train", "all")}.get(
        part, ("test", "val", "train", "all")
    )


def _choose(parts: Mapping[str, Any], part: AnyPart) -> tuple[str, list[str]]:
    """The part to open, and a note where it is not the one asked for."""
    got = next(p for p in _wanted(part) if p in parts)
    right = got in ("train", "all") if part == "train" else got in ("test", "val")
    used = "all images are" if got == "all" else f"{got} is"
    return got, [] if right else [f"there is no {part} part: {used} used instead"]
