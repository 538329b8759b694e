"""Find the images of a source, in the usual layouts. Decodes nothing."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import numpy as np

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import plural
from ganvas.data import dataset_json
from ganvas.data.open_source import (
    Parts,
    Source,
    choose_part,
    empty_folder_notes,
    find_dataset_json,
    find_domain_folders,
    inner_folders,
    open_source,
    part_preference,
    require_files,
    source_title,
    split_parts,
    two_paths,
)
from ganvas.data.pictures import AnyPart, Concatenated, Files, ImageSet, Selection, several
from ganvas.data.streaming.shards import Shards
from ganvas.data.trees import Folder, Tree, Zip
from ganvas.media.samples import Broken

CLASS_FOLDERS = "class folders"
TWO_PATHS = "two paths"
UNLABELED = "unlabeled"  # the folder beside class folders whose images have the label -1


def find_images(
    source: Source, part: AnyPart = "train", *, labels: bool = True, white: int | None = None
) -> Selection:
    """Select one set of images. Class folders, two paths or dataset.json become labels.

    Images in a folder named "unlabeled" beside at least two class folders get label -1.

    labels: False: do not read dataset.json, and "unlabeled" is a folder like others
    white: see `ganvas.data.images`

    Raises `UserError` for a source that is missing, empty or unreadable.
    """
    if (
        two_paths(source) is not None
        and (sides := find_sides(source, part, white=white)) is not None
    ):
        both = {"x": Concatenated(sides.sets["a"], sides.sets["b"])}
        return replace(sides, layout="two paths, taken as two classes", sets=both)
    if not isinstance(source, (str, os.PathLike)):
        raise UserError(
            f"one set of images is one path; got {len(source)}: {', '.join(map(printable, source))}"
        )
    title, there = open_source(source, white)
    if not isinstance(there, (Folder, Zip)):
        found = _from_table(title, there, part)
        x = found.sets["x"]
        if isinstance(x, Shards) and x.paired:
            layout = f"{x.layout}, pairs, taken as two classes"
            return replace(found, layout=layout, sets={"x": Concatenated(*x.both())})
        return found
    foreign: list[str] = []
    if labels and (described := find_dataset_json(there)):
        try:
            return _labelled(title, there, described, part)
        except dataset_json.Foreign as e:
            foreign = [str(e)]
    two = find_domain_folders(there)
    if two.sides and not two.beside:
        opened_part, notes = choose_part(two.sides, part)
        a, b = two.sides[opened_part]["A"], two.sides[opened_part]["B"]
        files = Files(
            there, a.followed_by(b), np.repeat(np.arange(2), [len(a), len(b)]), ("A", "B")
        )
        notes = [*foreign, *two.unused(), *empty_folder_notes(there), *notes]
        return Selection(
            title,
            "two domains, taken as two classes",
            opened_part,
            {"x": files},
            notes,
            there.inventory.others,
        )
    parts, notes = split_parts(there)
    notes = [*foreign, *notes]
    opened_part, more = choose_part(parts, part)
    entries = parts[opened_part]
    start = 0 if "all" in parts else 1  # all parts below train/, val/, test/ have the same classes
    below = {i: f[start:] for i, f in enumerate(inner_folders(there)) if len(f) >= start}
    while (
        all(below.values()) and len({f[0] for f in below.values()}) == 1
    ):  # one folder alone is no class
        below = {i: f[1:] for i, f in below.items()}
    classes = sorted({f[0] for f in below.values() if f})
    bare = {c for c in classes if c.lower() == UNLABELED} if labels and len(classes) > 2 else set()
    classes = [c for c in classes if c not in bare]
    loose = len(entries.within([i for i, f in below.items() if not f]))
    y = None
    if len(classes) > 1 and loose:
        lie = "image lies" if loose == 1 else "images lie"
        notes.append(f"{loose} {lie} beside the folders, so folders are not taken as classes")
    elif len(classes) > 1:
        of_folder = np.zeros(len(entries.folders), np.int64)
        for i, f in below.items():
            of_folder[i] = -1 if f and f[0] in bare else classes.index(f[0]) if f else 0
        y = of_folder[entries.folder]
        if bare:
            notes.append(f"{plural(int((y < 0).sum()), 'image')} without a label, in {UNLABELED}/")
        if two.sides:
            notes.append(
                f"there are folders named as two domains ({two.names()}) and others beside them: "
                "each folder is taken as a class here, and methods for two domains take only those "
                "two"
            )
    plain = "a folder of images" if isinstance(there, Folder) else "a zip of images"
    layout = plain if y is None else CLASS_FOLDERS
    files = Files(there, entries, y, tuple(map(printable, classes)) if y is not None else ())
    return Selection(
        title,
        layout,
        opened_part,
        {"x": files},
        [*notes, *empty_folder_notes(there), *more],
        there.inventory.others,
    )


def _labelled(title: str, tree: Tree, described: str, part: AnyPart) -> Selection:
    """Select images with classes of dataset.json, without images that have none.

    described: path of dataset.json in `tree`

    Raises `UserError` for a malformed dataset.json, and `Foreign` for another
    tool's.
    """
    try:
        numbers, why = dataset_json.parsed(tree.contents(described))
    except Broken as e:
        raise UserError(f"{printable(described)} of {title} {e}") from None
    parts, notes = split_parts(tree)
    opened_part, more = choose_part(parts, part)
    entries, notes = parts[opened_part], [*notes, *more, *([why] if why else [])]
    layout = f"a {'folder' if isinstance(tree, Folder) else 'zip'} of images"
    if numbers is None:
        return Selection(
            title, layout, opened_part, {"x": Files(tree, entries)}, notes, tree.inventory.others
        )
    start = len(described) - len(dataset_json.NAME)
    names = [e.name[start:].replace("\\", "/") for e in entries]
    labeled = [i for i, name in enumerate(names) if name in numbers]
    if len(labeled) < len(names):
        bare = [printable(name) for name in names if name not in numbers]
        notes.append(
            f"{plural(len(bare), 'image')} without a label in {dataset_json.NAME}, left out: "
            f"{several(bare)}"
        )
    present = {e.name[start:].replace("\\", "/") for e in tree.entries}
    if absent := sorted(printable(name) for name in numbers if name not in present):
        notes.append(
            f"{plural(len(absent), 'label')} in {dataset_json.NAME} without an image: "
            f"{several(absent)}"
        )
    if not labeled:
        raise UserError(
            f"{printable(described)} of {title} has a label for none of its images: "
            f"{'; '.join(notes)}"
        )
    values = np.array([numbers[names[i]] for i in labeled])
    classes, y = np.unique(values, return_inverse=True)
    files = Files(
        tree,
        entries.take(labeled),
        y.reshape(-1).astype(np.int64),
        tuple(map(str, classes.tolist())),
    )
    if len(classes) < 2:
        files = Files(tree, entries.take(labeled))
    return Selection(
        title,
        f"{layout}, labels in {dataset_json.NAME}",
        opened_part,
        {"x": files},
        notes,
        tree.inventory.others,
    )


def _from_table(title: str, table: Parts, part: AnyPart) -> Selection:
    for name in part_preference(part):
        image_set = table(name)
        if image_set is not None:
            _, notes = choose_part({name: image_set}, part)
            return Selection(
                title, image_set.layout, name, {"x": image_set}, [*image_set.notes, *notes]
            )
    raise UserError(f"{title} holds no images that could be found")


def find_domains(source: Source, part: AnyPart = "train", *, white: int | None = None) -> Selection:
    """Select two sets of images, `a` and `b`. Raises `UserError` for other numbers."""
    found = _find_two(source, part, white)
    if found is None:
        raise UserError(
            f"two domains were expected in {source_title(source)}: folders A/ and B/, trainA/ and "
            "trainB/, or exactly two folders of any names; or give two paths as PATH_A,PATH_B. See "
            "`ganvas data check` for what is there."
        )
    return found


def find_pairs(source: Source, part: AnyPart = "train", *, white: int | None = None) -> Selection:
    """Select two sets of images whose i-th images form a pair.

    Pairs are A/ and B/, or two paths, matched by stem, or the halves of A|B in one
    image. Two folders of other names are refused: they may be classes, of which images
    have the same name by chance (0.png).

    Raises `UserError` that names every image without a partner.
    """
    found = find_sides(source, part, white=white)
    if found is None and (classes := _two_classes(source, part, white)) is not None:
        one, other = map(printable, classes.sets["x"].classes)
        where = "" if isinstance(source, str) and source.endswith(".zip") else f"{source}/"
        raise UserError(
            f"{classes.title} holds the folders {one}/ and {other}/, which may be two classes. If "
            f"images of the same name are pairs, name both, the input first: {where}{one},"
            f"{where}{other}, or rename them to A and B. If they are not, take cyclegan"
        )
    if found is not None and isinstance(a := found.sets["a"], Shards) and a.paired:
        return found
    if found is not None:
        a, b, unmatched = match(require_files(found.sets["a"]), require_files(found.sets["b"]))
        if unmatched:
            have = "image has" if len(unmatched) == 1 else "images have"
            raise UserError(
                f"{len(unmatched)} {have} no partner of the same name in {found.title}: "
                f"{several(unmatched)}. Pairs are matched by the name without its extension; "
                "rename or remove these."
            )
        notes = [*found.notes, *by_name_only(found, a)]
        sets: dict[str, ImageSet] = {"a": a, "b": b}
        return replace(found, layout=f"{found.layout}, matched by name", sets=sets, notes=notes)
    assert isinstance(source, (str, os.PathLike))
    title, there = open_source(source, white)
    if not isinstance(there, (Folder, Zip)):
        found = _from_table(title, there, part)
        x = found.sets["x"]
        if isinstance(x, Shards):
            a, b = x.both()
            return replace(found, layout=f"{x.layout}, A|B in one image", sets={"a": a, "b": b})
        raise UserError(
            f"{title} is an array of images, not pairs: give a folder with A/ and B/, or of A|B "
            "images"
        )
    parts, notes = split_parts(there)
    opened_part, more = choose_part(parts, part)
    sets = {k: Files(there, parts[opened_part], half=half) for half, k in enumerate("ab")}
    notes = [*notes, *more, "every image is a pair: its left half is A, its right half is B"]
    return Selection(title, "A|B in one image", opened_part, sets, notes, there.inventory.others)


def by_name_only(found: Selection, a: ImageSet) -> list[str]:
    """A note, if nothing but the names of files tells that images are pairs.

    a: the matched images of one side
    """
    numbers = _numbered(a)
    if found.layout != TWO_PATHS and not numbers:
        return []
    more = ", which are mere numbers" if numbers else ""
    return [
        f"{plural(len(a), 'pair')} matched by file name only{more}: look whether they are pairs"
    ]


def pairs_by_chance(found: Selection) -> bool:
    """Whether images of two paths may match by chance, as their names are numbers."""
    return found.layout == TWO_PATHS and _numbered(found.sets["a"])


def _numbered(images: ImageSet) -> bool:
    return isinstance(images, Files) and all(
        re.fullmatch(r"(.*/)?\d+\.\w+", e.name) for e in images.entries
    )


def find_sides(
    source: Source, part: AnyPart = "train", *, white: int | None = None, alone: bool = False
) -> Selection | None:
    """Select two sets, `a` and `b`, from two paths or from folders named A and B.

    alone: accept the folders only if no other folders of images lie beside them

    Returns None if the source has no such sets.
    """
    two = two_paths(source)
    if two is not None:
        a, b = (find_images(path, part, labels=False, white=white) for path in two)
        notes = list(dict.fromkeys(a.notes + b.notes))
        sets = {"a": a.sets["x"], "b": b.sets["x"]}
        return Selection(
            f"{a.title},{b.title}", TWO_PATHS, a.part, sets, notes, a.others + b.others
        )
    assert isinstance(source, (str, os.PathLike))
    title, there = open_source(source, white)
    if not isinstance(there, (Folder, Zip)):
        found = _from_table(title, there, part)
        x = found.sets["x"]
        if not (isinstance(x, Shards) and x.paired):
            return None
        a, b = x.both()
        return replace(found, layout=f"{x.layout}, pairs", sets={"a": a, "b": b})
    found = find_domain_folders(there)
    if not found.sides or (alone and found.beside):
        return None
    opened_part, notes = choose_part(found.sides, part)
    sets: dict[str, ImageSet] = {s.lower(): Files(there, found.sides[opened_part][s]) for s in "AB"}
    return Selection(
        title,
        "A and B",
        opened_part,
        sets,
        [*found.unused(), *empty_folder_notes(there), *notes],
        there.inventory.others,
    )


def _find_two(source: Source, part: AnyPart, white: int | None) -> Selection | None:
    """`find_sides`, or exactly two class folders of any names, else None."""
    found = find_sides(source, part, white=white)
    if found is not None:
        return found
    if (found := _two_classes(source, part, white)) is None:
        return None
    x = found.sets["x"]
    assert isinstance(x, Files)
    assert x.labels is not None
    sides = [Files(x.tree, x.entries.take(np.flatnonzero(x.labels == i))) for i in range(2)]
    layout = f"two folders, {x.classes[0]} and {x.classes[1]}"
    return replace(found, layout=layout, sets={"a": sides[0], "b": sides[1]})


def _two_classes(source: Source, part: AnyPart, white: int | None) -> Selection | None:
    """Exactly two class folders of any names, else None."""
    found = find_images(source, part, labels=False, white=white)
    x = found.sets["x"]
    two = len(x.classes) == 2 and x.labels is not None and isinstance(x, Files)
    return found if two else None


# Endings of names that do not tell pairs apart.
_ENDINGS = (r"[_-]?[ab]$", r"([_-]?(x\d|srf[_-]?\d|[lh]r|lq|gt))+$")


def match(a: Files, b: Files) -> tuple[Files, Files, list[str]]:
    """Match two sets by stem.

    If nothing matches, the endings _A and _B are ignored (1_A.jpg, 1_B.jpg), and then
    those of super-resolution's data sets (1.png, 1x4.png; 1_HR.png, 1_LR.png).

    Returns the matched images of both in the order of their names, and the names of the
    images without a partner. Raises `UserError` if two images of a set share a stem.
    """
    left, right = _by_stem(a), _by_stem(b)
    for ending in _ENDINGS:
        if left.keys() & right.keys():
            break
        left, right = _by_stem(a, ending), _by_stem(b, ending)
    both = sorted(left.keys() & right.keys())
    unmatched = [a.name(i) for stem, i in left.items() if stem not in right]
    unmatched += [b.name(i) for stem, i in right.items() if stem not in left]
    pair = [
        Files(s.tree, s.entries.take([of[k] for k in both])) for s, of in ((a, left), (b, right))
    ]
    return pair[0], pair[1], sorted(unmatched)


def _by_stem(files: Files, ending: str = r"$") -> dict[str, int]:
    """Stem without an ending -> position in `files`."""
    folders = {files.entries.folders[i] for i in np.unique(files.entries.folder).tolist()}
    start = len(os.path.commonpath(["/".join(f) for f in folders])) if folders else 0
    stems: dict[str, int] = {}
    for i, e in enumerate(files.entries):
        stem = os.path.splitext(e.name[start:].lstrip("/"))[0]
        stem = re.sub(ending, "", stem, flags=re.IGNORECASE)
        if stem in stems:
            raise UserError(
                f"{files.name(stems[stem])} and {files.name(i)} would both be the pair "
                f"'{printable(stem)}': keep one of them"
            )
        stems[stem] = i
    return stems
