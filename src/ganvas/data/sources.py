"""What people have: folders, zip files, idx, npz and named sets, in the layouts that image projects use. Finding and
listing only; nothing here decodes a picture before it is asked to."""

from __future__ import annotations

import difflib
import errno
import gzip
import hashlib
import math
import os
import re
import stat
import string
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Protocol

import numpy as np
from PIL import Image

from ganvas.data import labelling, listings, official
from ganvas.data.decode import EXTENSIONS, Broken, Header, as_image, deep, eight_bit, read, read_header
from ganvas.data.guards import open_regular, plural, reason, require_memory, require_regular, shell_quoted
from ganvas.data.listings import Listing
from ganvas.errors import UserError, printable

Part = Literal["train", "test"]
AnyPart = Literal["train", "test", "val"]
Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "val", "valid": "val"}
PARTS["validation"] = "val"
MAX_FILE = 1 << 30  # bytes of one encoded picture; a zip entry may claim to unpack to anything
DEFLATE = 1032  # times smaller than what it unpacks to is the most that zlib's format can be


# ---------------------------------------------------------------- trees: a folder or a zip file


class Folder:
    """A folder and everything below it; links are followed. `white`: see `ganvas.data.images`."""

    def __init__(self, root: Path, white: int | None = None) -> None:
        self.root, self.title, self.white = root, printable(root.name or root), white
        self.seen = _Seen()
        found = listings.Gathered()
        self._walk(found)
        self.entries = found.listing()

    def _walk(self, found: listings.Gathered) -> None:
        waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
        while waiting:
            prefix, above = waiting.pop()
            folder = self.root / prefix
            try:
                here = folder.stat()
                if (here.st_dev, here.st_ino) in above:  # a link to a folder above it
                    continue
                above |= {(here.st_dev, here.st_ino)}
                with os.scandir(folder) as listing:
                    below = [f.name for f in listing if self._add(f, prefix, found)]
            except OSError as e:
                raise UserError(f"the folder {printable(folder)} cannot be read: {reason(e)}") from None
            self.seen.folders.update(prefix + name for name in below)
            waiting += [(f"{prefix}{name}/", above) for name in reversed(below)]

    def _add(self, f: os.DirEntry[str], prefix: str, found: listings.Gathered) -> bool:
        """Whether it is a folder, to be walked through. Files are listed or counted."""
        if _hidden(f.name):
            return False
        try:
            if f.is_dir():
                return True
            s = f.stat()
            size, changed = (s.st_size, s.st_mtime_ns) if stat.S_ISREG(s.st_mode) else (0, 0)
        except OSError:  # a link to nowhere or to itself: reading it will say so by name
            size, changed = 0, 0
        self.seen.add(prefix + f.name, found, size, changed)
        return False

    def stamp(self) -> str:
        return str(self.root.resolve())

    def header(self, name: str) -> Header:
        with self._open(name) as file:
            return read_header(file)

    def load(self, name: str) -> Image.Image:
        with self._open(name) as file:
            return read(file, white=self.white)

    def deep(self, name: str) -> np.ndarray | None:
        with self._open(name) as file:
            return deep(file)

    def contents(self, name: str) -> bytes:
        with self._open(name) as file:
            return file.read(MAX_FILE)

    def _open(self, name: str) -> IO[bytes]:
        try:
            return open_regular(self.root / name)
        except OSError as e:
            if e.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):  # of this process, not of the image
                raise UserError(f"{printable(self.root / name)} cannot be opened: {reason(e)}") from None
            raise Broken(reason(e)) from None


