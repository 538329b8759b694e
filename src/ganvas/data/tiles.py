"""Pictures of any sizes as squares of one size at their own resolution, for what learns from details."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from ganvas.data.pictures import Pictures
from ganvas.media.decode import Header
from ganvas.media.samples import Broken


class Tiles:
    """Every picture of `pictures` cut into tiles of `size` (height, width) that cover it evenly.

    overlap: least overlap of neighbours in pixels (height, width)

    A picture that is smaller, or that cannot be read, is one tile, which says so when it is asked for. `small`: how many
    are smaller."""

    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def __init__(self, pictures: Pictures, size: tuple[int, int], overlap: tuple[int, int] = (0, 0)) -> None:
        self.pictures, self.size, self.overlap = pictures, size, overlap
        # Tiles of one picture are asked for one after the other.
        self._header, self._whole = lru_cache(16)(pictures.header), lru_cache(16)(pictures.load)
        self.small = 0
        places: list[tuple[int, int, int]] = []  # picture, top, left
        for i in range(len(pictures)):
            try:
                header = self._header(i)
                tops, lefts = _evenly(header.height, size[0], overlap[0]), _evenly(header.width, size[1], overlap[1])
                self.small += not (tops and lefts)
            except Broken:
                tops = lefts = []
            places += [(i, top, left) for top in tops for left in lefts] or [(i, 0, 0)]
        self.places = np.array(places, np.int32).reshape(-1, 3)

    @classmethod
    def overlapping(
        cls, pictures: Pictures, crop: tuple[int, int], least: tuple[int, int], size: tuple[int, int] | None = None
    ) -> Tiles:
        """Tiles that overlap by `crop` less one, so that every crop of a picture lies in a tile.

        size: of the tiles; None: the largest that all pictures of at least `least` hold, up to twice `crop`. The larger
        the tiles, the fewer pixels are stored more than once; those below `least` would take too much, and do not overlap."""
        if size is None:
            height, width = 2 * crop[0], 2 * crop[1]
            for i in range(len(pictures)):
                try:
                    header = pictures.header(i)
                except Broken:
                    continue
                if header.height >= least[0] and header.width >= least[1]:
                    height, width = min(height, header.height), min(width, header.width)
            size = height, width
        enough = size[0] >= least[0] and size[1] >= least[1]
        return cls(pictures, size, (crop[0] - 1, crop[1] - 1) if enough else (0, 0))

    def __len__(self) -> int:
        return len(self.places)

    def name(self, i: int) -> str:
        picture, top, left = self.places[i].tolist()
        return f"{self.pictures.name(picture)} from {left},{top}"

    def stamp(self) -> Any:
        return ["tiles", self.size, *([self.overlap] if any(self.overlap) else []), self.pictures.stamp()]

    def header(self, i: int) -> Header:
        header = self._header(int(self.places[i, 0]))
        if header.height < self.size[0] or header.width < self.size[1]:
            raise Broken(f"is {header.width}x{header.height}: smaller than a tile of {self.size[1]}x{self.size[0]}")
        return header._replace(height=self.size[0], width=self.size[1])

    def deep(self, i: int) -> np.ndarray | None:
        return None

    def load(self, i: int) -> Image.Image:
        picture, top, left = self.places[i].tolist()
        return self._whole(picture).crop((left, top, left + self.size[1], top + self.size[0]))


def _evenly(side: int, part: int, overlap: int) -> list[int]:
    """Where parts begin that cover a side; nowhere where it is shorter than one."""
    count = max(-(-(side - overlap) // (part - overlap)), 1) if side >= part else 0
    return [round(i * (side - part) / max(count - 1, 1)) for i in range(count)]
