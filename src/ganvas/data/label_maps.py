"""Label maps: images in which every color is a label, or every number.

Numbers are read as they are stored and shown as colors (`media.label_ids`). Maps are
resized by nearest neighbors, since a blend of two colors would be a third label, and
brought to the colors of a palette.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageColor

from ganvas.core.errors import DataError, did_you_mean
from ganvas.core.json_files import Json
from ganvas.data.info import Info
from ganvas.data.pictures import Encoded, ImageSet
from ganvas.media import label_ids
from ganvas.media.decode import Header, palette_colors, stored_ids
from ganvas.media.samples import Broken, to_channels

MOST_LABELS = 256
SURVEYED = 100  # images of a side that `note_on_labels` reads
SURVEY_SIDE = 256  # pixels, to which it reduces them


def _voc() -> tuple[int, ...]:
    """Colors of Pascal VOC's 21 labels, as its toolkit makes them, and of its borders.

    A label's bits in turn are the highest bits of red, green, blue, then the next.
    """
    colors = []
    for label in range(21):
        r, g, b = (
            sum((label >> (3 * k + channel) & 1) << (7 - k) for k in range(3))
            for channel in range(3)
        )
        colors.append(r << 16 | g << 8 | b)
    return (*colors, 0xE0E0C0)


PALETTES: dict[str, tuple[int, ...]] = {
    # The twelve labels of the CMP facades data base, background first.
    "facades": (
        *(0x0000DE, 0x0030FF, 0x0080FF, 0x00D0FF, 0x20FFE0, 0x70FF90),
        *(0xC0FF40, 0xFFF000, 0xFFA000, 0xFF5000, 0xFF0000, 0xAE0001),
    ),
    # Cityscapes' gtFine_color: void, the 19 labels of its evaluation, others.
    "cityscapes": (
        *(0x000000, 0x804080, 0xF423E8, 0x464646, 0x66669C, 0xBE9999, 0x999999, 0xFAAA1E),
        *(0xDCDC00, 0x6B8E23, 0x98FB98, 0x4682B4, 0xDC143C, 0xFF0000, 0x00008E, 0x000046),
        *(0x003C64, 0x005064, 0x0000E6, 0x770B20, 0x6F4A00, 0x510051, 0xFAAAA0, 0xE6968C),
        *(0xB4A5B4, 0x966464, 0x96785A, 0x00005A, 0x00006E),
    ),
    "voc": _voc(),
}


def parse_palette(palette: str | Sequence[str]) -> tuple[int, ...]:
    """Colors 0xRRGGBB of a palette's name, or of colors as "#0030ff" or "white".

    Raises `DataError` for anything else.
    """
    names = [palette] if isinstance(palette, str) else list(palette)
    if len(names) == 1 and names[0] in PALETTES:
        return PALETTES[names[0]]
    if len(names) == 1 and "," in names[0]:
        names = names[0].split(",")
    colors = []
    for name in names:
        try:
            r, g, b = ImageColor.getrgb(name.strip())[:3]
        except (ValueError, AttributeError):
            raise DataError(
                f"a palette is {' or '.join(PALETTES)}, or colors as '#0030ff,#ff0000'; got "
                f"{name!r}. {did_you_mean(str(name), PALETTES)}"
            ) from None
        colors.append(r << 16 | g << 8 | b)
    if len(set(colors)) != len(colors) or len(colors) < 2:
        raise DataError(f"a palette needs at least two different colors; got {', '.join(names)}")
    return tuple(colors)


def color_name(color: int) -> str:
    """0x0030FF -> "#0030ff"."""
    return f"#{color:06x}"


def label_name(color: int, ids: bool) -> str:
    """The name of a label by its color: the number that it stands for, or "#0030ff"."""
    return str(label_ids.id_of(color)) if ids else color_name(color)


def have_ids(maps: ImageSet) -> bool:
    """Whether label maps hold numbers that their colors do not tell apart.

    That are gray maps of 16 bits, of which the upper 8 would be left, and palette
    images in which indices that occur share a color. If an index has different colors
    in such images, it means nothing, and colors are the labels.
    """
    if not isinstance(maps, Encoded):
        return False
    colors: dict[int, int] = {}  # of the indices that occur
    for i in range(len(maps)):
        try:
            mode = maps.header(i).mode
            if mode.split(";")[0] == "I":
                return True
            if mode != "P":
                continue
            table = palette_colors(maps.file(i))
            if len(set(table)) == len(table):
                continue
            for index in np.unique(ids_in(maps, i)).tolist():
                if colors.setdefault(index, table[index]) != table[index]:
                    return False
        except Broken:  # is reported when it is decoded
            continue
    return len(set(colors.values())) < len(colors)


def ids_in(maps: ImageSet, i: int) -> np.ndarray:
    """The numbers of label map `i`, uint16 [H, W]. Raises `Broken`, also for colors."""
    ids = stored_ids(maps.file(i)) if isinstance(maps, Encoded) else None
    if ids is None or not isinstance(maps, Encoded):
        raise Broken(
            "is in colors, and others of these label maps hold numbers (16 bits, or indices of "
            "one color): give one kind, or name the labels' colors (data.palette)"
        )
    if maps.half is None:
        return ids
    half = ids.shape[1] // 2
    return ids[:, :half] if maps.half == 0 else ids[:, ids.shape[1] - half :]


def palette_of(
    pixels: np.ndarray, title: str, palette: Sequence[int] | None = None, ids: bool = False
) -> dict[int, float]:
    """The colors of label maps uint8 [N, H, W, 3], and the share of pixels of each.

    palette: count each pixel as the nearest of these colors
    ids: the colors stand for numbers, which order them

    Raises `DataError` for more than 256 colors and for a single one.
    """
    counts = np.zeros(1 << 24, np.int64)
    for maps in pixels:
        if palette is not None:
            maps = nearest_colors(maps, palette)
        found, times = np.unique(label_ids.codes_of(maps), return_counts=True)
        counts[found] += times
    colors = np.flatnonzero(counts)
    if ids and len(colors) > MOST_LABELS:
        raise DataError(
            f"the label maps of {title} hold {len(colors):,} different numbers, at most "
            f"{MOST_LABELS} are labels. If they number instances, make maps of both: ganvas data "
            "instances LABELS INSTANCES"
        )
    if len(colors) > MOST_LABELS:
        raise DataError(
            f"the label maps of {title} have {len(colors):,} different colors, at most "
            f"{MOST_LABELS} are labels: they were saved with loss (JPEG) or scaled. Name the "
            "labels' colors, and each pixel becomes the nearest: --set data.palette=facades, or "
            "--set 'data.palette=#000000,#ff0000'"
        )
    if len(colors) < 2:
        raise DataError(
            f"the label maps of {title} have one color only. Is the other side of the pairs the "
            "label map? Exchange them: --set data.direction=b2a"
        )
    total = counts[colors].sum()
    ordered = sorted(map(int, colors), key=label_ids.id_of if ids else None)
    return {c: float(counts[c] / total) for c in ordered}


def with_labels(info: Info, shares: Mapping[int, float], ids: bool) -> Info:
    """The description of a data set with its labels: names, colors, a note of shares.

    shares: color 0xRRGGBB -> share of the pixels, 0 to 1
    ids: whether the colors stand for numbers
    """
    named = {label_name(c, ids): share for c, share in shares.items()}
    notes = (*info.notes, share_table(named))
    return replace(info, classes=tuple(named), palette=tuple(shares), ids=ids, notes=notes)


def share_table(shares: Mapping[str, float]) -> str:
    """A line of labels and their shares of the pixels.

    shares: label -> share, 0 to 1
    """
    table = ", ".join(f"{label} {share:.1%}" for label, share in shares.items())
    return f"{len(shares)} labels, with their share of the pixels: {table}"


@dataclass
class LabelMaps:
    """Label maps of an image set, at their final size and in the palette's colors.

    size: (height, width) that they are scaled to cover, and cropped to
    palette: None: their own colors, of which shades may be instances
    ids: whether they hold numbers, which become colors of their own
    """

    maps: ImageSet
    size: tuple[int, int]
    palette: tuple[int, ...] | None = None
    ids: bool = False
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.maps)

    def name(self, i: int) -> str:
        """As of `ImageSet`."""
        return self.maps.name(i)

    def stamp(self) -> Json:
        """As of `ImageSet`; changes with size and palette, too."""
        size: list[Json] = list(self.size)
        palette: list[Json] = list(self.palette or ())
        return ["label maps", self.maps.stamp(), size, palette, *(["ids"] if self.ids else [])]

    def header(self, i: int) -> Header:
        """As of `ImageSet`: the file's own size."""
        return self.maps.header(i)._replace(mode="RGB", channels=3)

    def load(self, i: int) -> Image.Image:
        """Label map `i` at its final size, in mode RGB. Raises `Broken`."""
        if self.ids:
            image = Image.fromarray(label_ids.colors_of(ids_in(self.maps, i)))
        else:
            image = to_channels(self.maps.load(i), 3)
        image = _nearest(image, self.size)
        if self.palette is None:
            return image
        return Image.fromarray(nearest_colors(np.asarray(image), self.palette))

    def deep(self, i: int) -> np.ndarray | None:
        """None: labels are colors."""
        return None


