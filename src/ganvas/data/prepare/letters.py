"""Render capital letters of open typefaces.

The typefaces come from the `fontpkg-*` packages of the extra `demo`.

The families are divided into three parts, so that a model and the classifier that
measures it never share a typeface: `train` for generative models, `val` for the
classifier, `test` for real letters that neither has seen.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganvas.core.errors import UserError, did_you_mean, printable

LETTERS = string.ascii_uppercase
LARGEST = 2048  # side in pixels
WEIGHTS = {
    "thin": 100,
    "extralight": 200,
    "light": 300,
    "regular": 400,
    "medium": 500,
    "semibold": 600,
    "bold": 700,
    "extrabold": 800,
    "black": 900,
}
_FAMILIES = {  # fontpkg's names; every part has serif, sans, display and handwritten families
    "train": "abril-fatface bitter bodoni-moda cinzel comfortaa cormorant crimson-pro "
    "eb-garamond encode-sans exo-2 fraunces fredoka jetbrains-mono josefin-sans jost kalam "
    "montserrat oswald playfair-display quicksand roboto-slab space-grotesk unbounded work-sans",
    "val": "alfa-slab-one caveat dosis lora orbitron raleway rubik zilla-slab",
    "test": "arvo delius league-spartan space-mono vollkorn",
}
PARTS = {part: names.split() for part, names in _FAMILIES.items()}
_STYLES = {  # every family has one
    "serif": "abril-fatface bodoni-moda cinzel cormorant crimson-pro eb-garamond fraunces "
    "lora playfair-display vollkorn",
    "slab": "alfa-slab-one arvo bitter roboto-slab zilla-slab",
    "sans": "comfortaa dosis encode-sans exo-2 fredoka josefin-sans jost league-spartan "
    "montserrat orbitron oswald quicksand raleway rubik space-grotesk unbounded work-sans",
    "mono": "jetbrains-mono space-mono",
    "script": "caveat delius kalam",
}
STYLES = {style: names.split() for style, names in _STYLES.items()}

CAPITAL = 22 / 32  # height of a capital as a share of the image's side
MARGIN = 1 / 32  # free on every side
# letters are drawn larger by this factor and averaged: no hinting, subpixel positions
OVERSAMPLING = 8
FAINTEST = 150  # gray level that the darkest pixel of the letter I must be below
MEASURED = 1000  # pixels per em at which outlines are measured


@dataclass(frozen=True)
class Face:
    """A typeface: a family in one weight, roman or italic.

    variable: whether the font file has an axis of weights
    part: a key of `PARTS`
    """

    family: str
    weight: int
    italic: bool
    path: Path
    variable: bool
    part: str

    @property
    def name(self) -> str:
        """Family, weight and style, as in file names."""
        return f"{self.family}-{self.weight}{'-italic' * self.italic}"

    def font(self, pixels_per_em: float) -> ImageFont.FreeTypeFont:
        """The font at a size in pixels per em."""
        font = ImageFont.truetype(
            str(self.path), pixels_per_em, layout_engine=ImageFont.Layout.BASIC
        )
        if self.variable:
            axes: list[Any] = font.get_variation_axes()
            weight = [b"Weight" in (a["name"] or b"") for a in axes]
            font.set_variation_by_axes(
                [self.weight if w else a["default"] for w, a in zip(weight, axes, strict=True)]
            )
        return font

    def height(self) -> float:
        """Height of a capital as a fraction of the image's side.

        It is `CAPITAL`, or less if a letter would not fit.
        """
        font = self.font(MEASURED)
        capital = -font.getbbox("H", anchor="ls")[1]
        boxes = [font.getbbox(letter, anchor="ls") for letter in LETTERS]
        widest = max(right - left for left, _, right, _ in boxes)
        above_middle = max(-top - capital / 2 for _, top, _, _ in boxes)
        below_middle = max(bottom + capital / 2 for _, _, _, bottom in boxes)
        most = max(widest, 2 * above_middle, 2 * below_middle) / capital
        return min(CAPITAL, (1 - 2 * MARGIN) / most)

    def render(self, size: int, height: float | None = None) -> np.ndarray:
        """Render A to Z in black on white, uint8 [26, size, size].

        height: height of a capital as a share of `size`; None: see `Face.height`

        Capitals are centered vertically, and each letter horizontally.
        """
        side = size * OVERSAMPLING
        height = self.height() if height is None else height
        capital = -self.font(MEASURED).getbbox("H", anchor="ls")[1]
        font = self.font(height * side * MEASURED / capital)
        images = np.empty((len(LETTERS), size, size), np.uint8)
        for i, letter in enumerate(LETTERS):
            left, _, right, _ = font.getbbox(letter, anchor="ls")
            image = Image.new("L", (side, side), 255)
            at = ((side - right - left) / 2, side * (1 + height) / 2)
            ImageDraw.Draw(image).text(at, letter, fill=0, font=font, anchor="ls")
            images[i] = np.asarray(image.reduce(OVERSAMPLING))
        return images


def faces() -> list[Face]:
    """All faces of the families in `PARTS`, sorted.

    These are the static files, and each multiple of 100 in the weight range of a
    variable font. Raises `UserError` if a font package is missing.
    """
    try:
        import fontpkg
    except ImportError:
        raise UserError(_install("the font packages are not installed")) from None
    installed = fontpkg.families()
    missing = [f for families in PARTS.values() for f in families if f not in installed]
    if missing:
        raise UserError(
            _install(f"font packages are missing: {', '.join('fontpkg-' + m for m in missing)}")
        )
    return sorted(_faces(installed), key=lambda f: (f.family, f.italic, f.weight))


def _faces(installed: dict[str, Any]) -> Iterator[Face]:
    for part, families in PARTS.items():
        for family in families:
            for file in installed[family].files:
                weights = (
                    [w for w in WEIGHTS.values() if file.covers(w)]
                    if file.variable
                    else [file.weight]
                )
                for weight in weights:
                    yield Face(
                        family, weight, file.style == "italic", file.path, file.variable, part
                    )


def _install(problem: str) -> str:
    return (
        f"{problem}. Install them: pip install 'ganvas[demo]'. (The set `letters` at 32 px needs "
        "none of them.)"
    )


def make(out: Path, size: int = 32, pairs: str | None = None, domains: str | None = None) -> int:
    """Write the letters as PNG files into a new folder.

    out: new or empty folder
    size: side in pixels, 8 to `LARGEST`
    pairs: None: class folders, `PART/LETTER/FACE.png`. Two weights ("thin,black",
        "300,700") or "roman,italic": `PART/A/...` and `PART/B/...` with equal names,
        drawn at one scale
    domains: two of `STYLES` ("serif,sans"): the letters of their families as
        `PART/A/FACE-LETTER.png` and `PART/B/...`, not paired

    Faces that are too thin for the size are left out. Returns the number of files.
    Raises `UserError` for a folder that has files, a size below 8, unknown or equal
    sides of a pair, both pairs and domains, or missing font packages.
    """
    if not 8 <= size <= LARGEST:
        raise UserError(f"got a size of {size} pixels; letters have 8 to {LARGEST:,}")
    if pairs is not None and domains is not None:
        raise UserError("got --pairs and --domains; give one of them")
    sides = None if pairs is None else _parse_pairs(pairs)
    styles = None if domains is None else _parse_domains(domains)
    available = faces()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"{printable(out)} already exists; nothing was written. Choose a new or an empty folder"
        )
    if styles is not None:
        return _write_domains(out, available, size, *styles)
    if sides is None:
        return _write_classes(out, available, size)
    written = _write_pairs(out, available, size, *sides)
    if not written:
        raise UserError(
            f"no family has both sides of {pairs} in strokes that are visible at {size} pixels. "
            f"Choose a larger --size, or other weights of {', '.join(WEIGHTS)}"
        )
    return written


def legible(images: np.ndarray) -> bool:
    """Whether the strokes of rendered letters [26, size, size] are dark enough."""
    return int(images[LETTERS.index("I")].min()) < FAINTEST


def _write_classes(out: Path, available: list[Face], size: int) -> int:
    written = 0
    for face in available:
        images = face.render(size)
        if legible(images):
            for letter, image in zip(LETTERS, images, strict=True):
                _save(image, out / face.part / letter / f"{face.name}.png")
            written += len(images)
    return written


def _parse_domains(domains: str) -> tuple[str, str]:
    words = [w.strip().lower() for w in domains.split(",")]
    for word in words:
        if word not in STYLES:
            raise UserError(f"--domains: {word!r} is no style. {did_you_mean(word, STYLES)}")
    if len(words) != 2 or words[0] == words[1]:
        raise UserError(
            f"--domains takes two different styles of {', '.join(STYLES)}, as serif,sans; "
            f"got {domains!r}"
        )
    return words[0], words[1]


def _write_domains(out: Path, available: list[Face], size: int, a: str, b: str) -> int:
    folders = {family: folder for folder, s in (("A", a), ("B", b)) for family in STYLES[s]}
    written = 0
    for face in available:
        if face.family not in folders:
            continue
        images = face.render(size)
        if legible(images):
            for letter, image in zip(LETTERS, images, strict=True):
                folder = out / face.part / folders[face.family]
                _save(image, folder / f"{face.name}-{letter}.png")
            written += len(images)
    return written


Side = int | bool  # a weight; or True for italic, False for roman


def _parse_pairs(pairs: str) -> tuple[Side, Side]:
    words = [w.strip().lower() for w in pairs.split(",")]
    if words in (["roman", "italic"], ["italic", "roman"]):
        return words[0] == "italic", words[1] == "italic"
    for word in words:
        if word not in WEIGHTS and word not in map(str, WEIGHTS.values()):
            raise UserError(
                f"--pairs: {word!r} is no weight. {did_you_mean(word, [*WEIGHTS, 'roman,italic'])}"
            )
    weights = [WEIGHTS.get(word) or int(word) for word in words]
    if len(weights) != 2 or weights[0] == weights[1]:
        raise UserError(
            f"--pairs takes two different weights, as thin,black, or roman,italic; got {pairs!r}"
        )
    return weights[0], weights[1]


def _write_pairs(out: Path, available: list[Face], size: int, a: Side, b: Side) -> int:
    def key(face: Face) -> tuple[str, Side]:
        """(common part of the file names of a pair, side of the pair)."""
        if isinstance(a, bool):
            return f"{face.family}-{face.weight}", face.italic
        return f"{face.family}{'-italic' * face.italic}", face.weight

    by_key = {key(face): face for face in available}
    written = 0
    for name, side in list(by_key):
        if side != a or (name, b) not in by_key:
            continue
        both = by_key[name, a], by_key[name, b]
        height = min(face.height() for face in both)
        rendered = [face.render(size, height) for face in both]
        if not all(map(legible, rendered)):
            continue
        for folder, images in zip("AB", rendered, strict=True):
            for letter, image in zip(LETTERS, images, strict=True):
                _save(image, out / both[0].part / folder / f"{name}-{letter}.png")
            written += len(images)
    return written


def _save(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
