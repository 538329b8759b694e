"""Masks of images: white marks the region to restore or to compare."""

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
from ganvas.media.encode import Rows
from ganvas.media.samples import Broken, Decoded, eight_bit, luma


class Masked(NamedTuple):
    """An image with its mask, bool [H, W]."""

    image: Decoded
    mask: np.ndarray

    @property
    def share(self) -> float:
        """The fraction of marked pixels."""
        return float(self.mask.mean())

    def put_back(self, result: Rows) -> Rows:
        """Put the marked pixels of `result` into the image.

        result: of the image's depth and size. All other pixels, alpha and the ICC
            profile stay bit-identical

        Raises `UserError` for a result of another size.
        """
        height, width, colors = self.image.color.shape
        if (result.width, result.height) != (width, height):
            raise UserError(
                f"the result has {result.width}x{result.height} pixels and the image "
                f"{width}x{height}: a "
                "mask needs a model that keeps the size"
            )

        def bands() -> Iterator[np.ndarray]:
            top = 0
            for band in result.bands:
                rows, top = slice(top, top + len(band)), top + len(band)
                pixels, mask = self.image.samples(rows).copy(), self.mask[rows]
                color = band[..., : 3 if result.channels > 2 else 1]
                color = luma(color) if colors == 1 else np.broadcast_to(color, (*mask.shape, 3))
                pixels[mask, :colors] = color[mask]
                yield pixels

        channels = colors + (self.image.alpha is not None)
        return result._replace(
            bands=bands(), channels=channels, profile=self.image.profile, lost=self.image.lost
        )


class Masks:
    """Masks for images.

    place: one file for one image, or a folder of files with the images' names (any
        ending). None: the blocks of a mosaic, detected in the image itself
        (`media.mosaic.find`)

    Raises `UserError` for a path that does not exist.
    """

    def __init__(self, place: Path | None) -> None:
        self.place = place
        self._files: dict[Path, Path] | None = None
        if place is not None and not place.exists():
            raise UserError(f"there is no mask {place}")
        if place is not None and place.is_dir():
            self._files = {
                Path(e.name).with_suffix(""): place / e.name for e in Folder(place).entries
            }

    def of(self, file: Path, name: str | Path, **limit: int) -> Masked:
        """An image with its mask.

        name: of the image among the masks
        limit: `most` pixels, if not the default of `decode`

        Raises `UserError` for files that cannot be read, and for a mask that is
        missing, empty or of another size.
        """
        image = _opened(decode, file, **limit)
        if self.place is None:
            return Masked(image, mosaic.find(eight_bit(image.samples()), _step(file))[0])
        path = self.place
        if self._files is not None:
            found = self._files.get(Path(name).with_suffix(""))
            if found is None:
                raise UserError(
                    f"{self.place} has no mask of the name {printable(Path(name).with_suffix(''))}"
                )
            path = found
        mask = marked(_opened(read, path, **limit))
        if mask.shape != (image.height, image.width):
            raise UserError(
                f"the mask {printable(path)} is {mask.shape[1]}x{mask.shape[0]} pixels and "
                f"{printable(file)} is "
                f"{image.width}x{image.height} (width x height): a mask has its image's size"
            )
        if not mask.any():
            raise UserError(f"the mask {printable(path)} is empty: paint the region white")
        return Masked(image, mask)


def marked(image: Image.Image) -> np.ndarray:
    """Convert a mask to bool [H, W]: lighter than middle gray, laid over black."""
    if image.mode == "RGBA":
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image).convert("RGB")
    return np.asarray(image.convert("L")) > 127


def _step(file: Path) -> float:
    """Quantization step in gray levels of a JPEG block's mean; 0 otherwise."""
    with Image.open(file) as image:
        tables = getattr(image, "quantization", None) or {}
    # The mean is quantized as 8 times itself; color differences count up to 1.772
    # times (JFIF).
    return max((1.772 * table[0] / 8 for table in tables.values()), default=0.0)


def _opened(reader: Any, path: Path, **limit: int) -> Any:
    if not path.is_file():
        raise UserError(f"there is no file {printable(path)}")
    try:
        return reader(str(path), **limit)
    except Broken as e:
        raise UserError(f"{printable(path)} cannot be read: {e}") from None
