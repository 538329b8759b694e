"""Open the source of a data set (folder, file or name of a set), find its parts."""

from __future__ import annotations

import difflib
import os
import re
import stat
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import open_regular, plural, reason, require_regular, shell_quoted
from ganvas.data import downloads
from ganvas.data.arrays import SHIPPED, Arrays, cifar_table, npz_table
from ganvas.data.file_index import FileIndex
from ganvas.data.hf_datasets import HfImages, hf_table, is_hf_dataset
from ganvas.data.idx import IDX_IMAGES, idx_table
from ganvas.data.pictures import PARTS, AnyPart, Files, ImageSet, endings_summary, several
from ganvas.data.streaming.shards import Shards, is_shards, shards_table
from ganvas.data.streaming.store import is_address
from ganvas.data.trees import Folder, Tree, Zip, is_image
from ganvas.media.decode import EXTENSIONS

Parts = Callable[[str], Arrays | Shards | HfImages | None]  # name of a part -> its images
Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def open_source(
    source: str | os.PathLike[str], white: int | None = None
) -> tuple[str, Tree | Parts]:
    """Open a folder, a zip file, an array file, shards or a named data set.

    white: see `ganvas.data.images`

    Returns (title, tree of image files or its parts). Raises `UserError` for a
    source that does not exist or is of an unknown kind.
    """
    name = os.fspath(source)
    if not name:
        raise UserError("the name of the data set is empty; give a folder, or . for this one")
    if name in SHIPPED:
        return name, SHIPPED[name]
    if name in downloads.SETS:
        kind, path = downloads.fetch(name)
        if kind == "zip":
            return name, Zip(path)
        return name, cifar_table(path) if kind == "cifar" else idx_table(
            path, downloads.SETS[name].classes, None
        )
    shown = printable(name)
    if is_address(name):
        return shown, shards_table(name, white)
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            title = printable(path.resolve().name)
            if any(IDX_IMAGES.search(f) for f in os.listdir(path)):
                return title, idx_table(path, None, white)
            if is_shards(path):
                return title, shards_table(path, white)
            if is_hf_dataset(path):
                return title, hf_table(path, white)
            return title, Folder(path, white)
        require_regular(mode)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"there is no '{shown}'. {_suggestion(Path(name).expanduser())}") from None
    except UserError:
        raise
    except (OSError, ValueError, RuntimeError) as e:  # also a NUL in its name, and ~nobody
        raise UserError(
            f"'{shown}' cannot be opened: {reason(e)}. Give a folder of images, or a zip file"
        ) from None
    lower = path.name.lower()
    if is_hf_dataset(path):
        return printable(path.name), hf_table(path, white)
    if lower.endswith(".npz"):
        return printable(path.name), npz_table(path, white)
    if lower.endswith(".zip") or _is_zip(path):
        return printable(path.name), Zip(path, white)
    if "idx" in lower or (lower.endswith(("ubyte", ".gz")) and not lower.endswith(".tar.gz")):
        return printable(path.name), idx_table(path, None, white)
    if is_image(lower):
        raise UserError(
            f"'{shown}' is one image. A data set is a folder of images: give "
            f"{printable(path.parent)}"
        )
    if archive := _ARCHIVE.fullmatch(lower):
        how = "" if archive[1] in ("7z", "rar") else f", as with tar -xf {shell_quoted(path)}"
        raise UserError(
            f"'{shown}' is a packed archive: unpack it{how}, and give the folder that comes out of "
            "it"
        )
    raise UserError(
        f"'{shown}' is one file of a kind that is no data set. Expected a folder of images, a zip "
        f"file, an .npz, MNIST's idx files, or one of: {', '.join([*SHIPPED, *downloads.SETS])}."
    )


_ARCHIVE = re.compile(r".*\.(tar|tgz|tbz2?|txz|tar\.\w+|7z|rar)", re.DOTALL)


