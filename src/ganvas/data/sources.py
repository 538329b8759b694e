"""What people have: folders, zip files, idx, npz and named sets, in the layouts that image projects use. Finding and
listing only; nothing here decodes a picture before it is asked to."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import string
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image

from ganvas.data import listings, official
from ganvas.data.decode import EXTENSIONS, Broken, Header, as_image, eight_bit, read, read_header
from ganvas.data.listings import Listing
from ganvas.errors import UserError, did_you_mean

Part = Literal["train", "test"]
Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "val", "valid": "val"}
PARTS["validation"] = "val"
MAX_FILE = 1 << 30  # bytes of one encoded picture; a zip entry may claim to unpack to anything


# ---------------------------------------------------------------- trees: a folder or a zip file


class Folder:
    """A folder and everything below it; links are followed."""

    def __init__(self, root: Path) -> None:
        self.root, self.title = root, root.name or str(root)
        self.others = 0  # files that are no images by their names
        found = listings.Gathered()
        self._walk(root, "", set(), found)
        self.entries = found.listing()

    def _walk(self, folder: Path, prefix: str, seen: set[tuple[int, int]], found: listings.Gathered) -> None:
        below: list[str] = []
        try:
            here = folder.stat()
            if (here.st_dev, here.st_ino) in seen:  # a link to a folder above it
                return
            seen = seen | {(here.st_dev, here.st_ino)}
            with os.scandir(folder) as listing:
                for f in listing:
                    if f.name.startswith(".") or f.name == "__MACOSX":
                        continue
                    if f.is_dir():
                        below.append(f.name)
                    elif is_image(f.name):
                        try:
                            s = f.stat()
                            found.add(prefix + f.name, s.st_size, s.st_mtime_ns)
                        except OSError:  # a link to nowhere: reading it will say so by name
                            found.add(prefix + f.name, 0, 0)
                    else:
                        self.others += 1
        except OSError as e:
            raise UserError(f"{folder} cannot be read: {e.strerror}. Check its permissions.") from None
        for name in below:
            self._walk(folder / name, f"{prefix}{name}/", seen, found)

    def stamp(self) -> str:
        return str(self.root.resolve())

    def header(self, name: str) -> Header:
        return read_header(str(self.root / name))

    def load(self, name: str) -> Image.Image:
        return read(str(self.root / name))


class Zip:
    """A zip file, read in place: nothing is unpacked. A member whose name leaves the archive is refused."""

    def __init__(self, path: Path) -> None:
        self.path, self.title = path, path.name
        try:
            self.zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as e:
            raise UserError(
                f"{path} is no readable zip file ({e}). Is it complete? Pack or download it again."
            ) from None
        self.others = 0
        found = listings.Gathered()
        for info in self.zip.infolist():
            name = info.filename.replace("\\", "/")
            parts = PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
                raise UserError(
                    f"{path} has a member named {info.filename!r}, which points outside of the archive: refused. "
                    "Do not trust this file; pack the images again yourself if you know where they come from."
                )
            if info.is_dir() or any(p.startswith(".") or p == "__MACOSX" for p in parts):
                continue
            if is_image(name):
                found.add(info.filename, info.file_size, info.CRC)
            else:
                self.others += 1
        self.entries = found.listing()

    def stamp(self) -> str:
        return str(self.path.resolve())

    def header(self, name: str) -> Header:
        with self._open(name) as file:
            return read_header(file)

    def load(self, name: str) -> Image.Image:
        with self._open(name) as file:
            try:
                data = file.read()
            except Exception as e:  # a damaged member: zlib's errors, wrong sums
                raise Broken(f"damaged inside the zip file ({e})") from None
        return read(BytesIO(data))

    def _open(self, name: str) -> Any:
        if self.zip.getinfo(name).file_size > MAX_FILE:
            raise Broken("unpacks to more than 1 GiB, refused as a possible bomb")
        try:
            return self.zip.open(name)
        except Exception as e:  # encrypted, or compressed in a way that this Python lacks
            raise Broken(str(e)) from None


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

    def name(self, i: int) -> str: ...

    def stamp(self) -> Any:
        """JSON-ready; changes whenever the pictures may have."""
        ...

    def header(self, i: int) -> Header:
        """Raises `Broken`."""
        ...

    def load(self, i: int) -> Image.Image:
        """Mode L, RGB or RGBA. Raises `Broken`."""
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
        return self.entries[i].name

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


class Arrays:
    """Pictures that come as one array: uint8 [N, H, W, C]."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray | None, names: Sequence[str] | None, stamp: Any) -> None:
        self.pixels, self._stamp = pixels, stamp
        self.labels: np.ndarray | None = None
        self.classes: tuple[str, ...] = ()
        if labels is not None:
            values, index = np.unique(labels, return_inverse=True)
            if names is not None:  # the set's own names: every class has its number, present or not
                self.labels, self.classes = labels.astype(np.int64), tuple(names)
            elif len(values) > 1:
                self.labels, self.classes = index.reshape(-1).astype(np.int64), tuple(str(v) for v in values.tolist())

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


