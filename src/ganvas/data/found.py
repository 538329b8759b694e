"""Batches of the images that a layout has found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ganvas.core.errors import UserError
from ganvas.core.guards import plural
from ganvas.data.arrays import Arrays
from ganvas.data.cache import Options, load_or_decode
from ganvas.data.feed import Feed
from ganvas.data.info import Info, Task
from ganvas.data.measured import require_equal_stacks
from ganvas.data.pictures import Selection
from ganvas.data.streaming.feed import is_streamed, streamed_feed
from ganvas.data.tiles import Tiles
from ganvas.media.values import Values


def feed_of(
    task: Task,
    found: Selection,
    size: tuple[int, int] | None,
    load: tuple[int, int] | None,
    channels: int | None,
    flip: bool,
    strict: bool,
    labels: bool,
    direction: Literal["a2b", "b2a"] = "a2b",
    white: int | None = None,
    values: Values | None = None,
) -> Feed:
    """Decode the images of a selection, and describe them.

    found: the images
    size: (height, width) of the images in batches; None: their own
    load: (height, width) in which they are stored, for random crops; None: `size`
    labels: whether batches hold them
    values: of measurements, see `measured.as_measured`
    others: see `ganvas.data.images`

    Raises `UserError` for images that do not go together.
    """
    if values is None and channels not in (None, 1, 3, 4):
        raise UserError(f"got {channels} channels; expected 1 (gray), 3 (RGB) or 4 (RGBA)")
    if load and size and (load[0] < size[0] or load[1] < size[1]):
        raise UserError(
            f"image smaller than the crop: load is {load[0]}x{load[1]} and size "
            f"{size[0]}x{size[1]} (height x width). Give a load of at least the size, or none."
        )
    if is_streamed(found):
        return streamed_feed(task, found, size, load, channels, flip, strict, labels, direction)
    streams: dict[str, Sequence] = {k: [p] for k, p in found.sets.items()}
    if "b" in found.sets and task == "pairs":
        require_equal_stacks(found.sets["a"], found.sets["b"])
        streams = {"ab": [found.sets["a"], found.sets["b"]]}
    how = Options(load or size, channels, size, white, values)
    decoded = load_or_decode(streams, how, found.title)
    if strict and decoded.skipped:
        raise UserError(
            f"{plural(decoded.count, 'image')} of {found.title} cannot be used: {decoded.named()}"
        )
    first = next(iter(decoded.pixels.values()))
    height, width = size or first.shape[1:3]
    channels_count = first.shape[3] // len(next(iter(streams.values())))
    notes = list(found.notes)
    if decoded.skipped:
        notes.append(f"{plural(decoded.count, 'image')} cannot be used, skipped: {decoded.named()}")
    if decoded.enlarged:
        small = f"{plural(decoded.enlarged, 'image')} smaller than {width}x{height}"
        if strict:
            raise UserError(
                f"{small}: give a smaller size, or leave strict out to have them enlarged"
            )
        notes.append(f"{small}, enlarged")
    x = found.sets.get("x")
    labeled = labels and x is not None and "x" in decoded.labels
    origins = [i.image_set if isinstance(i, Tiles) else i for i in found.sets.values()]
    if white is not None and channels_count > 1 and not any(isinstance(i, Arrays) for i in origins):
        notes.append(
            f"white={white} applies to gray images of more than 8 bits; color images are read in 8 "
            "bits"
        )
    counts = {k: len(p) for k, p in decoded.pixels.items()}
    info = Info(
        task=task,
        source=found.title,
        layout=found.layout,
        part=found.part,
        channels=channels_count,
        height=height,
        width=width,
        count=max(counts.values()),
        fingerprint=decoded.fingerprint,
        classes=x.classes if labeled and x is not None else (),
        counts=counts if task == "domains" else {},
        skipped=decoded.skipped,
        skipped_count=decoded.count,
        notes=tuple(notes),
        values=values,
    )
    return Feed(
        info,
        decoded.pixels,
        decoded.labels["x"] if labeled else None,
        flip=flip,
        direction=direction,
    )
