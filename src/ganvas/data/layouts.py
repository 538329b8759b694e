"""What people have: folders, zip files, idx, npz and named sets, in the layouts that image projects use. Finding and
listing only; nothing here decodes a picture before it is asked to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import plural
from ganvas.data import labelling
from ganvas.data.arrays import Table
from ganvas.data.open_source import (
    Source,
    _below_top,
    _choose,
    _described,
    _empty,
    _files,
    _parts,
    _shown,
    _sides,
    _two,
    _wanted,
    open_source,
)
from ganvas.data.pictures import AnyPart, Files, Found, Joined, Pictures, several
from ganvas.data.trees import Folder, Tree, Zip
from ganvas.media.samples import Broken

CLASS_FOLDERS = "class folders"


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