@dataclass
class Found:
    """What a source holds for one task: `x`, or `a` and `b`. `layout` names it for people; `part` is what was
    opened."""

    title: str
    layout: str
    part: str
    sets: Mapping[str, Pictures]
    notes: list[str] = field(default_factory=list)


Table = Callable[[str], Arrays | None]  # a part's name -> its pictures


# ---------------------------------------------------------------- opening a source


def open_source(source: str | os.PathLike[str]) -> tuple[str, Tree | Table]:
    """(title, what is there). Raises `UserError` for what does not exist or is nothing that we read."""
    name = os.fspath(source)
    if name in SHIPPED:
        return name, SHIPPED[name]
    if name in official.SETS:
        kind, path = official.fetch(name)
        if kind == "zip":
            return name, Zip(path)
        return name, _cifar(path) if kind == "cifar" else _idx(path, official.SETS[name].classes)
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(f"there is no {name!r}. {_nearest(path)}")
    if path.is_dir():
        if any(_IDX_IMAGES.search(f.name) for f in path.iterdir()):
            return path.resolve().name, _idx(path, None)
        return path.resolve().name, Folder(path)
    lower = path.name.lower()
    if lower.endswith(".npz"):
        return path.name, _npz(path)
    if lower.endswith(".zip") or zipfile.is_zipfile(path):
        return path.name, Zip(path)
    if "idx" in lower or lower.endswith(("ubyte", ".gz")):
        return path.name, _idx(path, None)
    raise UserError(
        f"{name!r} is one file of a kind that is no data set. Expected a folder of images, a zip file, an "
        ".npz, MNIST's "
        f"idx files, or one of: {', '.join([*SHIPPED, *official.SETS])}."
    )


def _nearest(path: Path) -> str:
    names = [*SHIPPED, *official.SETS]
    if path.parent.is_dir():
        where = "" if str(path.parent) == "." else f"{path.parent}/"
        names += [where + f.name for f in path.parent.iterdir() if not f.name.startswith(".")]
        return did_you_mean(str(path), names[:200])
    return f"Its parent folder {path.parent} does not exist either. " + did_you_mean(str(path), names)


def _two(source: Source) -> tuple[str | os.PathLike[str], str | os.PathLike[str]] | None:
    """The two paths of "PATH_A,PATH_B" or of a sequence; None where the source is one."""
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        if "," not in text or Path(text).exists():
            return None
        source = [p.strip() for p in text.split(",")]
    if len(source) != 2:
        raise UserError(f"got {len(source)} paths ({', '.join(map(str, source))}), expected one, or two: PATH_A,PATH_B")
    return source[0], source[1]


# ---------------------------------------------------------------- one set of images


