"""Images and reductions of them that exist as files: two sets, matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from ganvas.core.errors import UserError
from ganvas.core.guards import plural
from ganvas.core.json_files import Json
from ganvas.data.layouts import find_pairs
from ganvas.data.measured import as_measured, require_equal_stacks
from ganvas.data.open_source import Source
from ganvas.data.pictures import ImageSet, Part, Selection, several
from ganvas.data.tiles import Tiles
from ganvas.media.decode import Header
from ganvas.media.samples import Broken
from ganvas.media.values import Span, Values


def find_reductions(
    source: Source,
    part: Part,
    scale: int,
    white: int | None = None,
    window: Span | None = None,
    channels: int | None = None,
) -> tuple[Selection, Values | None]:
    """Select reductions `a` and images `b` of "LOW,HIGH", whose names match.

    scale: sides of an image over those of its reduction
    white, window, channels: see `ganvas.data.images`

    Returns (the images, the range of measurements). Raises `UserError` that names the
    images without a partner, and those that are not exactly `scale` times as large as
    their reductions.
    """
    found, values = as_measured(
        find_pairs(source, part, white=white), window, white=white, channels=channels
    )
    require_equal_stacks(found.sets["a"], found.sets["b"])
    low, high = found.sets["a"], found.sets["b"]
    differing: list[str] = []
    factors: set[int | None] = set()
    for i in range(len(low)):
        try:
            small, large = low.header(i), high.header(i)
        except Broken:  # named when it is decoded
            continue
        factors.add(factor_of(small, large))
        if factor_of(small, large) != scale:
            differing.append(
                f"{low.name(i)} {small.width}x{small.height} and {high.name(i)} "
                f"{large.width}x{large.height}"
            )
    if differing:
        advice = "crop or remove these"
        if len(factors) == 1:
            (factor,) = factors
            advice = (
                f"all are {factor} times as large: --set data.scale={factor} --set G.scale={factor}"
                if factor
                else "give the folder of the small images first, as LOW,HIGH"
            )
        raise UserError(
            f"{plural(len(differing), 'pair')} of {found.title} (width x height): "
            f"{several(differing, 3)}. The second image must be exactly {scale} times as large as "
            f"the first; {advice}"
        )
    return replace(found, layout=f"{found.layout}, reductions and images"), values


def factor_of(small: Header, large: Header) -> int | None:
    """How many times as large an image is as another; None: no whole number."""
    factor = large.width // small.width
    exact = (small.width * factor, small.height * factor) == (large.width, large.height)
    return factor if factor and exact else None


def upscalers(scale: int, sides: Sequence[int]) -> list[tuple[str, int, str]]:
    """Recipes for pairs: (name, side of the crops, further settings).

    scale: how many times as large the second images are
    sides: the shorter sides of all images, of which half are the large ones
    """
    if scale < 2 or not sides:
        return []
    high = sorted(sides)[len(sides) // 2]
    settings = f" --set data.scale={scale} --set G.scale={scale}"
    crop = min(96, high * 3 // 4) // scale * scale
    found = [("compact", crop, settings)] if crop >= 4 * scale else []
    if scale in (2, 3, 4, 8) and high >= 192:
        found.append(("esrgan", 144, settings))
    return found


class BesideReduction:
    """Image set of tiles, each beside the tile of its reduction in one image.

    A tile of size [H, W] and its reduction are an image [H, W + W / scale], which has
    the reduction at its top right, so that the two are stored and skipped together.

    low: tiles of the reductions
    high: the images, in the order of the reductions
    scale: sides of an image over those of its reduction
    """

    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def __init__(self, low: Tiles, high: ImageSet, scale: int) -> None:
        self.low, self.high, self.scale = low, low.enlarged(high, scale), scale
        height, width = self.high.size
        self.size = height, width + low.size[1]

    def __len__(self) -> int:
        return len(self.high)

    def name(self, i: int) -> str:
        """That of the image's tile."""
        return self.high.name(i)

    def stamp(self) -> Json:
        """Of the tiles of both."""
        return ["beside", self.low.stamp(), self.high.stamp()]

    def header(self, i: int) -> Header:
        """The size of both, the mode of the tile. Raises `Broken` as `Tiles` does."""
        self.low.header(i)
        return self.high.header(i)._replace(height=self.size[0], width=self.size[1])

    def deep(self, i: int) -> np.ndarray | None:
        """None: `values` has more than 8 bits."""
        return None

    def values(self, i: int) -> np.ndarray:
        """Both tiles of measurements, [H, W + W / scale, C]. Raises `Broken`."""
        low, high = self.low.values(i), self.high.values(i)
        beside = np.zeros((high.shape[0], low.shape[1], low.shape[2]), low.dtype)
        beside[: low.shape[0]] = low
        return np.concatenate([high, beside], 1)

    def load(self, i: int) -> Image.Image:
        """Both tiles, in the mode of the image's."""
        low, high = self.low.load(i), self.high.load(i)
        both = Image.new(high.mode, (self.size[1], self.size[0]))
        both.paste(high, (0, 0))
        both.paste(low.convert(high.mode), (high.width, 0))
        return both