def _is_zip(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return zipfile.is_zipfile(file)
    except Exception as e:
        raise UserError(f"{printable(path)} cannot be read: {reason(e)}") from None


def _suggestion(path: Path) -> str:
    """The nearest name of a data set or a file beside `path`, or the expected kinds."""
    known, missing = [*SHIPPED, *downloads.SETS], ""
    try:
        where = "" if str(path.parent) == "." else f"{path.parent}/"
        known += [where + f for f in os.listdir(path.parent) if not f.startswith(".")][:10_000]
    except OSError:
        missing = f"Its parent folder {printable(path.parent)} does not exist either. "
    near = difflib.get_close_matches(str(path), known, n=1)
    return missing + (
        f"Did you mean '{printable(near[0])}'?"
        if near
        else "Give a folder, a zip, .npz or idx file, or one of: "
        f"{', '.join([*SHIPPED, *downloads.SETS])}."
    )


def two_paths(source: Source) -> tuple[str | os.PathLike[str], str | os.PathLike[str]] | None:
    """The two paths of "PATH_A,PATH_B" or of a sequence; None for one path.

    Raises `UserError` for more than two paths.
    """
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        if "," not in text or os.path.exists(text):
            return None
        source = [p.strip() for p in text.split(",")]
    if len(source) != 2:
        raise UserError(
            f"got {plural(len(source), 'path')} ({', '.join(map(printable, source))}), expected "
            "one, or two: PATH_A,PATH_B"
        )
    return source[0], source[1]


def one_text(source: Source) -> str:
    """A source as the command line takes it: "PATH", or "PATH_A,PATH_B"."""
    paths = [source] if isinstance(source, (str, os.PathLike)) else source
    return ",".join(os.fspath(path) for path in paths)


def empty_folder_notes(tree: Tree) -> list[str]:
    """A note that names the folders without images, if there are any."""
    bare = tree.inventory.empty(tree.entries)
    return (
        [f"{len(bare)} folder{' holds' if len(bare) == 1 else 's hold'} no images: {several(bare)}"]
        if bare
        else []
    )


def find_dataset_json(tree: Tree) -> str | None:
    """Path of the dataset.json that lies above all images; None if there is none."""
    for name in sorted(tree.inventory.labels, key=lambda name: (name.count("/"), name)):
        above = tuple(name.split("/")[:-1])
        if all(f[: len(above)] == above for f in tree.entries.folders):
            return name
    return None


def source_title(source: Source) -> str:
    """Name of a source, printable."""
    paths = [source] if isinstance(source, (str, os.PathLike)) else source
    return ",".join(printable(os.fspath(p)) for p in paths)


def require_files(image_set: ImageSet) -> Files:
    """`image_set`, if they are files. Raises `UserError` otherwise."""
    if not isinstance(image_set, Files):
        raise UserError(
            "pairs are matched by file name, which arrays and shards do not have: give folders or "
            "zip files"
        )
    return image_set


@dataclass
class Domains:
    """Folders named as two domains.

    sides: part -> "A" and "B" -> files; empty if there are no such folders
    folders: names of the folders of `sides`, printable
    beside: other folders -> number of their images ("" for images outside of folders)
    spare: the same for folders that belong to such layouts, as masks/, or a testA/
        without testB/
    """

    sides: dict[str, dict[str, FileIndex]]
    folders: list[str]
    beside: dict[str, int]
    spare: dict[str, int]

    def names(self) -> str:
        """Names of the folders, at most four, as text."""
        return several(self.folders, 4)

    def unused(self) -> list[str]:
        """A note that names the images outside of the two domains, if there are any."""
        counts = {**self.beside, **self.spare}
        unused = [
            f"{plural(n, 'image')} {f'in {printable(f)}/' if f else 'outside of folders'}"
            for f, n in sorted(counts.items())
            if n
        ]
        return [f"only {self.names()} are used, not {several(unused)}"] if unused else []


_SPARE = ("masks",)  # `ganvas data mosaic` writes masks/ beside A/ and B/


def find_domain_folders(tree: Tree) -> Domains:
    """Find the folders named A and B, in every layout, and the folders beside them."""
    found: dict[str, dict[str, list[int]]] = {}
    roots: dict[tuple[str, str], set[str]] = {}
    beside: dict[str, list[int]] = {}
    spare: dict[str, list[int]] = {}
    for i, folders in enumerate(inner_folders(tree)):
        side = _domain_of(folders)
        parted = len(folders) > 1 and folders[0].lower() in PARTS
        name = "/".join(folders[: 2 if parted else 1])
        if side is None:
            (spare if name.rpartition("/")[2].lower() in _SPARE else beside).setdefault(
                name, []
            ).append(i)
            continue
        found.setdefault(side[0], {"A": [], "B": []})[side[1]].append(i)
        roots.setdefault(side, set()).add(name)
    for part, both in list(found.items()):
        if not (both["A"] and both["B"]):
            (lonely,) = (s for s in "AB" if both[s])
            spare.setdefault(sorted(roots[part, lonely])[0], []).extend(both[lonely])
            del found[part]
    if any(
        len(roots[part, side]) > 1 for part in found for side in "AB"
    ):  # a/ and A/, as in a set of letters
        beside = {
            **beside,
            **{r: [] for part in found for side in "AB" for r in sorted(roots[part, side])[1:]},
        }
    entries = tree.entries
    return Domains(
        {
            part: {side: entries.within(folders) for side, folders in both.items()}
            for part, both in found.items()
        },
        sorted({printable(r) for part in found for side in "AB" for r in roots[part, side]}),
        {f: len(entries.within(at)) for f, at in beside.items()},
        {f: len(entries.within(at)) for f, at in spare.items()},
    )


def _domain_of(folders: tuple[str, ...]) -> tuple[str, str] | None:
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


def split_parts(tree: Tree) -> tuple[dict[str, FileIndex], list[str]]:
    """Divide the images by train/, val/ and test/ at the top.

    Returns (part -> files, or "all" -> files, notes). Raises `UserError` for no
    images.
    """
    if not len(tree.entries):
        what = (
            f"the folder {printable(tree.root)}"
            if isinstance(tree, Folder)
            else printable(tree.path)
        )
        others = tree.inventory.others
        other = (
            f" ({plural(others.total(), 'other file')}: {endings_summary(others)})"
            if others
            else ""
        )
        raise UserError(
            f"{what} has no images in it{other}. Expected files ending in "
            f"{', '.join(sorted(EXTENSIONS))}, or folders of them."
        )
    tops = [f[0].lower() if f else "" for f in inner_folders(tree)]
    if "train" not in {PARTS.get(t) for t in tops} or not all(t in PARTS for t in tops if t):
        return {"all": tree.entries}, []
    parts = {
        p: [i for i, top in enumerate(tops) if top and PARTS[top] == p]
        for p in ("train", "val", "test")
    }
    loose = len(tree.entries.within([i for i, top in enumerate(tops) if not top]))
    notes = [f"{plural(loose, 'image')} beside train/ not used"] if loose else []
    return {p: tree.entries.within(folders) for p, folders in parts.items() if folders}, notes


def inner_folders(tree: Tree) -> list[tuple[str, ...]]:
    """Paths of all folders with images, below a folder that holds everything else.

    Zip files often have one (horse2zebra/trainA/...).
    """
    folders = list(tree.entries.folders)
    while folders and all(folders) and len({f[0] for f in folders}) == 1:
        top = folders[0][0].lower()
        if top in PARTS or _domain_of((top,)):
            break
        folders = [f[1:] for f in folders]
    return folders


def part_preference(part: AnyPart) -> tuple[str, ...]:
    """Parts that may be opened as `part`, the best first. Raises `UserError`."""
    preferences: dict[str, tuple[str, ...]] = {
        "train": ("train", "all", "test", "val"),
        "val": ("val", "test", "train", "all"),
        "test": ("test", "val", "train", "all"),
    }
    if part not in preferences:
        raise UserError(f"part is {part!r}; expected 'train' or 'test'")
    return preferences[part]


def choose_part(parts: Mapping[str, object], part: AnyPart) -> tuple[str, list[str]]:
    """Choose the part to open. Returns (its name, a note if it is not `part`)."""
    got = next(p for p in part_preference(part) if p in parts)
    right = got in ("train", "all") if part == "train" else got in ("test", "val")
    substitute = "all images are" if got == "all" else f"{got} is"
    return got, [] if right else [f"there is no {part} part: {substitute} used instead"]