def find_images(source: Source, part: Part = "train") -> Found:
    """One set of images; class folders, or two paths, become labels."""
    if _two(source) is not None and (sides := find_sides(source, part)) is not None:
        both = {"x": Joined(sides.sets["a"], sides.sets["b"])}
        return Found(sides.title, "two paths, taken as two classes", sides.part, both, sides.notes)
    if not isinstance(source, (str, os.PathLike)):
        raise UserError(f"one set of images is one path; got {len(source)}: {', '.join(map(str, source))}")
    title, there = open_source(source)
    if not isinstance(there, (Folder, Zip)):
        return _from_table(title, there, part)
    sides = _sides(there)
    if sides:
        got, notes = _choose(sides, part)
        a, b = sides[got]["A"], sides[got]["B"]
        files = Files(there, a.followed_by(b), np.repeat(np.arange(2), [len(a), len(b)]), ("A", "B"))
        return Found(title, "two domains, taken as two classes", got, {"x": files}, notes)
    parts, notes = _parts(there)
    got, more = _choose(parts, part)
    entries = parts[got]
    start = 0 if "all" in parts else 1  # below train/, val/, test/: all parts have the same classes
    below = {i: f[start:] for i, f in enumerate(_below_top(there)) if len(f) >= start}
    while all(below.values()) and len({f[0] for f in below.values()}) == 1:  # one folder alone is no class
        below = {i: f[1:] for i, f in below.items()}
    classes = sorted({f[0] for f in below.values() if f})
    loose = len(entries.within([i for i, f in below.items() if not f]))
    labels = None
    if len(classes) > 1 and loose:
        notes.append(f"{loose} images lie beside the folders, so folders are not taken as classes")
    elif len(classes) > 1:
        of_folder = np.zeros(len(entries.folders), np.int64)
        for i, f in below.items():
            of_folder[i] = classes.index(f[0]) if f else 0
        labels = of_folder[entries.folder]
    plain = "a folder of images" if isinstance(there, Folder) else "a zip of images"
    layout = plain if labels is None else "class folders"
    files = Files(there, entries, labels, tuple(classes) if labels is not None else ())
    return Found(title, layout, got, {"x": files}, notes + more)


def _from_table(title: str, table: Table, part: Part) -> Found:
    for name in _wanted(part):
        pictures = table(name)
        if pictures is not None:
            _, notes = _choose({name: pictures}, part)
            return Found(title, "an array of images", name, {"x": pictures}, notes)
    raise UserError(f"{title} holds no images that could be found")


# ---------------------------------------------------------------- two sets: pairs and domains


def find_domains(source: Source, part: Part = "train") -> Found:
    """Two sets of images, `a` and `b`."""
    found = _find_two(source, part)
    if found is None:
        raise UserError(
            f"two domains were expected in {source}: folders A/ and B/, trainA/ and trainB/, or exactly "
            "two folders of any "
            "names; or give two paths as PATH_A,PATH_B. See `ganvas data check` for what is there."
        )
    return found


def find_pairs(source: Source, part: Part = "train") -> Found:
    """Two sets of images of which the i-th belong together: A/ and B/ matched by stem, or the halves of A|B in one
    image. Raises `UserError` that names every picture without
    a partner."""
    found = _find_two(source, part)
    if found is not None:
        a, b, unmatched = match(_files(found.sets["a"]), _files(found.sets["b"]))
        if unmatched:
            raise UserError(
                f"{len(unmatched)} pictures of {found.title} have no partner of the same name: {several(unmatched)}. "
                "Pairs are matched by the name without its extension; rename or remove these."
            )
        return Found(found.title, f"{found.layout}, matched by name", found.part, {"a": a, "b": b}, found.notes)
    assert isinstance(source, (str, os.PathLike))
    title, there = open_source(source)
    if not isinstance(there, (Folder, Zip)):
        raise UserError(f"{title} is an array of images, not pairs: give a folder with A/ and B/, or of A|B images")
    parts, notes = _parts(there)
    got, more = _choose(parts, part)
    sets: dict[str, Pictures] = {"a": Files(there, parts[got], half=0), "b": Files(there, parts[got], half=1)}
    return Found(title, "A|B in one image", got, sets, notes + more)


def find_sides(source: Source, part: Part = "train") -> Found | None:
    """Two sets, `a` and `b`, of two paths or of folders named A and B; None where there are no such."""
    two = _two(source)
    if two is not None:
        a, b = find_images(two[0], part), find_images(two[1], part)
        notes = list(dict.fromkeys(a.notes + b.notes))
        return Found(f"{a.title},{b.title}", "two paths", a.part, {"a": a.sets["x"], "b": b.sets["x"]}, notes)
    assert isinstance(source, (str, os.PathLike))
    title, there = open_source(source)
    if not isinstance(there, (Folder, Zip)) or not (sides := _sides(there)):
        return None
    got, notes = _choose(sides, part)
    return Found(title, "A and B", got, {s.lower(): Files(there, sides[got][s]) for s in "AB"}, notes)


