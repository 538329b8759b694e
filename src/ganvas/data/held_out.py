"""Pairs of images that a run is measured on and does not train on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.core.errors import DataError
from ganvas.data import derived, label_maps, pairs, stacks, super_resolution
from ganvas.data.degradations import reduced
from ganvas.data.feed import Feed
from ganvas.data.info import Info
from ganvas.data.label_maps import color_name
from ganvas.data.layouts import find_images, find_pairs
from ganvas.data.measured import as_measured, values_of
from ganvas.data.open_source import Source, two_paths
from ganvas.data.pictures import ImageSet
from ganvas.data.reductions import find_reductions
from ganvas.data.stacked import files_of
from ganvas.media.samples import Broken, as_array, to_channels
from ganvas.media.values import Values

PAIRS, PIXELS = 200, 1 << 24  # that are measured at most; pixels of the targets
TEST_PARTS = ("test", "val")


@dataclass(frozen=True)
class HeldOut:
    """Pairs of images that a run does not train on.

    source, part: as of `feed.Info`
    count: pairs that `pairs` yields, of `total`
    least: the shortest side of their targets, pixels
    scale: sides of a target over those of its input
    channels: of the images
    steps: from -1 to 1 in a file, to which a saved image rounds; None: floats
    values: type and range of measurements; None: photographs
    pairs: yields (input [1, C, H / scale, W / scale], target [1, C, H, W]) in [-1, 1],
        in order of name
    """

    source: str
    part: str
    count: int
    total: int
    least: int
    scale: int
    channels: int
    steps: float | None
    values: Values | None
    pairs: Callable[[], Iterator[tuple[Tensor, Tensor]]]


def held_out(
    data: Callable[..., Feed], trained: Info, source: str | None = None, least: int = 1
) -> HeldOut | None:
    """Open the pairs of `source`, its test part if it has one.

    For super-resolution they are whole images, for other data what an epoch of the test
    part holds; the first by name, up to 200 pairs and 2^24 pixels of targets.

    data: what the run trains on, a partial of a function of `ganvas.data`
    trained: what the run trains on; decides the channels, and colors of label maps
    source: None: the test part of `data`
    least: sides in pixels, below which a target is left out

    Returns None if `data` are no pairs, or `source` is None and they have no test part.

    Raises:
    `UserError` for a source that cannot be opened, and `DataError` for one that has no
    such pairs.
    """
    assert isinstance(data, partial)
    settings = {
        name: p.default for name, p in inspect.signature(data.func).parameters.items()
    } | data.keywords
    openers = (derived, label_maps, pairs, stacks, super_resolution)
    if data.func not in openers or (source is None and settings["part"] == "test"):
        return None
    place: Source = settings["source"] if source is None else source
    if source is None and not _has_test_part(data.func, place):
        return None
    channels = trained.channels
    if data.func is super_resolution:
        return _whole(place, settings, trained, least)
    opening = {**data.keywords, "source": place, "part": "test", "load": None}
    if data.func is label_maps and settings["palette"] is None:
        opening |= {"palette": [color_name(color) for color in trained.palette]}
        opening["ids"] = trained.ids
    if trained.values is not None:
        opening["window"] = trained.values[:2]  # "type" may be another range there
    feed = data.func(**opening)
    _require_values(feed.info.source, feed.info.values, trained)
    info, sides = feed.info, (feed.info.height, feed.info.width)
    count = min(max(PIXELS // (sides[0] * sides[1]), 1), PAIRS, info.count)
    if info.channels != channels or min(sides) < least:
        raise DataError(
            f"{info.source} holds images of {info.channels} channels and {sides[1]}x{sides[0]} "
            f"pixels; expected {channels} channels, as the run trains on, and sides of at least "
            f"{least} pixels"
        )

    def opened() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in feed.batches(1, count):
            yield batch.a, batch.b

    return HeldOut(
        source=info.source,
        part=info.part,
        count=count,
        total=info.count,
        least=min(sides),
        scale=1,
        channels=channels,
        steps=65535 if data.func is stacks else _steps(info.values),
        values=info.values,
        pairs=opened,
    )


def _steps(values: Values | None) -> float | None:
    return 255 if values is None else values.steps


def _require_values(source: str, values: Values | None, trained: Info) -> None:
    """Raise `DataError` for images of another type than those of training."""
    if values is not None and trained.values is not None and values.type != trained.values.type:
        raise DataError(
            f"{source} holds {values.type}, and the run trains on {trained.values.type}: convert "
            "it to that type"
        )


def _has_test_part(opener: Callable[..., Any], source: Source) -> bool:
    """Whether a source has a part for tests; decodes nothing."""
    if opener is stacks:
        assert isinstance(source, str | Path)
        return files_of(Path(source), "test")[1] in TEST_PARTS
    both = opener in (pairs, label_maps) or two_paths(source) is not None
    if both:
        return find_pairs(source, "test").part in TEST_PARTS
    assert isinstance(source, str | Path)
    return find_images(source, "test", labels=False).part in TEST_PARTS


def _whole(source: Source, settings: dict[str, Any], trained: Info, least: int) -> HeldOut:
    """Whole images and their reductions, which are cut to multiples of the scale."""
    scale, white, degrade = settings["scale"], settings["white"], settings["degrade"]
    exist, window = two_paths(source) is not None, None
    if trained.values is not None:
        window = trained.values[:2]
    if exist:
        found, values = find_reductions(source, "test", scale, white, window, trained.channels)
    else:
        assert isinstance(source, str | Path)
        found = find_images(source, "test", labels=False, white=white)
        found, values = as_measured(found, window, white=white, channels=trained.channels)
    _require_values(found.title, values, trained)
    high = found.sets["b" if exist else "x"]
    chosen, shortest = _chosen([*found.sets.values()], values, found.title, scale, least)

    def image(images: ImageSet, i: int) -> Tensor:
        return _tensor(images, i, trained.channels, values)

    def opened() -> Iterator[tuple[Tensor, Tensor]]:
        for i in chosen:
            target = image(high, i)
            if exist:
                yield image(found.sets["a"], i), target
                continue
            height, width = (side // scale * scale for side in target.shape[2:])
            target = target[..., :height, :width]
            small = (
                reduced(target, scale, _steps(values))
                if degrade is None
                else degrade(target, np.array([i], np.uint64), scale)
            )
            yield small, target

    return HeldOut(
        source=found.title,
        part=found.part,
        count=len(chosen),
        total=len(high),
        least=shortest,
        scale=scale,
        channels=trained.channels,
        steps=_steps(values),
        values=values,
        pairs=opened,
    )


def _chosen(
    sets: Sequence[ImageSet], values: Values | None, title: str, scale: int, least: int
) -> tuple[Sequence[int], int]:
    """The first readable images with sides of `least` or more, and their shortest.

    sets: the images, after their reductions if these exist
    """
    chosen: list[int] = []
    total = shortest = 0
    for i in range(len(sets[-1])):
        try:
            height, width = [_pixels(images, i, values).shape[:2] for images in sets][-1]
        except (Broken, DataError):  # also NaN
            continue
        height, width = height // scale * scale, width // scale * scale
        if min(height, width) < least:
            continue
        total += height * width
        if chosen and (total > PIXELS or len(chosen) == PAIRS):
            break
        chosen.append(i)
        shortest = min(height, width, shortest or height)
    if not chosen:
        raise DataError(
            f"none of the images of {title} can be measured: expected sides of at least "
            f"{least} pixels"
        )
    return chosen, shortest


def _tensor(images: ImageSet, i: int, channels: int, values: Values | None) -> Tensor:
    """An image [1, C, H, W] in [-1, 1]."""
    try:
        pixels = _pixels(images, i, values, channels)
    except (Broken, DataError) as e:
        raise DataError(f"{images.name(i)} cannot be read: {e}") from None
    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    return x if values is not None else x.float() / 127.5 - 1


def _pixels(
    images: ImageSet, i: int, values: Values | None, channels: int | None = None
) -> np.ndarray:
    """An image, uint8 [H, W, C], or a measurement, float32 in [-1, 1].

    Raises `Broken`, and `DataError` for a measurement with NaN.
    """
    if values is not None:
        return values.to_unit(values_of(images, i))
    image = images.load(i)
    return as_array(image if channels is None else to_channels(image, channels))
