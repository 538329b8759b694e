"""Render emoji in color from an installed font.

The font is Noto Color Emoji by Google: the license of its images is Apache-2.0, that of
the font SIL OFL 1.1, so that the images may be published. Flags and other sequences of
several code points, hands and people are left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import reason

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
STRIKE = 109  # the only size in pixels per em of the font's bitmaps
SIDE = 136  # pixels: width of an emoji at that size; its height is 128
TEST = 8  # one code point in so many is kept for tests
_BLOCKS = {  # class -> code points, hexadecimal
    "faces": "1f600-1f644 1f910-1f917 1f920-1f925 1f927-1f92f 1f970-1f976 1f978-1f97a 1f9d0 "
    "1fae0-1fae8 1f479-1f47b 1f47d-1f480",
    "animals": "1f400-1f43f 1f577 1f54a 1f980-1f9ae 1fab0-1fab6 1fabc-1fabf",
    "food": "1f32d-1f330 1f345-1f37f 1f950-1f96f 1f9c0-1f9cb 1fad0-1fadb",
    "nature": "1f300-1f320 1f324-1f32c 1f331-1f344 1f490 2600-2604 2614 26c4-26c5 2b50",
    "travel": "1f680-1f6a2 1f6a4-1f6a8 1f6b2 1f6e9-1f6ec 1f6f0-1f6fc 1f3d4-1f3f0 26ea 26f2 "
    "26f5 26fa 26fd",
    "objects": "1f380-1f384 1f386-1f393 1f399-1f3c1 1f3cf-1f3d3 1f3f7-1f3fa 1f451-1f463 1f484 "
    "1f489-1f48a 1f48d-1f48e 1f4a1 1f4a3 1f4b0-1f4ff 1f50a-1f517 1f526-1f52e 1f56f-1f570 "
    "1f5a5-1f5fe 1f941-1f94f 1f97b-1f97f 1f9ba 1f9e0-1f9ff 1fa70-1faaf",
    "symbols": "1f493-1f4a0 1f4a2 1f4a4-1f4a9 1f4ab-1f4af 1f500-1f509 1f518-1f525 1f52f-1f53d "
    "1f549 1f54b-1f54e 1f550-1f567 1f6ab-1f6b1 1f6b9-1f6bf 1f7e0-1f7eb 1f90d-1f90e 2648-2653 "
    "2660-2668 267b 2702 2705 2708-2709 270f-2716 2728 2733-2764 2795-27a1",
}


def code_points() -> dict[str, list[int]]:
    """Class -> its code points, ascending."""
    found: dict[str, list[int]] = {}
    for name, blocks in _BLOCKS.items():
        bounds = [block.partition("-") for block in blocks.split()]
        ranges = [range(int(a, 16), int(b or a, 16) + 1) for a, _, b in bounds]
        found[name] = sorted(point for r in ranges for point in r)
    return found


def make(out: Path, size: int = 64, font: Path = FONT) -> int:
    """Write emoji over white as `PART/CLASS/CODE-NAME.png` into a new folder.

    out: new or empty folder
    size: side in pixels, from 8 to `SIDE`
    font: file of Noto Color Emoji

    Every `TEST`th emoji of a class is in `test/`. Returns the number of files. Raises
    `UserError` for a folder that has files, a size out of range, and a missing or
    unsuitable font.
    """
    if not 8 <= size <= SIDE:
        raise UserError(f"got a size of {size} pixels; the font's emoji have 8 to {SIDE}")
    opened = _opened(font)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"{printable(out)} already exists; nothing was written. Choose a new or an empty folder"
        )
    written = 0
    for name, points in code_points().items():
        for i, (point, image) in enumerate(_rendered(opened, points)):
            folder = out / ("train" if (i + 1) % TEST else "test") / name
            folder.mkdir(parents=True, exist_ok=True)
            word = unicodedata.name(chr(point)).lower().replace(" ", "-")
            image.resize((size, size), Image.Resampling.BOX).save(
                folder / f"{point:05x}-{word}.png"
            )
            written += 1
    if not written:
        raise UserError(f"{printable(font)} has none of the emoji: {_install()}")
    return written


def _opened(font: Path) -> ImageFont.FreeTypeFont:
    if not font.is_file():
        raise UserError(f"there is no font {printable(font)}: {_install()}")
    try:
        return ImageFont.truetype(str(font), STRIKE, layout_engine=ImageFont.Layout.BASIC)
    except OSError as e:
        raise UserError(f"{printable(font)} cannot be used ({reason(e)}): {_install()}") from None


def _install() -> str:
    return (
        "install Debian's package fonts-noto-color-emoji, or give the file NotoColorEmoji.ttf "
        "(with bitmaps) as --font"
    )


def _rendered(font: ImageFont.FreeTypeFont, points: list[int]) -> Iterator[tuple[int, Image.Image]]:
    """Yield (code point, RGB image [SIDE, SIDE] over white) of what the font has."""

    def drawn(point: int) -> Image.Image:
        image = Image.new("RGB", (SIDE, SIDE), "white")
        ImageDraw.Draw(image).text((0, 4), chr(point), font=font, embedded_color=True)
        return image

    missing = drawn(0x10FFFD).tobytes()  # what the font shows for a code point of no character
    for point in points:
        image = drawn(point)
        if image.tobytes() != missing and unicodedata.name(chr(point), ""):
            yield point, image
