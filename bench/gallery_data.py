"""Data sets that bench/gallery.py makes: pairs and tiles of photographs of a free license.

Every function writes a new folder with the parts train/ and test/ and raises
`FileNotFoundError`, which names the file, if its source is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from ganvas.core import rng
from ganvas.media.mosaic import pixelate, whole_blocks

BACKGROUNDS = Path("/usr/share/backgrounds")  # where lomiri-wallpapers-16.04 installs
# Its photographs; the other files are drawn. CC-BY 4.0, CC-BY-SA 4.0 and CC0.
TRAIN = (
    "Bridge_by_Sander_Klootwijk",
    "Dragonfly_by_Bolly",
    "Picture_1A_by_freespace",
    "Wine_by_Jakkub_Mede",
    "aitzgorri_by_Aitzol_Berasategi",
    "free_by_Peter_Nerlich",
    "friends_by_Aitzol_Berasategi",
    "greentock_by_Peter_Nerlich",
    "life_by_Aitzol_Berasategi",
    "seeding_by_Clements_Engelhardt",
    "sunset_by_Aitzol_Berasategi",
)
TEST = ("Picture_0B_by_freespace", "picosdeeuropa_by_Aitzol_Berasategi")  # shown: both CC-BY 4.0
LONG = 1280  # pixels: longer side of the photographs, which hides the camera's noise and JPEG
TILE_LONG, TILE, STRIDE = 960, 160, 80  # pixels: of the photographs that tiles are cut from
PHOTO_LONG = 256  # pixels: of the photograph that is a data set by itself
SIDE, HIDDEN, BLOCK = 128, 64, 8  # pixels: of images with a mosaic


def reduced(file: Path, long: int) -> Image.Image:
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    scale = long / max(image.size)
    width, height = (round(side * scale) for side in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def photographs(source: Path) -> list[tuple[str, Path]]:
    return [
        (part, source / f"{name}.jpg")
        for part, names in (("train", TRAIN), ("test", TEST))
        for name in names
    ]


def photos(out: Path, source: Path = BACKGROUNDS) -> None:
    """Photographs, reduced, for super-resolution."""
    for part, file in photographs(source):
        save(reduced(file, LONG), out / part / f"{file.stem}.png")


def tiles(out: Path, source: Path = BACKGROUNDS) -> None:
    """Overlapping squares of the photographs, those of the test photographs without overlap."""
    for part, file in photographs(source):
        image, stride = reduced(file, TILE_LONG), STRIDE if part == "train" else TILE
        for top in range(0, image.height - TILE + 1, stride):
            for left in range(0, image.width - TILE + 1, stride):
                tile = image.crop((left, top, left + TILE, top + TILE))
                save(tile, out / part / f"{file.stem}-{top:04d}-{left:04d}.png")


def mosaics(out: Path, source: Path = BACKGROUNDS) -> None:
    """Pairs: tiles with a square mosaic at a place that their name decides, and without."""
    tiles(out / "tiles", source)
    for file in sorted((out / "tiles").rglob("*.png")):
        part = file.parent.name
        with Image.open(file) as opened:
            pixels = np.asarray(opened.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        room = (SIDE - HIDDEN) // BLOCK + 1
        top, left = (BLOCK * (rng.fold_in(file.name, axis) % room) for axis in ("y", "x"))
        region = np.zeros((SIDE, SIDE), bool)
        region[top : top + HIDDEN, left : left + HIDDEN] = True
        mask = whole_blocks(region, BLOCK)
        for folder, image in (
            ("A", pixelate(pixels, mask, BLOCK)),
            ("B", pixels),
            ("masks", mask.astype(np.uint8) * 255),
        ):
            save(Image.fromarray(image), out / part / folder / file.name)
        file.unlink()
    for folder in (out / "tiles" / "train", out / "tiles" / "test", out / "tiles"):
        folder.rmdir()


def photo(out: Path, source: Path = BACKGROUNDS) -> None:
    """A square of one photograph for training, and one of another that it is compared with."""
    for part, name in zip(("test", "train"), TEST, strict=True):
        image = reduced(source / f"{name}.jpg", PHOTO_LONG)
        left = (image.width - image.height) // 2
        save(image.crop((left, 0, left + image.height, image.height)), out / part / f"{name}.png")


def nuclei(out: Path, source: Path) -> None:
    """Pairs for fluorescence microscopy: drawn nuclei and the image; every eighth is for tests.

    `source`: a folder with images/ and masks/ (16-bit maps of instances)"""
    from nuclei import drawn, fluorescence  # bench/nuclei.py

    if not (source / "images").is_dir() or not (source / "masks").is_dir():
        raise FileNotFoundError(f"{source}/images and {source}/masks")
    pictures, instances = fluorescence(source)
    for i, (picture, instance) in enumerate(zip(pictures, instances, strict=True)):
        part = "train" if (i + 1) % 8 else "test"
        save(Image.fromarray(drawn(instance)), out / part / "A" / f"{i:03d}.png")
        save(Image.fromarray(picture), out / part / "B" / f"{i:03d}.png")


def classes(out: Path, source: Path) -> None:
    """Photographs in a folder for each class, as they are; every eighth is for tests."""
    for folder in sorted(child for child in source.iterdir() if child.is_dir()):
        for i, file in enumerate(sorted(folder.iterdir())):
            place = out / ("train" if (i + 1) % 8 else "test") / folder.name / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


MAKERS = {
    "photo": photo,
    "photos": photos,
    "tiles": tiles,
    "mosaics": mosaics,
    "nuclei": nuclei,
    "classes": classes,
}
