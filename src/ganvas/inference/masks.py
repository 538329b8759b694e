"""Masks that people give with pictures: white says where. Only there a picture is restored, and compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ganvas.core.errors import UserError, printable
from ganvas.data.trees import Folder
from ganvas.media import mosaic
from ganvas.media.decode import decode, read
from ganvas.media.encode import Rows, narrowed
from ganvas.media.samples import Broken, Decoded, luma


class Masked(NamedTuple):
    """An image, and a mask bool [H, W]."""

    picture: Decoded
    mask: np.ndarray

    @property
    def share(self) -> float:
        """How much of the picture is marked."""
        return float(self.mask.mean())

    def put_back(self, made: Rows) -> Rows:
        """The image with the marked pixels of `made`, which has its depth. All others, alpha and the ICC profile are bit by
        bit what they were. Raises `UserError` where `made` has another size."""
        height, width, colors = self.picture.color.shape
        if (made.width, made.height) != (width, height):
            raise UserError(
                f"the model made {made.width}x{made.height} pixels of {width}x{height}: only what "
                "keeps its size can be put back into a picture"
            )

        def bands() -> Iterator[np.ndarray]:
            top = 0
            for band in made.bands:
                rows, top = slice(top, top + len(band)), top + len(band)
                pixels, mask = self.picture.samples(rows).copy(), self.mask[rows]
                color = band[..., : 3 if made.channels > 2 else 1]
                color = luma(color) if colors == 1 else np.broadcast_to(color, (*mask.shape, 3))
                pixels[mask, :colors] = color[mask]
                yield pixels

        channels = colors + (self.picture.alpha is not None)
        return made._replace(bands=bands(), channels=channels, profile=self.picture.profile, lost=self.picture.lost)


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

    def of(self, file: Path, name: str | Path, **limit: int) -> Masked:
        """A picture with its mask. `name`: the picture's among the masks. `limit`: `most` pixels, if not `decode`'s own. Raises
        `UserError` where either cannot be read, where there is none, where it has another size, and where it marks nothing."""
        picture = _opened(decode, file, **limit)
        if self.place is None:
            return Masked(picture, mosaic.find(narrowed(picture.samples()), _step(file))[0])
        path = self.place
        if self._files is not None:
            found = self._files.get(Path(name).with_suffix(""))
            if found is None:
                raise UserError(f"{self.place} has no mask of the name {printable(Path(name).with_suffix(''))}")
            path = found
        mask = marked(_opened(read, path, **limit))
        if mask.shape != (picture.height, picture.width):
            raise UserError(
                f"the mask {printable(path)} is {mask.shape[1]}x{mask.shape[0]} pixels and {printable(file)} is "
                f"{picture.width}x{picture.height} (width x height): a mask has its picture's size"
            )
        if not mask.any():
            raise UserError(f"the mask {printable(path)} marks nothing: paint white what is meant")
        return Masked(picture, mask)


def marked(image: Image.Image) -> np.ndarray:
    """bool [H, W]: what is lighter than middle gray, on black where it is transparent."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return np.asarray(image.convert("L")) > 127


def _step(file: Path) -> float:
    """Gray levels between the mean values that a JPEG file can hold of a block; 0 for other formats."""
    with Image.open(file) as image:
        tables = getattr(image, "quantization", None) or {}
    # The mean is quantized as 8 times itself; color differences count up to 1.772 times (JFIF).
    return max((1.772 * table[0] / 8 for table in tables.values()), default=0.0)


def _opened(reader: Any, path: Path, **limit: int) -> Any:
    if not path.is_file():
        raise UserError(f"there is no file {printable(path)}")
    try:
        return reader(str(path), **limit)
    except Broken as e:
        raise UserError(f"{printable(path)} cannot be read: {e}") from None