def note_on_labels(sides: Mapping[str, ImageSet]) -> str | None:
    """A line of the labels of pairs, if one side may be label maps.

    sides: "a" and "b" -> images

    It reads at most `SURVEYED` images of a side, and one of photographs.
    """
    for side, images in sides.items():
        ids = have_ids(images)
        counts = _colors(LabelMaps(images, (SURVEY_SIDE, SURVEY_SIDE), ids=ids))
        if 2 <= len(counts) <= MOST_LABELS:
            turned = "" if side == "a" else ", with --set data.direction=b2a"
            shares = {label_name(c, ids): n / counts.total() for c, n in sorted(counts.items())}
            return f"if the images of {side.upper()} are label maps{turned}: {share_table(shares)}"
    return None


def _colors(maps: LabelMaps) -> Counter[int]:
    """The pixels of each color in some of the maps; it ends at too many colors."""
    counts: Counter[int] = Counter()
    for i in range(0, len(maps), -(-len(maps) // SURVEYED)):
        with suppress(Broken):  # the report names it
            codes = label_ids.codes_of(np.asarray(maps.load(i)))
            found, times = np.unique(codes, return_counts=True)
            counts.update(dict(zip(found.tolist(), times.tolist(), strict=True)))
        if len(counts) > MOST_LABELS:
            break
    return counts


def _nearest(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale to cover a size and crop the center, as `media.samples.fit`."""
    height, width = size
    scale = max(width / image.width, height / image.height)
    w, h = width / scale, height / scale
    left, top = max((image.width - w) / 2, 0), max((image.height - h) / 2, 0)
    box = (left, top, min(left + w, image.width), min(top + h, image.height))
    return image.resize((width, height), Image.Resampling.NEAREST, box=box)


def nearest_colors(pixels: np.ndarray, palette: Sequence[int]) -> np.ndarray:
    """Each pixel of uint8 [H, W, 3] in the nearest color of the palette."""
    colors = np.array([[c >> 16, c >> 8 & 255, c & 255] for c in palette], np.int32)
    best = np.zeros(pixels.shape[:2], np.uint8)
    least = np.full(pixels.shape[:2], 1 << 30, np.int32)
    for i, color in enumerate(colors):
        far = np.square(pixels.astype(np.int32) - color).sum(2)
        nearer = far < least
        best[nearer], least[nearer] = i, far[nearer]
    return colors[best].astype(np.uint8)
