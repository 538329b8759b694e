"""Cut images of any sizes into tiles of one size, at their own resolution."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
from PIL import Image

from ganvas.core.json_files import Json
from ganvas.data.measured import values_of
from ganvas.data.pictures import ImageSet
from ganvas.media.decode import Header
from ganvas.media.samples import Broken


class Tiles:
    """Image set of the tiles that cover every image of `image_set` evenly.

    size: (height, width) of a tile in pixels
    overlap: least overlap of neighbors in pixels (height, width)
    places: (image, top, left) of each tile, int32 [N, 3]; None: those that cover

    An image that is smaller or unreadable is one tile, which raises `Broken`. `small`
    is the number of smaller images, and `covered` that of the images with tiles.
    """

    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def __init__(
        self,
        image_set: ImageSet,
        size: tuple[int, int],
        overlap: tuple[int, int] = (0, 0),
        places: np.ndarray | None = None,
    ) -> None:
        self.image_set, self.size, self.overlap = image_set, size, overlap
        # tiles of one image are read one after the other
        self._header, self._whole = lru_cache(16)(image_set.header), lru_cache(16)(image_set.load)
        self._values = lru_cache(1)(partial(values_of, image_set))
        self.small = self.covered = 0
        self.places = self._cover() if places is None else places

    def _cover(self) -> np.ndarray:
        """The places of the tiles, [N, 3]; counts the images that are too small."""
        places: list[tuple[int, int, int]] = []  # image, top, left
        for i in range(len(self.image_set)):
            try:
                header = self._header(i)
                tops, lefts = (
                    _evenly(header.height, self.size[0], self.overlap[0]),
                    _evenly(header.width, self.size[1], self.overlap[1]),
                )
                self.small += not (tops and lefts)
                self.covered += bool(tops and lefts)
            except Broken:
                tops = lefts = []
            places += [(i, top, left) for top in tops for left in lefts] or [(i, 0, 0)]
        return np.array(places, np.int32).reshape(-1, 3)

    @classmethod
    def overlapping(
        cls,
        image_set: ImageSet,
        crop: tuple[int, int],
        least: tuple[int, int],
        size: tuple[int, int] | None = None,
    ) -> Tiles:
        """Tiles that overlap so that every crop of an image lies in a tile.

        crop: (height, width) in pixels; the overlap is one less
        least: (height, width); smaller tiles do not overlap, since they would store
            most pixels many times
        size: (height, width) of the tiles; None: the largest that all images of at
            least `least` hold, up to twice `crop`
        """
        if size is None:
            height, width = 2 * crop[0], 2 * crop[1]
            for i in range(len(image_set)):
                try:
                    header = image_set.header(i)
                except Broken:
                    continue
                if header.height >= least[0] and header.width >= least[1]:
                    height, width = min(height, header.height), min(width, header.width)
            size = height, width
        enough = size[0] >= least[0] and size[1] >= least[1]
        return cls(image_set, size, (crop[0] - 1, crop[1] - 1) if enough else (0, 0))

    def enlarged(self, image_set: ImageSet, scale: int) -> Tiles:
        """The same tiles of images that are `scale` times as large."""
        (height, width), (down, across) = self.size, self.overlap
        places = self.places * np.array([1, scale, scale], np.int32)
        size, overlap = (height * scale, width * scale), (down * scale, across * scale)
        return Tiles(image_set, size, overlap, places)

    def __len__(self) -> int:
        return len(self.places)

    def name(self, i: int) -> str:
        """The image's name and the tile's left and top edge in pixels."""
        image, top, left = self.places[i].tolist()
        return f"{self.image_set.name(image)} from {left},{top}"

    def stamp(self) -> Json:
        """From the tiles' size, their overlap (if any) and the images' stamp."""
        return [
            "tiles",
            [*self.size],
            *([[*self.overlap]] if any(self.overlap) else []),
            self.image_set.stamp(),
        ]

    def header(self, i: int) -> Header:
        """The tile's size. Raises `Broken` for an image that is smaller."""
        header = self._header(int(self.places[i, 0]))
        if header.height < self.size[0] or header.width < self.size[1]:
            raise Broken(
                f"is {header.width}x{header.height}: smaller than a tile of "
                f"{self.size[1]}x{self.size[0]}"
            )
        return header._replace(height=self.size[0], width=self.size[1])

    def deep(self, i: int) -> np.ndarray | None:
        """None: `values` has more than 8 bits."""
        return None

    def values(self, i: int) -> np.ndarray:
        """The tile of a measurement, [H, W, C]. Raises `Broken`."""
        image, top, left = self.places[i].tolist()
        return self._values(image)[top : top + self.size[0], left : left + self.size[1]]

    def load(self, i: int) -> Image.Image:
        """The tile. The last 16 images are kept, since tiles are read in order."""
        image, top, left = self.places[i].tolist()
        return self._whole(image).crop((left, top, left + self.size[1], top + self.size[0]))


def _evenly(side: int, part: int, overlap: int) -> list[int]:
    """Starts of the parts that cover a side evenly; [] if it is shorter than a part."""
    count = max(-(-(side - overlap) // (part - overlap)), 1) if side >= part else 0
    return [round(i * (side - part) / max(count - 1, 1)) for i in range(count)]