class Zip:
    """A zip file, read in place: nothing is unpacked. A member whose name leaves the archive is refused."""

    def __init__(self, path: Path, white: int | None = None) -> None:
        self.path, self.title, self.white = path, printable(path.name), white
        try:
            open_regular(path).close()  # a pipe has no end to look at
            self.zip = zipfile.ZipFile(path)
            members = self.zip.infolist()
        except Exception as e:  # what a damaged directory makes zipfile trip over is of many kinds
            raise UserError(
                f"{printable(path)} is no readable zip file ({reason(e)}). Is it complete? Pack or download it again."
            ) from None
        self.seen = _Seen()
        found = listings.Gathered()
        for info in members:
            name = info.filename.replace("\\", "/")
            parts = PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
                raise UserError(
                    f"{printable(path)} has a member named '{printable(info.filename)}', which points outside of the "
                    "archive: refused. Do not trust this file; pack the images again yourself if you know where they "
                    "come from."
                )
            if any(map(_hidden, parts)):
                continue
            if info.is_dir():
                self.seen.folders.add(name.rstrip("/"))
            else:  # a damaged directory may claim sizes beyond 64 bits
                self.seen.add(info.filename, found, min(info.file_size, (1 << 63) - 1), info.CRC)
        self.entries = found.listing()

    def stamp(self) -> str:
        return str(self.path.resolve())

    def header(self, name: str) -> Header:
        with self._open(name) as file:
            return read_header(file)

    def load(self, name: str) -> Image.Image:
        return read(BytesIO(self.contents(name)), white=self.white)

    def deep(self, name: str) -> np.ndarray | None:
        return deep(BytesIO(self.contents(name)))

    def contents(self, name: str) -> bytes:
        with self._open(name) as file:
            try:
                return file.read()
            except Exception as e:  # a damaged member: zlib's errors, wrong sums
                raise Broken(f"damaged inside the zip file ({reason(e)})") from None

    def _open(self, name: str) -> IO[bytes]:
        try:
            if self.zip.getinfo(name).file_size > MAX_FILE:
                raise Broken("unpacks to more than 1 GiB, refused as a possible bomb")
            return self.zip.open(name)
        except Broken:
            raise
        except Exception as e:  # encrypted, or compressed in a way that this Python lacks
            raise Broken(reason(e)) from None


class _Seen:
    """What a tree holds besides images. `folders`: paths of all folders; `others`: endings of other files, counted;
    `labels`: paths of files named dataset.json."""

    def __init__(self) -> None:
        self.folders: set[str] = set()
        self.others: Counter[str] = Counter()
        self.labels: list[str] = []

    def add(self, name: str, found: listings.Gathered, size: int, changed: int) -> None:
        """Put a file where it belongs."""
        if is_image(name):
            found.add(name, size, changed)
        elif name.rpartition("/")[2] == labelling.NAME:
            self.labels.append(name)
        else:
            self.others[printable(os.path.splitext(name)[1].lower()) or "no ending"] += 1

    def empty(self, entries: Listing) -> list[str]:
        """Folders that hold no images, without those within others of them."""
        used = {"/".join(f[:i]) for f in entries.folders for i in range(1, len(f) + 1)}
        bare = self.folders - used
        return sorted(printable(f) for f in bare if f.rpartition("/")[0] not in bare)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


Tree = Folder | Zip


def is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


# ---------------------------------------------------------------- sets of pictures


class Pictures(Protocol):
    """A sequence of pictures, not yet decoded. `labels`: indices into `classes` (int64 [N]), or None."""

    @property
    def labels(self) -> np.ndarray | None: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """For people: one printable line."""
        ...

    def stamp(self) -> Any:
        """JSON-ready; changes whenever the pictures may have."""
        ...

    def header(self, i: int) -> Header:
        """Raises `Broken`."""
        ...

    def load(self, i: int) -> Image.Image:
        """Mode L, RGB or RGBA. Raises `Broken`."""
        ...

    def deep(self, i: int) -> np.ndarray | None:
        """The stored values of a gray image of more than 8 bits; None for others. Raises `Broken`."""
        ...