def _find_two(source: Source, part: Part) -> Found | None:
    """`find_sides`, or exactly two class folders of any names."""
    found = find_sides(source, part)
    if found is not None:
        return found
    assert isinstance(source, (str, os.PathLike))
    found = find_images(source, part)
    x = found.sets["x"]
    if len(x.classes) != 2 or x.labels is None or not isinstance(x, Files):
        return None
    sides = [Files(x.tree, x.entries.take(np.flatnonzero(x.labels == i))) for i in range(2)]
    layout = f"two folders, {x.classes[0]} and {x.classes[1]}"
    return Found(found.title, layout, found.part, {"a": sides[0], "b": sides[1]}, found.notes)


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
            raise UserError(f"{files.name(stems[stem])} and {e.name} would both be the pair {stem!r}: keep one of them")
        stems[stem] = i
    return stems


def several(names: Sequence[str], most: int = 10) -> str:
    """Up to ten names, then a count."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# ---------------------------------------------------------------- layouts


def _sides(tree: Tree) -> dict[str, dict[str, Listing]]:
    """Part -> side -> files, for every layout with folders A and B; empty where there are none."""
    sides: dict[str, dict[str, list[int]]] = {}
    below = _below_top(tree)
    if any(name.lower() == "c" for folders in below for name in folders[:2]):
        return {}  # A, B, C, ...: classes
    for i, folders in enumerate(below):
        side = _side(folders)
        if side is not None:
            sides.setdefault(side[0], {"A": [], "B": []})[side[1]].append(i)
    return {
        part: {side: tree.entries.within(folders) for side, folders in both.items()}
        for part, both in sides.items()
        if both["A"] and both["B"]
    }


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
        what = f"the folder {tree.root}" if isinstance(tree, Folder) else str(tree.path)
        other = f" ({tree.others} other files)" if tree.others else ""
        raise UserError(
            f"{what} has no images in it{other}. Expected files ending in {', '.join(sorted(EXTENSIONS))}, "
            "or folders of them."
        )
    tops = [f[0].lower() if f else "" for f in _below_top(tree)]
    if "train" not in {PARTS.get(t) for t in tops} or not all(t in PARTS for t in tops if t):
        return {"all": tree.entries}, []
    parts = {p: [i for i, top in enumerate(tops) if top and PARTS[top] == p] for p in ("train", "val", "test")}
    loose = len(tree.entries.within([i for i, top in enumerate(tops) if not top]))
    notes = [f"{loose} images beside train/ are not used"] if loose else []
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


def _wanted(part: str) -> tuple[str, ...]:
    return ("train", "all", "test", "val") if part == "train" else ("test", "val", "train", "all")


def _choose(parts: dict[str, Any], part: str) -> tuple[str, list[str]]:
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


def _npz(path: Path) -> Table:
    try:
        archive = np.load(path, allow_pickle=False)
        keys = list(archive.keys())
    except (OSError, ValueError, zipfile.BadZipFile) as e:
        raise UserError(f"{path} is no readable .npz ({e}). Write it with numpy.savez.") from None
    known = [k for names in _NPZ_IMAGES.values() for k in names]
    if not set(keys) & set(known):
        raise UserError(
            f"{path} has the arrays {', '.join(keys) or '(none)'}; images were expected as {', '.join(known)}"
        )

    def table(part: str) -> Arrays | None:
        key = next((k for k in _NPZ_IMAGES.get(part, ()) if k in keys), None)
        if key is None:
            return None
        try:
            pixels = _nhwc(archive[key])
            label = next((k for k in _NPZ_LABELS[part] if k in keys), None)
            labels = None if label is None else np.asarray(archive[label])
        except Broken as e:
            raise UserError(f"{path}: the array {key!r} {e}") from None
        except (ValueError, OSError, zipfile.BadZipFile) as e:
            raise UserError(f"{path}: the array {key!r} cannot be read ({e})") from None
        if labels is not None and len(labels) != len(pixels):
            raise UserError(
                f"{path} has {len(pixels)} images and {len(labels)} labels; expected one label for each image"
            )
        if labels is not None and labels.size != len(labels):
            labels = None  # several labels an image: none of them is its class
        return Arrays(pixels, None if labels is None else labels.reshape(-1), None, [*_file_stamp(path), part])

    return table


def _nhwc(a: np.ndarray) -> np.ndarray:
    if a.ndim == 3:
        a = a[..., None]
    if a.ndim == 4 and a.shape[3] not in (1, 3, 4) and a.shape[1] in (1, 3, 4):
        a = a.transpose(0, 2, 3, 1)
    if a.ndim != 4 or a.shape[3] not in (1, 3, 4):
        raise Broken(f"has the shape {list(a.shape)}; expected [N, H, W] or [N, H, W, C] with 1, 3 or 4 channels")
    if not len(a):
        raise Broken("is empty")
    return np.ascontiguousarray(eight_bit(a))


_IDX_IMAGES = re.compile(r"images.*(idx\d?|ubyte)(\.gz)?$", re.IGNORECASE)


def _idx(path: Path, names: Sequence[str] | None) -> Table:
    """MNIST's format (http://yann.lecun.com/exdb/mnist): a folder of idx files or one file of images."""

    def table(part: str) -> Arrays | None:
        if path.is_dir():
            files = sorted(f for f in path.iterdir() if _IDX_IMAGES.search(f.name))
            files = [f for f in files if _idx_part(f.name) == part]
            if not files:
                return None
            images = files[0]
        elif _idx_part(path.name) != part:
            return None
        else:
            images = path
        pixels = read_idx(images)
        if pixels.ndim == 1:
            raise UserError(f"{images} holds labels; give the file of images, or the folder with both")
        beside = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
        labels = None
        plain = beside.with_suffix("") if beside.suffix == ".gz" else beside
        for name in (plain, plain.with_name(plain.name + ".gz")):
            if "labels" in name.name and name.exists():
                labels = read_idx(name).reshape(-1)
        if labels is not None and len(labels) != len(pixels):
            raise UserError(f"{images.name} has {len(pixels)} images, and its labels are {len(labels)}")
        try:
            return Arrays(_nhwc(pixels), labels, names, _file_stamp(images))
        except Broken as e:
            raise UserError(f"{images} {e}") from None

    return table


