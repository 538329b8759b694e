"""Batches of decoded images, as a pure function of a cursor.

A run therefore resumes exactly without the state of a random generator, and several
processes draw the same batches as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ganvas.core import Batch, rng
from ganvas.core.errors import UserError
from ganvas.data.crops import Crops, as_tensor, cut, gathered, turn
from ganvas.data.info import Info
from ganvas.data.order import fraction, hashed, shuffled_indices
from ganvas.data.streaming.shards import StreamedLabels, StreamedPixels

ON_DEVICE = 4 << 30  # bytes of pixels up to which an accelerator holds the whole data set


class Feed:
    """Batches of one data set.

    pixels: stream -> uint8, uint16 or float32 (in [-1, 1]) [N, H, W, C], or streamed
        from shards; H and W may exceed `info`'s, for random crops. The streams are "x"
        (images), "a" and "b" (domains), or "ab" (pairs: a and b are concatenated on the
        last axis, so that both get the same crop and flip)
    labels: int64 [N], of the stream "x", -1 for an image without one, or None
    flip: mirror half of the draws
    direction: "b2a" exchanges input and target of pairs

    Batches hold `x` (and `y`, labels) for images, `a` and `b` for domains, and `a`,
    `b`, `x` and `y` for pairs: a and x are the input, b and y the target. All images
    are float32 [n, C, H, W] in [-1, 1], channels last in memory.

    `derive`, if not None, computes the input of a pair from the stream "x", which is
    the target; the input is `scale` times smaller. `degrade`, if not None, does so in
    its place, at random: from the target and a seed for each image, uint64 [n]. After
    `split_reductions` the input is read with the target. `turn`: turn drawn crops,
    which must be square, by 0 to 3 quarters, equally often.
    """

    known: np.ndarray | None = None  # which images keep their label in `draw`; None: all
    scale: int = 1
    turn: bool = False
    derive: Callable[[Tensor], Tensor] | None = None
    degrade: Callable[[Tensor, np.ndarray], Tensor] | None = None

    def __init__(
        self,
        info: Info,
        pixels: Mapping[str, np.ndarray | StreamedPixels],
        labels: np.ndarray | StreamedLabels | None = None,
        *,
        flip: bool = False,
        direction: Literal["a2b", "b2a"] = "a2b",
    ) -> None:
        self.info, self._pixels, self._labels = info, pixels, labels
        self._flip, self._direction = flip, direction
        self._device_pixels: dict[tuple[str, str], Tensor] = {}  # (stream, device) -> pixels
        self._reductions: np.ndarray | None = None  # of the stream "x"

    def replace_nothing(self) -> None:
        """From now on an image of shards that cannot be read is a `DataError`.

        A training goes on with others in its place; a measurement would be wrong.
        """
        for pixels in self._pixels.values():
            if isinstance(pixels, StreamedPixels):
                pixels.collection.strict = True

    def split_reductions(self, scale: int) -> None:
        """Take the right of each image, `reductions.BesideReduction`, as its input."""
        both = self._pixels["x"]
        assert not isinstance(both, StreamedPixels)
        height, width = both.shape[1], both.shape[2] * scale // (scale + 1)
        self.scale, self._pixels = scale, {"x": both[:, :, :width]}
        self._reductions = both[:, : height // scale, width:]

    def draw(
        self,
        cursor: int,
        n: int,
        *,
        seed: int,
        rows: rng.Rows | None = None,
        resolution: int | None = None,
        device: torch.device | str | None = None,
    ) -> Batch:
        """Draw positions `cursor` to `cursor + n` of an endless stream of images.

        The stream holds every image once per epoch, in an order that (seed, epoch)
        decides (of shards: `order.LaneOrder`). The same arguments always give the same
        batch.

        rows: draw only these of the n
        resolution: longer side in pixels, by averaging over areas, if it is less than
            the data's
        device: of the tensors
        """
        return self.finish(
            self.pick(cursor, n, seed=seed, rows=rows, device=device), resolution, device
        )

    def pick(
        self,
        cursor: int,
        n: int,
        *,
        seed: int,
        rows: rng.Rows | None = None,
        device: torch.device | str | None = None,
    ) -> dict[str, Crops]:
        """The first half of `draw`, which another thread may run.

        It creates no tensors, since torch's threads for the tensors of one thread would
        slow down another's (docs/performance.md).
        """
        rows = rows or rng.Rows(0, n, n)
        assert rows.total == n, f"rows of a batch of {rows.total}, but {n} were drawn"
        crops: dict[str, Crops] = {}
        for stream, pixels in self._pixels.items():
            if isinstance(pixels, StreamedPixels):
                positions, index = pixels.batch(cursor, rows, seed, stream)
            else:
                positions = np.arange(cursor + rows.start, cursor + rows.stop, dtype=np.uint64)
                index = shuffled_indices(positions, len(pixels), seed, stream)
            chance = hashed(positions, rng.fold_in(seed, "augment", stream))
            down, across = fraction(chance >> np.uint64(33)), fraction(chance >> np.uint64(2))
            mirrored = (
                (chance & np.uint64(1)).astype(bool) if self._flip else np.zeros(len(index), bool)
            )
            seeds = hashed(positions, rng.fold_in(seed, "degrade", stream))
            turns = None
            if self.turn:
                key = rng.fold_in(seed, "turn", stream)
                turns = (hashed(positions, key) & np.uint64(3)).astype(np.int64)
            if self._lies_on(device):
                places = self._places(pixels, down, across)
                crops[stream] = Crops(index, None, seeds, places, mirrored, turns=turns)
                continue
            images, small = self._cropped(pixels, index, down, across)
            for part in (images, small) if self._flip else ():
                if part is not None:
                    part[mirrored] = part[mirrored, :, ::-1]
            if turns is not None:
                for part in (images, small):
                    if part is not None:
                        turn(part, turns)
            crops[stream] = Crops(index, images, seeds, reductions=small)
        return crops

    def finish(
        self,
        crops: Mapping[str, Crops],
        resolution: int | None = None,
        device: torch.device | str | None = None,
    ) -> Batch:
        """The second half of `draw`: tensors from crops."""
        fields: dict[str, Tensor] = {}
        for stream, p in crops.items():
            images: np.ndarray | Tensor | None = p.images
            if images is None:
                assert p.places is not None
                assert p.mirrored is not None
                size = (self.info.height, self.info.width)
                images = gathered(
                    self._on_device(stream, device), p.index, *p.places, p.mirrored, size
                )
                if p.turns is not None:
                    turn(images, p.turns)
            fields |= self._fields(
                stream, images, p.index, p.seeds, resolution, device, p.reductions
            )
            if self.known is not None:
                known = torch.from_numpy(self.known[p.index]).to(fields["y"].device)
                fields["y"] = fields["y"].where(known, -1)
        return Batch(**fields)

    @property
    def labeled(self) -> float:
        """Share of the images whose label `draw` tells; 1 for data without labels."""
        if self._labels is None:
            return 1.0
        if isinstance(self._labels, StreamedLabels):
            return self._labels.share
        has = self._labels >= 0
        return float((has if self.known is None else has & self.known).mean())

    def keep_labels(self, share: float, seed: int) -> None:
        """Hide labels from `draw` until only a share of all images has one.

        share: above 0 to 1, rounded up to whole images of each class. Images without a
            label count, so that a share above theirs hides nothing
        seed: decides which; a smaller share's images are among those of a larger one

        Raises `UserError` for a data set without labels, and for shards.
        """
        if isinstance(self._labels, StreamedLabels):
            raise UserError(
                f"labeled={share:g} hides labels, which are not in memory when they are read from "
                "shards: pack images without a label in a folder `unlabeled` beside the classes"
            )
        if self._labels is None or not (self._labels >= 0).any():
            raise UserError(
                f"labeled={share:g} hides labels, and {self.info.source} has none: sort the "
                "images into a folder for each class, or leave it out"
            )
        known = np.zeros(len(self._labels), bool)
        share = min(1.0, share / float((self._labels >= 0).mean()))
        for label in np.unique(self._labels[self._labels >= 0]).tolist():
            own = np.flatnonzero(self._labels == label)
            order = np.random.Generator(np.random.Philox(rng.fold_in(seed, "labels", label)))
            known[order.permutation(own)[: math.ceil(share * len(own))]] = True
        self.known = known
        note = f"{known.sum():,} of {len(known):,} images keep their label in training"
        self.info = replace(self.info, notes=(*self.info.notes, note))

    def fixed(self, n: int, *, seed: int = 0, device: torch.device | str | None = None) -> Batch:
        """Different images, at most all, without augmentation, chosen by the seed.

        n: number of images
        """
        fields: dict[str, Tensor] = {}
        n = min(n, *(len(p) for p in self._pixels.values()))
        for stream, pixels in self._pixels.items():
            key = rng.fold_in(seed, "fixed")
            if isinstance(pixels, StreamedPixels):
                index = pixels.order.some(n, key, stream)
            else:
                index = shuffled_indices(np.arange(n, dtype=np.uint64), len(pixels), key, stream)
            images, small = self._cropped(pixels, index)
            seeds = index.astype(np.uint64)
            fields |= self._fields(stream, images, index, seeds, None, device, small)
        return Batch(**fields)

    def batches(
        self,
        size: int,
        limit: int | None = None,
        *,
        side: str | None = None,
        device: torch.device | str | None = None,
    ) -> Iterator[Batch]:
        """Iterate over all images once, in order of name, without augmentation.

        limit: largest number of images
        side: "a" or "b": only this domain; None: both, until the shorter one ends
        """
        # Whether one stream holds both sides.
        paired = "ab" in self._pixels or self.derive is not None or self._reductions is not None
        chosen = {k: p for k, p in self._pixels.items() if side is None or k == side or paired}
        assert chosen, f"no side {side!r} among {', '.join(self._pixels)}"
        stop = min(limit if limit is not None else 1 << 62, *(len(p) for p in chosen.values()))
        for start in range(0, stop, size):
            index = np.arange(start, min(start + size, stop))
            fields: dict[str, Tensor] = {}
            for stream, pixels in chosen.items():
                images, small = self._cropped(pixels, index)
                seeds = index.astype(np.uint64)
                fields |= self._fields(stream, images, index, seeds, None, device, small)
            yield Batch(**fields)

    def raw(self) -> dict[str, np.ndarray]:
        """The stored images, [N, H, W, C], and `y`, labels [N], if there are any.

        Images that are stored larger, for random crops, are cropped to their center.
        Of type uint8, uint16 or float32; large data sets are mapped from disk. Raises
        `UserError` for shards, which do not fit in memory.
        """
        out: dict[str, np.ndarray] = {}
        h, w, c = self.info.height, self.info.width, self.info.channels
        for stream, pixels in self._pixels.items():
            if isinstance(pixels, StreamedPixels):
                raise UserError(
                    f"{self.info.source} is read from shards, and this needs all images at once: "
                    "give a folder of some of them"
                )
            top, left = (pixels.shape[1] - h) // 2, (pixels.shape[2] - w) // 2
            center = pixels[:, top : top + h, left : left + w]
            if stream == "ab":
                one, other = center[..., :c], center[..., c:]
                out |= (
                    {"a": one, "b": other} if self._direction == "a2b" else {"a": other, "b": one}
                )
            else:
                out[stream] = center
        assert not isinstance(self._labels, StreamedLabels)
        return out if self._labels is None else {**out, "y": self._labels}

    def at(self, stream: str, index: np.ndarray) -> np.ndarray:
        """The stored images `index` of a stream, [n, H, W, C], center crops."""
        return self._cropped(self._pixels[stream], index)[0]

    def _cropped(
        self,
        pixels: np.ndarray | StreamedPixels,
        index: np.ndarray,
        down: np.ndarray | None = None,
        across: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Crops of `pixels` [N, H, W, C], [n, h, w, C] of their type, and reductions.

        down, across: places of the crops in [0, 1); None: the center
        """
        h, w = self.info.height, self.info.width
        if pixels.shape[1:3] == (h, w):
            return pixels[index], None if self._reductions is None else self._reductions[index]
        center = np.full(len(index), np.nextafter(0.5, 0))
        top, left = self._places(
            pixels, center if down is None else down, center if across is None else across
        )
        if isinstance(pixels, StreamedPixels):  # no array to cut parts out of
            pixels, index = pixels[index], np.arange(len(index))
        out = cut(pixels, index, top, left, (h, w))
        if self._reductions is None:
            return out, None
        s = self.scale
        return out, cut(self._reductions, index, top // s, left // s, (h // s, w // s))

    def _places(
        self, pixels: np.ndarray | StreamedPixels, down: np.ndarray, across: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(top, left) of each crop in pixels, from its place in [0, 1).

        They are multiples of the scale if there are reductions.
        """
        step = 1 if self._reductions is None else self.scale
        room_h, room_w = pixels.shape[1] - self.info.height, pixels.shape[2] - self.info.width
        top, left = down * (room_h // step + 1), across * (room_w // step + 1)
        return step * top.astype(np.int64), step * left.astype(np.int64)

    def _lies_on(self, device: torch.device | str | None) -> bool:
        """Whether the device, an accelerator, holds the (at most `ON_DEVICE`) bytes."""
        if device is None or torch.device(device).type == "cpu" or self._reductions is not None:
            return False
        held = 0
        for pixels in self._pixels.values():
            if isinstance(pixels, StreamedPixels) or pixels.dtype != np.uint8:
                return False  # torch cannot cut crops out of uint16 everywhere
            held += pixels.nbytes
        return held <= ON_DEVICE

    def _on_device(self, stream: str, device: torch.device | str | None) -> Tensor:
        key = (stream, str(device))
        if key not in self._device_pixels:
            pixels = self._pixels[stream]
            assert isinstance(pixels, np.ndarray)
            self._device_pixels[key] = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
        return self._device_pixels[key]

    def _fields(
        self,
        stream: str,
        images: np.ndarray | Tensor,
        index: np.ndarray,
        seeds: np.ndarray,
        resolution: int | None,
        device: torch.device | str | None,
        reductions: np.ndarray | None,
    ) -> dict[str, Tensor]:
        x = as_tensor(images, device)
        h, w = self.info.height, self.info.width
        if resolution is not None and resolution < max(h, w):
            size = tuple(max(1, round(side * resolution / max(h, w))) for side in (h, w))
            x = torch.nn.functional.interpolate(x, size, mode="area")
        if stream == "ab":
            a, b = x.split(self.info.channels, 1)
            if self._direction == "b2a":
                a, b = b, a
            return {"a": a, "b": b, "x": a, "y": b}
        if reductions is not None:
            small = as_tensor(reductions, device)
            return {"a": small, "b": x, "x": small, "y": x}
        if self.derive is not None:
            derived = self.derive(x) if self.degrade is None else self.degrade(x, seeds)
            return {"a": derived, "b": x, "x": derived, "y": x}
        if self._labels is None:
            return {stream: x}
        return {stream: x, "y": torch.from_numpy(self._labels[index]).to(device)}
