"""Write scientific TIFF files by bands, marked as generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import IO

import numpy as np

from ganvas.media.encode import Rows
from ganvas.media.provenance import SOFTWARE, STATEMENT, TIFF_XMP, Label
from ganvas.media.tiff import Stack, Tag, library

TILE = 512  # pixels
BIG = 0xFFFFFFFF - (1 << 26)  # bytes from which offsets need 64 bits


def write(
    file: IO[bytes],
    images: Sequence[Callable[[], Rows]],
    kind: np.dtype,
    size: int,
    label: Label,
    like: Stack | None = None,
    scale: int = 1,
) -> None:
    """Write a TIFF file of images, marked as generated: deflate, tiles.

    images: each makes one image when its turn comes, in bands
    kind: type of the values
    size: bytes of all their pixels
    like: a stack whose layout of channels, description and tags are taken over
    scale: size of the images over that of the stack
    """
    # A name is given, since temporary files have none.
    handle = library().FileHandle(file, mode="wb", name="image.tif")
    with library().TiffWriter(handle, bigtiff=size > BIG) as out:
        for number, make in enumerate(images):
            image = make()
            separate = like is not None and like.separate and image.channels > 1
            tags: list[Tag] = []
            description = None
            if number == 0:
                packet = label.packet()
                tags.append(Tag(TIFF_XMP, 1, len(packet), packet))
                described = like.description(scale, image.channels, kind) if like else None
                description = (STATEMENT if described is None else described).encode()
            tags += like.tags(scale) if like else []
            how = {
                "dtype": kind,
                "tile": (TILE, TILE),
                "compression": "zlib",
                "predictor": kind.kind in "iu",
                "software": SOFTWARE,
                "metadata": None,
                **(like.resolution(scale) if like else {}),
            }
            if not separate:
                color = image.channels in (3, 4) and kind.kind == "u"
                extra = image.channels - (3 if color else 1)
                out.write(
                    _tiles(image),
                    shape=(image.height, image.width, image.channels)
                    if image.channels > 1
                    else (image.height, image.width),
                    photometric="rgb" if color else "minisblack",
                    planarconfig="contig" if image.channels > 1 else None,
                    extrasamples=["unspecified"] * extra,
                    description=description,
                    extratags=tags,
                    **how,
                )
                continue
            whole = np.concatenate(list(image.counted()))
            for channel in range(image.channels):
                out.write(
                    _tiles(image._replace(bands=[whole[..., channel : channel + 1]])),
                    shape=(image.height, image.width),
                    photometric="minisblack",
                    description=description,
                    extratags=tags,
                    **how,
                )
                description, tags = None, tags[1:] if number == channel == 0 else tags


def _tiles(image: Rows) -> Iterator[np.ndarray]:
    """Tiles [TILE, TILE, C] of an image, without C for one channel; zeros beyond."""
    for strip in image.strips(TILE):
        for left in range(0, image.width, TILE):
            part = strip[:, left : left + TILE]
            tile = np.zeros((TILE, TILE, part.shape[2]), part.dtype)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile[..., 0] if tile.shape[2] == 1 else tile
