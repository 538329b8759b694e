"""Label maps and instance maps as one: shades of a label's color are its instances.

The command is `ganvas data instances`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ganvas.core.errors import DataError, printable
from ganvas.core.files import replacing
from ganvas.data.headers import unreadable
from ganvas.data.label_maps import MOST_LABELS, color_name, have_ids, ids_in
from ganvas.data.layouts import find_images, match
from ganvas.data.pictures import Files
from ganvas.media.decode import stored_ids
from ganvas.media.label_ids import codes_of, colors_of
from ganvas.media.samples import Broken, to_channels

SHADES = 64  # of a color: the two lowest bits of red, green and blue
APART = 12  # least distance of two labels' colors, of which shades can still be told


class Shaded(NamedTuple):
    """What was written: number of label maps, and the colors of the labels."""

    maps: int
    palette: tuple[str, ...]


def make(labels: str | Path, instances: str | Path, out: Path) -> Shaded:
    """Write label maps whose shades are instances, as PNG with the names of `labels`.

    Subfolders are kept. Nothing is written if a map cannot be used.

    labels: folder or zip of label maps, in which every color (or gray) is a label, or
        every number (of 16 bits; of palette images if indices share a color)
    instances: folder or zip of maps with the same names and sizes, in which every
        value, index or color is an instance; gray images may have 16 bits
    out: new or empty folder

    Colors of labels stay as they are if shades of them can be told apart, else all
    labels get new ones. An image may have any number of instances; the 65th of a label
    has the shade of the first.

    Raises `UserError` for maps without a partner, of different sizes, or with more than
    256 labels.
    """
    both = [find_images(path, labels=False).sets["x"] for path in (labels, instances)]
    if not (isinstance(both[0], Files) and isinstance(both[1], Files)):
        raise DataError("label maps and instance maps are folders or zips of image files")
    maps, shades, unmatched = match(both[0], both[1])
    if unmatched:
        some = ", ".join(map(printable, unmatched[:3]))
        raise DataError(
            f"{len(unmatched)} of the maps have no partner of the same name: {some}. Rename or "
            "remove these"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"{printable(out)} already exists; nothing was written. Choose a new or an empty folder"
        )
    numbers = have_ids(maps)
    colors = _colors(maps, numbers)
    target = dict(zip(colors, _recolored(colors), strict=True))
    names = [Path(maps.name(i)) for i in range(len(maps))]
    common = os.path.commonpath([name.parent for name in names])
    with replacing(out) as folder:
        for i, name in enumerate(names):
            try:
                pixels = shaded(_codes(maps, i, numbers), _ids(shades, i), target)
            except Broken as e:
                raise DataError(str(unreadable(shades, i, e))) from None
            file = folder / name.relative_to(common).with_suffix(".png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
        if out.exists():  # empty, but not to be replaced on every system
            out.rmdir()
    return Shaded(len(maps), tuple(color_name(c) for c in target.values()))


def shaded(labels: np.ndarray, instances: np.ndarray, colors: dict[int, int]) -> np.ndarray:
    """One map of both: uint8 [H, W, 3].

    labels: [H, W]
    instances: [H, W], any integers
    colors: label -> 0xRRGGBB

    Raises `Broken` if the sizes differ.
    """
    if labels.shape != instances.shape:
        raise Broken(
            f"has {labels.shape[1]}x{labels.shape[0]} pixels of labels and "
            f"{instances.shape[1]}x{instances.shape[0]} of instances: give maps of one size"
        )
    out = np.zeros((*labels.shape, 3), np.uint8)
    for label in np.unique(labels).tolist():
        here = labels == label
        _, number = np.unique(instances[here], return_inverse=True)
        k = number.reshape(-1) % SHADES
        shade = (k & 3) << 16 | (k >> 2 & 3) << 8 | k >> 4
        code = colors[label] ^ shade
        out[here] = np.stack([code >> 16, code >> 8 & 255, code & 255], 1)
    return out


def _codes(maps: Files, i: int, numbers: bool) -> np.ndarray:
    """Colors 0xRRGGBB of a label map, [H, W]; of its numbers if they are the labels."""
    pixels = colors_of(ids_in(maps, i)) if numbers else np.asarray(to_channels(maps.load(i), 3))
    return codes_of(pixels)


def _ids(maps: Files, i: int) -> np.ndarray:
    """Instances of a map, [H, W]: its integers, indices or colors."""
    ids = stored_ids(maps.file(i)) if maps.half is None else None
    return _codes(maps, i, False) if ids is None else ids.astype(np.int64)


def _colors(maps: Files, numbers: bool) -> list[int]:
    """The colors of all label maps; `numbers`: as of `_codes`.

    Raises `DataError` for more than 256, and for a map that cannot be read.
    """
    found: set[int] = set()
    for i in range(len(maps)):
        try:
            found |= set(np.unique(_codes(maps, i, numbers)).tolist())
        except Broken as e:
            raise DataError(str(unreadable(maps, i, e))) from None
        if len(found) > MOST_LABELS:
            raise DataError(
                f"the label maps have more than {MOST_LABELS} colors: they were saved with loss "
                "(JPEG) or scaled, or are the instance maps. The label maps come first"
            )
    return sorted(found)


def _recolored(colors: list[int]) -> list[int]:
    """These colors if they are far from each other, else as many that are."""
    rgb = np.array([[c >> 16, c >> 8 & 255, c & 255] for c in colors], np.int64)
    far = np.square(rgb[:, None] - rgb).sum(-1) + np.eye(len(colors), dtype=np.int64) * APART**2
    if len(colors) < 2 or far.min() >= APART**2:
        return colors
    # One of 512 colors whose levels are 32 apart: i's bits, dealt to the channels.
    levels = [
        [sum((i >> 3 * bit + c & 1) << 7 - bit for bit in range(3)) for c in range(3)]
        for i in range(len(colors))
    ]
    return [r << 16 | g << 8 | b for r, g, b in levels]