@dataclass
class Files:
    """Image files of a tree. `half` 0 or 1: the left or right half of each."""

    tree: Tree
    entries: Listing
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    half: int | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, i: int) -> str:
        return printable(self.entries[i].name)

    def stamp(self) -> Any:
        labels = None if self.labels is None else hashlib.blake2b(self.labels.tobytes(), digest_size=16).hexdigest()
        return [self.tree.stamp(), self.half, labels, self.entries.digest()]

    def header(self, i: int) -> Header:
        h = self.tree.header(self.entries[i].name)
        if self.half is None:
            return h
        if h.width < 1.3 * h.height or (h.width % 2 and h.width < 1.9 * h.height):
            raise Broken(
                f"is {h.width}x{h.height}: A|B in one picture needs an even width, two equal halves side by side, and at "
                "least 1.3 times the height; one picture is no pair"
            )
        return h._replace(width=h.width // 2)

    def load(self, i: int) -> Image.Image:
        image = self.tree.load(self.entries[i].name)
        if self.half is None:
            return image
        w = image.width // 2
        return image.crop((self.half * (image.width - w), 0, w if self.half == 0 else image.width, image.height))

    def deep(self, i: int) -> np.ndarray | None:
        return self.tree.deep(self.entries[i].name)


class Arrays:
    """Pictures that come as one array: uint8 [N, H, W, C]. `wide`: the same in more than 8 bits, as they are stored."""

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray | None,
        names: Sequence[str] | None,
        stamp: Any,
        *,
        wide: np.ndarray | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.pixels, self._stamp, self._wide, self.notes = pixels, stamp, wide, list(notes)
        self.labels: np.ndarray | None = None
        self.classes: tuple[str, ...] = ()
        if labels is not None:
            values, index = np.unique(labels, return_inverse=True)
            if names is not None:  # the set's own names: every class has its number, present or not
                self.labels, self.classes = labels.astype(np.int64), tuple(names)
            elif len(values) > 1:
                self.labels, self.classes = (
                    index.reshape(-1).astype(np.int64),
                    tuple(printable(v) for v in values.tolist()),
                )

    def __len__(self) -> int:
        return len(self.pixels)

    def name(self, i: int) -> str:
        return f"image {i}"

    def stamp(self) -> Any:
        return self._stamp

    def header(self, i: int) -> Header:
        _, h, w, c = self.pixels.shape
        return Header(w, h, {1: "L", 3: "RGB", 4: "RGBA"}[c], c)

    def load(self, i: int) -> Image.Image:
        return as_image(self.pixels[i])

    def deep(self, i: int) -> np.ndarray | None:
        return None if self._wide is None else self._wide[i]


class Joined:
    """Two sets of pictures as one, of the classes A and B."""

    classes: tuple[str, ...] = ("A", "B")

    def __init__(self, a: Pictures, b: Pictures) -> None:
        self.a, self.b = a, b
        self.labels: np.ndarray | None = np.repeat(np.arange(2), [len(a), len(b)])

    def __len__(self) -> int:
        return len(self.a) + len(self.b)

    def _at(self, i: int) -> tuple[Pictures, int]:
        return (self.a, i) if i < len(self.a) else (self.b, i - len(self.a))

    def name(self, i: int) -> str:
        pictures, at = self._at(i)
        return pictures.name(at)

    def stamp(self) -> Any:
        return [self.a.stamp(), self.b.stamp()]

    def header(self, i: int) -> Header:
        pictures, at = self._at(i)
        return pictures.header(at)

    def load(self, i: int) -> Image.Image:
        pictures, at = self._at(i)
        return pictures.load(at)

    def deep(self, i: int) -> np.ndarray | None:
        pictures, at = self._at(i)
        return pictures.deep(at)


@dataclass
class Found:
    """What a source holds for one task: `x`, or `a` and `b`. `layout` names it for people; `part` is what was
    opened; `others` counts files that are no images, by their endings."""

    title: str
    layout: str
    part: str
    sets: Mapping[str, Pictures]
    notes: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


Table = Callable[[str], Arrays | None]  # a part's name -> its pictures


# ---------------------------------------------------------------- opening a source


def open_source(source: str | os.PathLike[str], white: int | None = None) -> tuple[str, Tree | Table]:
    """(title, what is there). Raises `UserError` for what does not exist or is nothing that we read."""
    name = os.fspath(source)
    if name in SHIPPED:
        return name, SHIPPED[name]
    if name in official.SETS:
        kind, path = official.fetch(name)
        if kind == "zip":
            return name, Zip(path)
        return name, _cifar(path) if kind == "cifar" else _idx(path, official.SETS[name].classes, None)
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
        f"files, or one of: {', '.join([*SHIPPED, *official.SETS])}."
    )


CLASS_FOLDERS = "class folders"
_ARCHIVE = re.compile(r".*\.(tar|tgz|tbz2?|txz|tar\.\w+|7z|rar)", re.DOTALL)


