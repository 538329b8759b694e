"""A `Feed` that reads shards while training goes on."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from ganvas.core.errors import DataError, UserError
from ganvas.core.guards import plural
from ganvas.data.feed import Feed
from ganvas.data.headers import most_common_channels, some_names
from ganvas.data.info import Info, Task
from ganvas.data.pictures import Selection
from ganvas.data.streaming.shards import Shards, StreamedLabels, StreamedPixels


def is_streamed(found: Selection) -> bool:
    """Whether all images of a selection lie in shards."""
    return all(isinstance(s, Shards) for s in found.sets.values())


def streamed_feed(
    task: Task,
    found: Selection,
    size: tuple[int, int] | None,
    load: tuple[int, int] | None,
    channels: int | None,
    flip: bool,
    strict: bool,
    labels: bool,
    direction: Literal["a2b", "b2a"],
) -> Feed:
    """The feed of a selection for which `is_streamed`; nothing is decoded yet.

    size, load: (height, width); see `ganvas.data.pairs`
    channels, flip, strict, labels, direction: see `ganvas.data.images`

    Raises `UserError` for images of different sizes without `size`; with `strict` also
    for shards that are missing and for images to be enlarged.
    """
    sets = {k: s for k, s in found.sets.items() if isinstance(s, Shards)}
    first = next(iter(sets.values()))
    notes, skipped = list(found.notes), []
    for s in dict.fromkeys(s.collection for s in sets.values()):
        s.strict = strict
        skipped += s.store.absent(s.shards)
    if skipped:
        what = f"{plural(len(skipped), 'shard')} of {found.title} cannot be read"
        if strict or len(skipped) == len(first.collection.shards):
            raise DataError(f"{what}: {some_names(skipped, len(skipped))}")
        notes.append(f"{what}, and others take their place: {some_names(skipped, len(skipped))}")
    size = size or _common_size(sets, found.title)
    least = load or size
    if any(s.smallest[0] < least[0] or s.smallest[1] < least[1] for s in sets.values()):
        small = f"some images are smaller than {least[1]}x{least[0]}"
        if strict:
            raise UserError(
                f"{small}: give a smaller size, or leave strict out to have them enlarged"
            )
        notes.append(f"{small}, enlarged")
    if channels is None:
        depths = [s.collection.facts.depths for s in sets.values()]
        channels = most_common_channels(sum(depths[1:], depths[0]))
    streams = {k: [s] for k, s in sets.items()}
    if task == "pairs" and "b" in sets:
        streams = {"ab": [sets["a"], sets["b"]]}
    pixels = {k: StreamedPixels(own, least, channels) for k, own in streams.items()}
    labeled = labels and "x" in sets and bool(first.classes)
    decided = [*(s.stamp() for s in sets.values()), size, load, channels, first.white, labeled]
    counts = {k: len(p) for k, p in pixels.items()}
    info = Info(
        task=task,
        source=found.title,
        layout=found.layout,
        part=found.part,
        channels=channels,
        height=size[0],
        width=size[1],
        count=max(counts.values()),
        fingerprint=hashlib.blake2b(json.dumps(decided).encode(), digest_size=16).hexdigest(),
        classes=first.classes if labeled else (),
        counts=counts if task == "domains" else {},
        notes=tuple(notes),
    )
    kept = StreamedLabels(first) if labeled else None
    return Feed(info, pixels, kept, flip=flip, direction=direction)


def _common_size(sets: dict[str, Shards], title: str) -> tuple[int, int]:
    """(height, width) of all images. Raises `UserError` if their sizes differ."""
    smallest, largest = {s.smallest for s in sets.values()}, {s.largest for s in sets.values()}
    if len(smallest | largest) > 1:
        (h, w), (high, wide) = min(smallest), max(largest)
        raise UserError(
            f"the images of {title} have different sizes ({w}x{h} to {wide}x{high}): say which one "
            "to train at, as in size=64 (--size 64)"
        )
    return smallest.pop()
