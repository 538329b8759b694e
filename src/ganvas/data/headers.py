"""Scan the headers of image sets: what can be read, sizes and channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ganvas.core.errors import UserError, printable
from ganvas.core.guards import plural
from ganvas.data.decoding import decoding_threads, map_in_order
from ganvas.data.pictures import ImageSet, several
from ganvas.media.decode import Header
from ganvas.media.samples import Broken


def usable_headers(sets: Sequence[ImageSet], skipped: list[str]) -> Iterator[Header | None]:
    """Yield a header for each image or pair: the first's size, the channels of both.

    sets: one image set, or two of equal length
    skipped: receives "name: reason" of unreadable images, for which None is yielded

    Raises `UserError`, at the end, for pairs of different shapes.
    """

    def headers(i: int) -> list[Header] | Broken:
        both = []
        for p in sets:
            try:
                both.append(p.header(i))
            except Broken as e:
                return unreadable(p, i, e)
        return both

    differing = []
    for i, result in enumerate(
        map_in_order(headers, range(len(sets[0])), "reading headers", decoding_threads(sets))
    ):
        if isinstance(result, Broken):
            skipped.append(str(result))
            yield None
            continue
        if len(result) > 1 and unequal(*result):
            differing.append(
                " and ".join(f"{p.name(i)} ({h.width}x{h.height})" for p, h in zip(sets, result))
            )
        yield result[0]._replace(channels=max(h.channels for h in result))
    if differing:
        raise UserError(
            f"{plural(len(differing), 'pair')} of two shapes: {several(differing)}. Both images of "
            "a pair must have the same ratio of width to height; crop them, or train on them "
            "unpaired."
        )


def unequal(a: Header, b: Header) -> bool:
    """Whether the ratios of width to height of two images differ by more than 2%."""
    return abs(a.width * b.height - b.width * a.height) > 0.02 * a.width * b.height


def most_common_channels(counts: Counter[int]) -> int:
    """1 if all images are gray, 4 if more than half have alpha, else 3.

    counts: channels -> number of images
    """
    if set(counts) == {1}:
        return 1
    return 4 if counts[4] * 2 > counts.total() else 3


def common_size(counts: Counter[tuple[int, int]], title: str) -> tuple[int, int]:
    """(height, width) of all images. Raises `UserError` if their sizes differ.

    counts: (width, height) -> number of images
    """
    sizes = sorted(counts)
    if len(sizes) > 1:
        some = several([f"{w}x{h}" for w, h in sizes], 5)
        raise UserError(
            f"the images of {title} have {len(sizes)} different sizes ({some}): say which one to "
            "train at, as in size=64 (--size 64)"
        )
    return sizes[0][1], sizes[0][0]


def unreadable(image_set: ImageSet, i: int, e: Broken) -> Broken:
    """An error with the image's name in front, as notes for the user list it."""
    return Broken(f"{image_set.name(i)}: {printable(e)}")


def some_names(skipped: Sequence[str], count: int) -> str:
    """Some names of unreadable images and the number of the others."""
    some = sorted(skipped)[:10]
    return ", ".join(some) + (f" and {count - len(some)} more" if count > len(some) else "")


def two_in_one(headers: Sequence[Header]) -> bool:
    """Whether all images are twice as wide as high, as two images side by side are."""
    return all(1.9 * h.height <= h.width <= 2.1 * h.height for h in headers)