def _is_zip(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return zipfile.is_zipfile(file)
    except Exception as e:
        raise UserError(f"{printable(path)} cannot be read: {reason(e)}") from None


def _nearest(path: Path) -> str:
    """The nearest name of a data set or beside `path`, or what could be given."""
    known, missing = [*SHIPPED, *official.SETS], ""
    try:
        where = "" if str(path.parent) == "." else f"{path.parent}/"
        known += [where + f for f in os.listdir(path.parent) if not f.startswith(".")][:10_000]
    except OSError:
        missing = f"Its parent folder {printable(path.parent)} does not exist either. "
    near = difflib.get_close_matches(str(path), known, n=1, cutoff=0.5)
    return missing + (
        f"Did you mean '{printable(near[0])}'?"
        if near
        else f"Give a folder, a zip, .npz or idx file, or one of: {', '.join([*SHIPPED, *official.SETS])}."
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


# ---------------------------------------------------------------- one set of images


def find_images(source: Source, part: AnyPart = "train", *, labels: bool = True, white: int | None = None) -> Found:
    """One set of images; class folders, two paths or dataset.json become labels.

    `labels`: false where no labels are wanted, so that dataset.json is not looked at."""
    if _two(source) is not None and (sides := find_sides(source, part, white=white)) is not None:
        both = {"x": Joined(sides.sets["a"], sides.sets["b"])}
        return replace(sides, layout="two paths, taken as two classes", sets=both)
    if not isinstance(source, (str, os.PathLike)):
        raise UserError(f"one set of images is one path; got {len(source)}: {', '.join(map(printable, source))}")
    title, there = open_source(source, white)
    if not isinstance(there, (Folder, Zip)):
        return _from_table(title, there, part)
    if labels and (described := _described(there)):
        return _labelled(title, there, described, part)
    two = _sides(there)
    if two.sides and not two.beside:
        got, notes = _choose(two.sides, part)
        a, b = two.sides[got]["A"], two.sides[got]["B"]
        files = Files(there, a.followed_by(b), np.repeat(np.arange(2), [len(a), len(b)]), ("A", "B"))
        notes = [*two.unused(), *_empty(there), *notes]
        return Found(title, "two domains, taken as two classes", got, {"x": files}, notes, there.seen.others)
    parts, notes = _parts(there)
    got, more = _choose(parts, part)
    entries = parts[got]
    start = 0 if "all" in parts else 1  # below train/, val/, test/: all parts have the same classes
    below = {i: f[start:] for i, f in enumerate(_below_top(there)) if len(f) >= start}
    while all(below.values()) and len({f[0] for f in below.values()}) == 1:  # one folder alone is no class
        below = {i: f[1:] for i, f in below.items()}
    classes = sorted({f[0] for f in below.values() if f})
    loose = len(entries.within([i for i, f in below.items() if not f]))
    y = None
    if len(classes) > 1 and loose:
        lie = "image lies" if loose == 1 else "images lie"
        notes.append(f"{loose} {lie} beside the folders, so folders are not taken as classes")
    elif len(classes) > 1:
        of_folder = np.zeros(len(entries.folders), np.int64)
        for i, f in below.items():
            of_folder[i] = classes.index(f[0]) if f else 0
        y = of_folder[entries.folder]
        if two.sides:
            notes.append(
                f"there are folders named as two domains ({two.names()}) and others beside them: each folder is taken as a "
                "class here, and methods for two domains take only those two"
            )
    plain = "a folder of images" if isinstance(there, Folder) else "a zip of images"
    layout = plain if y is None else CLASS_FOLDERS
    files = Files(there, entries, y, tuple(map(printable, classes)) if y is not None else ())
    return Found(title, layout, got, {"x": files}, [*notes, *_empty(there), *more], there.seen.others)


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


def _labelled(title: str, tree: Tree, described: str, part: AnyPart) -> Found:
    """Images with the classes that dataset.json gives them; those without one are left out, and named."""
    try:
        numbers, why = labelling.parsed(tree.contents(described))
    except Broken as e:
        raise UserError(f"{printable(described)} of {title} {e}") from None
    parts, notes = _parts(tree)
    got, more = _choose(parts, part)
    entries, notes = parts[got], [*notes, *more, *([why] if why else [])]
    layout = f"a {'folder' if isinstance(tree, Folder) else 'zip'} of images"
    if numbers is None:
        return Found(title, layout, got, {"x": Files(tree, entries)}, notes, tree.seen.others)
    start = len(described) - len(labelling.NAME)
    names = [e.name[start:].replace("\\", "/") for e in entries]
    kept = [i for i, name in enumerate(names) if name in numbers]
    if len(kept) < len(names):
        bare = [printable(name) for name in names if name not in numbers]
        notes.append(f"{plural(len(bare), 'image')} without a label in {labelling.NAME}, left out: {several(bare)}")
    every = {e.name[start:].replace("\\", "/") for e in tree.entries}
    if absent := sorted(printable(name) for name in numbers if name not in every):
        notes.append(f"{plural(len(absent), 'label')} in {labelling.NAME} without an image: {several(absent)}")
    if not kept:
        raise UserError(f"{printable(described)} of {title} has a label for none of its images: {'; '.join(notes)}")
    values = np.array([numbers[names[i]] for i in kept])
    classes, y = np.unique(values, return_inverse=True)
    files = Files(tree, entries.take(kept), y.reshape(-1).astype(np.int64), tuple(map(str, classes.tolist())))
    if len(classes) < 2:
        files = Files(tree, entries.take(kept))
    return Found(title, f"{layout}, labels in {labelling.NAME}", got, {"x": files}, notes, tree.seen.others)


def _from_table(title: str, table: Table, part: AnyPart) -> Found:
    for name in _wanted(part):
        pictures = table(name)
        if pictures is not None:
            _, notes = _choose({name: pictures}, part)
            return Found(title, "an array of images", name, {"x": pictures}, [*pictures.notes, *notes])
    raise UserError(f"{title} holds no images that could be found")


# ---------------------------------------------------------------- two sets: pairs and domains


def find_domains(source: Source, part: AnyPart = "train", *, white: int | None = None) -> Found:
    """Two sets of images, `a` and `b`."""
    found = _find_two(source, part, white)
    if found is None:
        raise UserError(
            f"two domains were expected in {_shown(source)}: folders A/ and B/, trainA/ and trainB/, or exactly two "
            "folders of any names; or give two paths as PATH_A,PATH_B. See `ganvas data check` for what is there."
        )
    return found


def find_pairs(source: Source, part: AnyPart = "train", *, white: int | None = None) -> Found:
    """Two sets of images of which the i-th belong together: A/ and B/ matched by stem, or the halves of A|B in one
    image. Raises `UserError` that names every picture without
    a partner."""
    found = _find_two(source, part, white)
    if found is not None:
        a, b, unmatched = match(_files(found.sets["a"]), _files(found.sets["b"]))
        if unmatched:
            have = "image has" if len(unmatched) == 1 else "images have"
            raise UserError(
                f"{len(unmatched)} {have} no partner of the same name in {found.title}: {several(unmatched)}. "
                "Pairs are matched by the name without its extension; rename or remove these."
            )
        return replace(found, layout=f"{found.layout}, matched by name", sets={"a": a, "b": b})
    assert isinstance(source, (str, os.PathLike))
    title, there = open_source(source, white)
    if not isinstance(there, (Folder, Zip)):
        raise UserError(f"{title} is an array of images, not pairs: give a folder with A/ and B/, or of A|B images")
    parts, notes = _parts(there)
    got, more = _choose(parts, part)
    sets: dict[str, Pictures] = {"a": Files(there, parts[got], half=0), "b": Files(there, parts[got], half=1)}
    return Found(title, "A|B in one image", got, sets, notes + more, there.seen.others)


def find_sides(
    source: Source, part: AnyPart = "train", *, white: int | None = None, alone: bool = False
) -> Found | None:
    """Two sets, `a` and `b`, of two paths or of folders named A and B; None where there are no such.

    `alone`: only where no other folders of images lie beside them."""
    two = _two(source)
    if two is not None:
        a, b = (find_images(path, part, labels=False, white=white) for path in two)
        notes = list(dict.fromkeys(a.notes + b.notes))
        sets = {"a": a.sets["x"], "b": b.sets["x"]}
        return Found(f"{a.title},{b.title}", "two paths", a.part, sets, notes, a.others + b.others)
    assert isinstance(source, (str, os.PathLike))
    title, there = open_source(source, white)
    if not isinstance(there, (Folder, Zip)):
        return None
    found = _sides(there)
    if not found.sides or (alone and found.beside):
        return None
    got, notes = _choose(found.sides, part)
    sets: dict[str, Pictures] = {s.lower(): Files(there, found.sides[got][s]) for s in "AB"}
    return Found(title, "A and B", got, sets, [*found.unused(), *_empty(there), *notes], there.seen.others)


def _find_two(source: Source, part: AnyPart, white: int | None) -> Found | None:
    """`find_sides`, or exactly two class folders of any names."""
    found = find_sides(source, part, white=white)
    if found is not None:
        return found
    assert isinstance(source, (str, os.PathLike))
    found = find_images(source, part, labels=False, white=white)
    x = found.sets["x"]
    if len(x.classes) != 2 or x.labels is None or not isinstance(x, Files):
        return None
    sides = [Files(x.tree, x.entries.take(np.flatnonzero(x.labels == i))) for i in range(2)]
    layout = f"two folders, {x.classes[0]} and {x.classes[1]}"
    return replace(found, layout=layout, sets={"a": sides[0], "b": sides[1]})


def _shown(source: Source) -> str:
    """A source's name as text."""
    paths = [source] if isinstance(source, (str, os.PathLike)) else source
    return ",".join(printable(os.fspath(p)) for p in paths)


def _files(pictures: Pictures) -> Files:
    if not isinstance(pictures, Files):
        raise UserError("pairs are matched by file name, and an array of images has none: give folders or zip files")
    return pictures


def match(a: Files, b: Files) -> tuple[Files, Files, list[str]]:
    """The pictures of both that share a stem, in the order of the names, and the names of those that have no partner.
    Endings _A and _B are passed over where nothing matches with them (1_A.jpg, 1_B.jpg)."""
    for clean in (lambda stem: stem, lambda stem: re.sub(r"[_-]?[ABab]$", "", stem)):
        left, right = _by_stem(a, clean), _by_stem(b, clean)
        if left.keys() & right.keys():
            break
    both = sorted(left.keys() & right.keys())
    unmatched = [a.name(i) for stem, i in left.items() if stem not in right]
    unmatched += [b.name(i) for stem, i in right.items() if stem not in left]
    pair = [Files(s.tree, s.entries.take([of[k] for k in both])) for s, of in ((a, left), (b, right))]
    return pair[0], pair[1], sorted(unmatched)


def _by_stem(files: Files, clean: Callable[[str], str]) -> dict[str, int]:
    """Stem -> position."""
    folders = {files.entries.folders[i] for i in np.unique(files.entries.folder).tolist()}
    start = len(os.path.commonpath(["/".join(f) for f in folders])) if folders else 0
    stems: dict[str, int] = {}
    for i, e in enumerate(files.entries):
        stem = clean(os.path.splitext(e.name[start:].lstrip("/"))[0])
        if stem in stems:
            raise UserError(
                f"{files.name(stems[stem])} and {files.name(i)} would both be the pair '{printable(stem)}': keep one of them"
            )
        stems[stem] = i
    return stems


def kinds(endings: Mapping[str, int]) -> str:
    """`.txt: 3, .heic: 1`: how many files of which endings."""
    return several([f"{e}: {n}" for e, n in sorted(endings.items(), key=lambda kind: (-kind[1], kind[0]))])


def several(names: Sequence[str], most: int = 10) -> str:
    """Up to ten names, then a count."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# ---------------------------------------------------------------- layouts


@dataclass
class _Two:
    """Folders named as two domains. `sides`: part -> "A" and "B" -> files; empty where there are none. `beside`: other
    folders -> how many images they hold ("" for images outside of folders); `spare`: those that belong to such layouts, as
    masks/ and a testA/ without testB/."""

    sides: dict[str, dict[str, Listing]]
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


def _parts(tree: Tree) -> tuple[dict[str, Listing], list[str]]:
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


# ---------------------------------------------------------------- arrays


def _digits(part: str) -> Arrays | None:
    """scikit-learn's 1,797 handwritten digits, 8x8, 0 to 16."""
    if part != "all":
        return None
    import sklearn
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return Arrays(pixels, labels, [str(i) for i in range(10)], ["digits", sklearn.__version__])


def _letters(part: str) -> Arrays | None:
    """Capital letters in open typefaces, 32x32, black on white; each part has families of its own
    (`prepare/letters.py`)."""
    with np.load(Path(__file__).parent / "sets" / "letters.npz", allow_pickle=False) as archive:
        chosen = archive["split"] == part
        if not chosen.any():
            return None
        pixels, labels = archive["images"][chosen][..., None], archive["labels"][chosen]
    return Arrays(pixels, labels, string.ascii_uppercase, ["letters", part, zlib.crc32(pixels.tobytes())])


SHIPPED: dict[str, Table] = {"digits": _digits, "letters": _letters}


_NPZ_IMAGES = {
    "train": ("train_images", "x_train", "images", "x", "X", "data", "arr_0"),
    "test": ("test_images", "x_test"),
    "val": ("val_images", "x_val"),
}
_NPZ_LABELS = {
    "train": ("train_labels", "y_train", "labels", "y", "Y", "label", "targets"),
    "test": ("test_labels", "y_test"),
    "val": ("val_labels", "y_val"),
}


def _npz(path: Path, white: int | None) -> Table:
    shown = printable(path)
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except Exception as e:  # a damaged directory makes zipfile trip over many things
        raise UserError(f"{shown} is no readable .npz ({reason(e)}). Write it with numpy.savez.") from None
    images = {p: next((k for k in names if k in keys), None) for p, names in _NPZ_IMAGES.items()}
    labels = {p: next((k for k in names if k in keys), None) for p, names in _NPZ_LABELS.items() if images[p]}
    if not any(images.values()):
        known = [k for names in _NPZ_IMAGES.values() for k in names]
        some = several([printable(k) for k in keys]) or "(none)"
        raise UserError(f"{shown} has the arrays {some}; images were expected as {', '.join(known)}")
    unused = [printable(k) for k in keys if k not in {*images.values(), *labels.values()}]

    def table(part: str) -> Arrays | None:
        key, label = images.get(part), labels.get(part)
        if key is None:
            return None
        stored = _member(path, key)
        notes = (
            [f"{plural(len(unused), 'array')} of {printable(path.name)} not used: {several(unused)}"] if unused else []
        )
        try:
            pixels, wide = _nhwc(stored, white)
        except Exception as e:  # Broken, or too little memory for what it becomes
            raise UserError(f"{shown}: the array {key!r} {e if isinstance(e, Broken) else reason(e)}") from None
        y = None if label is None else _member(path, label)
        if y is not None and (y.ndim == 0 or y.dtype.kind not in "iubUSf"):
            raise UserError(
                f"{shown}: the array {label!r} is {list(y.shape)} of {y.dtype}; expected a label for each image"
            )
        if y is not None and len(y) != len(pixels):
            raise UserError(
                f"{shown} has {plural(len(pixels), 'image')} and {plural(len(y), 'label')}; expected one label for each image"
            )
        if y is not None and y.size != len(y):
            notes.append(f"{label} has {y.size // len(y)} labels for each image, none of which is its class: not used")
            y = None
        y = None if y is None else y.reshape(-1)
        return Arrays(pixels, y, None, [*_file_stamp(path), part], wide=wide, notes=notes)

    return table


def _member(path: Path, key: str) -> np.ndarray:
    """An array of an .npz. What it announces is compared with what is there before it is unpacked."""
    what = f"{printable(path)}: the array {key!r}"
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            info = archive.getinfo(f"{key}.npy")
            require_memory(info.file_size, what)
            if info.compress_type == zipfile.ZIP_DEFLATED and info.file_size > 2000 + DEFLATE * info.compress_size:
                raise UserError(f"{what} announces more than its {info.compress_size} bytes can unpack to")
            with archive.open(info) as member:
                version = np.lib.format.read_magic(member)
                if version not in ((1, 0), (2, 0)):
                    raise ValueError(f"its format is {version[0]}.{version[1]}, which arrays of numbers never are")
                read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                shape, _, kind = read_header(member)
                rest = info.file_size - member.tell()
                if kind.hasobject or min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != rest:
                    raise ValueError(f"its header announces {list(shape)} of {kind}, and {rest} bytes follow")
            with archive.open(info) as member:
                return np.lib.format.read_array(member, allow_pickle=False)
    except UserError:
        raise
    except Exception as e:
        raise UserError(f"{what} cannot be read ({reason(e)})") from None


def _nhwc(a: np.ndarray, white: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """(uint8 [N, H, W, C], the same in more than 8 bits, where it has more)."""
    if a.ndim == 3:
        a = a[..., None]
    if a.ndim == 4 and a.shape[3] not in (1, 3, 4) and a.shape[1] in (1, 3, 4):
        a = a.transpose(0, 2, 3, 1)
    if a.ndim != 4 or a.shape[3] not in (1, 3, 4):
        raise Broken(f"has the shape {list(a.shape)}; expected [N, H, W] or [N, H, W, C] with 1, 3 or 4 channels")
    if not a.size:
        raise Broken("is empty")
    bits = np.ascontiguousarray(eight_bit(a, white))
    return bits, a if a.dtype.kind in "iu" and a.dtype.itemsize > 1 and a.max() > 255 else None


_IDX_IMAGES = re.compile(r"images.*(idx\d?|ubyte)(\.gz)?$", re.IGNORECASE)


def _idx(path: Path, names: Sequence[str] | None, white: int | None) -> Table:
    """MNIST's format (http://yann.lecun.com/exdb/mnist): a folder of idx files or one file of images."""

    def table(part: str) -> Arrays | None:
        notes: list[str] = []
        if path.is_dir():
            files = [path / f for f in sorted(os.listdir(path)) if _IDX_IMAGES.search(f) and _idx_part(f) == part]
            if not files:
                return None
            images = files[0]
            if len(files) > 1:
                notes.append(
                    f"only {printable(images.name)} is used, not {several([printable(f.name) for f in files[1:]])}"
                )
        elif _idx_part(path.name) != part:
            return None
        else:
            images = path
        pixels = read_idx(images)
        if pixels.ndim == 1:
            raise UserError(f"{printable(images)} holds labels; give the file of images, or the folder with both")
        beside = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
        labels = None
        plain = beside.with_suffix("") if beside.suffix == ".gz" else beside
        for name in (plain, plain.with_name(plain.name + ".gz")):
            if "labels" in name.name and name.exists():
                labels = read_idx(name).reshape(-1)
        if labels is not None and len(labels) != len(pixels):
            raise UserError(f"{printable(images.name)} has {len(pixels)} images, and its labels are {len(labels)}")
        known = names if names is None or labels is None or labels.max(initial=0) < len(names) else None
        try:
            bits, wide = _nhwc(pixels, white)
        except Exception as e:
            raise UserError(f"{printable(images)} {e if isinstance(e, Broken) else reason(e)}") from None
        return Arrays(bits, labels, known, _file_stamp(images), wide=wide, notes=notes)

    return table


def _idx_part(name: str) -> str:
    return "test" if re.search(r"t10k|test", name, re.IGNORECASE) else "train"


_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """An idx file, gzipped or not. What it announces is compared with its size and with memory before it is unpacked.
    Raises `UserError` for one that is cut short or of another kind."""
    shown = printable(path)
    try:
        with open_regular(path) as file:
            packed, size = file.read(2) == b"\x1f\x8b", os.fstat(file.fileno()).st_size
            file.seek(0)
            stream: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # pyright: ignore[reportAssignmentType]
            head = stream.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
                raise UserError(f"{shown} is no idx file: it does not begin with two zero bytes and a known type")
            kind, rank = np.dtype(_IDX_TYPES[head[2]]), head[3]
            if not 1 <= rank <= 4:
                raise UserError(f"{shown} has {rank} axes; images have 3 or 4, and labels 1")
            axes = stream.read(4 * rank)
            if len(axes) < 4 * rank:
                raise UserError(f"{shown} is cut short within its header. Download it again")
            shape = struct.unpack(f">{rank}I", axes)
            total = math.prod(shape) * kind.itemsize
            expected = 4 + 4 * rank + total
            if size * DEFLATE < expected if packed else size != expected:
                raise UserError(
                    f"{shown} has {size} bytes where its header announces {expected}: it is cut short or damaged"
                )
            require_memory(total, shown)
            data = np.empty(total, np.uint8)
            got = _read_into(stream, data.data)
            if got < total or stream.read(1):
                raise UserError(
                    f"{shown} has {'fewer' if got < total else 'more'} bytes than its header announces ({expected}): it is "
                    "cut short or damaged"
                )
            return data.view(kind).reshape(shape)
    except UserError:
        raise
    except Exception as e:  # gzip's, zlib's, of memory
        raise UserError(f"{shown} cannot be read ({reason(e)}): is it complete? Download it again.") from None


def _read_into(stream: IO[bytes], data: memoryview) -> int:
    """Fill `data` in parts; how much there was."""
    at = 0
    while at < len(data) and (part := stream.read(min(1 << 20, len(data) - at))):
        data[at : at + len(part)] = part
        at += len(part)
    return at


def _cifar(path: Path) -> Table:
    """The binary version of https://www.cs.toronto.edu/~kriz/cifar.html: records of a label and 3 x 32 x 32 bytes."""

    def table(part: str) -> Arrays | None:
        if part not in ("train", "test"):
            return None
        data = official.tar_members(path, "data_batch_" if part == "train" else "test_batch")
        if not data or len(data) % 3073:
            raise UserError(
                f"{printable(path)} is damaged: its records are {len(data)} bytes. Remove it to load it again"
            )
        records = np.frombuffer(data, np.uint8).reshape(-1, 3073)
        pixels = np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        return Arrays(pixels, records[:, 0], official.SETS["cifar10"].classes, [*_file_stamp(path), part])

    return table


def _file_stamp(path: Path) -> list[Any]:
    s = path.stat()
    return [str(path.resolve()), s.st_size, s.st_mtime_ns]