def _idx_part(name: str) -> str:
    return "test" if re.search(r"t10k|test", name, re.IGNORECASE) else "train"


_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """An idx file, gzipped or not. Raises `UserError` for one that is cut short or of another kind."""
    try:
        with open(path, "rb") as f:
            packed = f.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as f:
            data = f.read()
    except (OSError, EOFError, zlib.error) as e:
        raise UserError(f"{path} cannot be read ({e}): is it complete? Download it again.") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES:
        raise UserError(f"{path} is no idx file: it does not begin with two zero bytes and a known type")
    rank = data[3]
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank]) if len(data) >= 4 + 4 * rank else ()
    kind = np.dtype(_IDX_TYPES[data[2]])
    expected = 4 + 4 * rank + int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if len(data) != expected:
        raise UserError(
            f"{path} has {len(data)} bytes where its header announces {expected}: it is cut short or damaged"
        )
    return np.frombuffer(data, kind, offset=4 + 4 * rank).reshape(shape)


def _cifar(path: Path) -> Table:
    """The binary version of https://www.cs.toronto.edu/~kriz/cifar.html: records of a label and 3 x 32 x 32 bytes."""

    def table(part: str) -> Arrays | None:
        if part not in ("train", "test"):
            return None
        data = official.tar_members(path, "data_batch_" if part == "train" else "test_batch")
        records = np.frombuffer(data, np.uint8).reshape(-1, 3073)
        pixels = np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        return Arrays(pixels, records[:, 0], official.SETS["cifar10"].classes, [*_file_stamp(path), part])

    return table


def _file_stamp(path: Path) -> list[Any]:
    s = path.stat()
    return [str(path.resolve()), s.st_size, s.st_mtime_ns]
