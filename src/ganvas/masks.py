"""Masks that people give with pictures: white says where. Only there a picture is restored, and compared."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from ganvas.data import mosaic
from ganvas.data.decode import Broken, as_array, as_image, read, to_channels
from ganvas.data.sources import Folder
from ganvas.errors import UserError


class Masked(NamedTuple):
    """A picture in mode L, RGB or RGBA, and a mask bool [H, W]. `deep`: the picture's own 16 bits, uint16 [H, W], of gray ones
    that have them."""

    picture: Image.Image
    mask: np.ndarray
    deep: np.ndarray | None = None

    @property
    def share(self) -> float:
        """How much of the picture is marked."""
        return float(self.mask.mean())

    def put_back(self, made: Image.Image) -> Image.Image:
        """The picture with the marked pixels of `made`. All others, and alpha, are bit by bit what they were. Raises
        `UserError` where `made` has another size."""
        if made.size != self.picture.size:
            raise UserError(
                f"the model made {made.width}x{made.height} pixels of {self.picture.width}x{self.picture.height}: only what "
                "keeps its size can be put back into a picture"
            )
        if self.deep is not None:
            pixels = self.deep.copy()
            pixels[self.mask] = np.asarray(to_channels(made, 1))[self.mask].astype(np.uint16) * 257
            return Image.fromarray(pixels)
        pixels, colours = as_array(self.picture).copy(), 1 if self.picture.mode == "L" else 3
        pixels[self.mask, :colours] = as_array(to_channels(made, colours))[self.mask]
        return as_image(pixels)


class Masks:
    """Masks for pictures: `place` is one file for one picture, or a folder of files that have the pictures' names (with any
    ending); None: the blocks of a mosaic that are found in the picture itself (`data.mosaic.find`). Raises `UserError` where
    it does not exist."""

    def __init__(self, place: Path | None) -> None:
        self.place = place
        self._files: dict[Path, Path] | None = None
        if place is not None and not place.exists():
            raise UserError(f"there is no mask {place}")
        if place is not None and place.is_dir():
            self._files = {Path(e.name).with_suffix(""): place / e.name for e in Folder(place).entries}

    def of(self, file: Path, name: str | Path) -> Masked:
        """A picture with its mask. `name`: the picture's among the masks. Raises `UserError` where either cannot be read, where
        there is none, where it has another size, and where it marks nothing."""
        picture, deep = _opened(file), _sixteen(file)
        if self.place is None:
            return Masked(picture, mosaic.find(as_array(picture))[0], deep)
        path = self.place
        if self._files is not None:
            found = self._files.get(Path(name).with_suffix(""))
            if found is None:
                raise UserError(f"{self.place} has no mask of the name {Path(name).with_suffix('')}")
            path = found
        mask = marked(_opened(path))
        if mask.shape != (picture.height, picture.width):
            raise UserError(
                f"the mask {path} is {mask.shape[1]}x{mask.shape[0]} pixels and {file} is {picture.width}x{picture.height} "
                "(width x height): a mask has its picture's size"
            )
        if not mask.any():
            raise UserError(f"the mask {path} marks nothing: paint white what is meant")
        return Masked(picture, mask, deep)


def marked(image: Image.Image) -> np.ndarray:
    """bool [H, W]: what is lighter than middle gray, on black where it is transparent."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return np.asarray(image.convert("L")) > 127


def _sixteen(path: Path) -> np.ndarray | None:
    """The pixels of a gray picture of 16 bits, which `read` rounds to 8. Raises `UserError` for colours of 16 bits, of which
    Pillow reads 8: what is outside a mask could not stay as it was."""
    with Image.open(path) as image:
        raw = str(image.tile[0][3]) if image.tile else ""
        if image.mode.startswith("I"):
            return np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
        if ";16" in raw:
            raise UserError(f"{path} has colours of 16 bits, of which only 8 could be kept: convert it to 8 bits first")
    return None


def _opened(path: Path) -> Image.Image:
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        return read(str(path))
    except Broken as e:
        raise UserError(f"{path} cannot be read: {e}") from None
