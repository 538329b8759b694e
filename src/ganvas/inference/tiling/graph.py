"""The graph of one forward pass, and the storage of its images."""

from __future__ import annotations

import itertools
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from ganvas.core.errors import OutputError
from ganvas.inference.tiling.ops import STORED_CHANNELS, Step, Window


class OnDisk:
    """An image in an unnamed temporary file, row by row, channels last.

    The file disappears with this object or with the process.
    """

    def __init__(
        self,
        channels: int,
        sides: tuple[int, int],
        dtype: DTypeLike = np.float32,
        folder: Path | None = None,
    ) -> None:
        self.channels, self.sides, self.dtype = channels, sides, np.dtype(dtype)
        self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    @property
    def whole(self) -> Window:
        """All pixels."""
        return Window((0, self.sides[0]), (0, self.sides[1]))

    def _rows(self, window: Window, pixels: np.ndarray) -> Iterator[np.ndarray]:
        """Contiguous runs of pixels, with the file positioned at the start of each."""
        whole = window.sides[1] == self.sides[1]
        for i, line in enumerate([pixels] if whole else pixels):
            offset = (window.rows[0] + i) * self.sides[1] + window.columns[0]
            self._file.seek(offset * self.channels * self.dtype.itemsize)
            yield line

    def write(self, window: Window, pixels: np.ndarray) -> None:
        """Write pixels [h, w, C]. Raises `OutputError` if the disk is full."""
        try:
            for line in self._rows(window, np.ascontiguousarray(pixels, self.dtype)):
                left = line.data.cast("B")
                while left:
                    left = left[self._file.write(left) :]
        except OSError as e:
            raise OutputError(
                "the intermediate results of a large image could not be stored: "
                f"{e.strerror or e}. They take up to {STORED_CHANNELS * 16} bytes a pixel: free "
                "some space, or set TMPDIR to a folder with more"
            ) from None

    def read(self, window: Window) -> Tensor:
        """Read a window: [1, C, h, w], channels last in memory."""
        pixels = np.empty((*window.sides, self.channels), self.dtype)
        for line in self._rows(window, pixels):
            left = line.data.cast("B")
            while left:
                got = self._file.readinto(left)
                assert got, "a window is read that was never written"
                left = left[got:]
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def stored(pixels: np.ndarray, folder: Path | None = None) -> OnDisk:
    """Write an image, uint8 or uint16 [H, W, C], to a temporary file."""
    height, width, channels = pixels.shape
    to = OnDisk(channels, (height, width), pixels.dtype, folder)
    for top in range(0, height, 256):
        part = pixels[top : top + 256]
        to.write(Window((top, top + len(part)), (0, width)), part)
    return to


class InMemory:
    """An image [1, C, H, W] in memory."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def read(self, window: Window) -> Tensor:
        """Crop to a window: [1, C, h, w]."""
        return window.of(self.x)


_order = itertools.count()


class Node:
    """An image of the forward pass: stored (`source`), or `step` of `inputs`."""

    def __init__(
        self,
        channels: int,
        sides: tuple[int, int],
        step: Step | None = None,
        inputs: Sequence[Node] = (),
        source: OnDisk | InMemory | None = None,
    ) -> None:
        self.channels, self.sides, self.step, self.inputs, self.source = (
            channels,
            sides,
            step,
            inputs,
            source,
        )
        self.order = next(_order)

    def reach(self, window: Window) -> Window:
        """The window of the inputs that a window of this image is computed from."""
        assert self.step is not None
        return Window(*(self.step.reach(span, axis) for axis, span in enumerate(window)))


def plan(node: Node, window: Window) -> dict[Node, Window]:
    """The windows of all images that a window of `node` is computed from.

    Each node comes before its inputs.
    """
    needed, waiting = {node: window}, {node}
    order: dict[Node, Window] = {}
    while waiting:
        latest = max(waiting, key=lambda n: n.order)  # all its users are planned already
        waiting.remove(latest)
        order[latest] = needed[latest]
        if latest.source is None:
            part = latest.reach(needed[latest])
            for before in latest.inputs:
                needed[before] = needed[before].around(part) if before in needed else part
                waiting.add(before)
    return order


def receptive_field(node: Node) -> tuple[float, int]:
    """(reach, count) of the stored images that a pixel is computed from.

    reach: distance from the pixel in the middle, in its own pixels
    count: number of stored images
    """
    middle = Window(*((side // 2, side // 2 + 1) for side in node.sides))
    stored = {n: window for n, window in plan(node, middle).items() if n.source is not None}
    scales = [[a / b for a, b in zip(node.sides, n.sides, strict=True)] for n in stored]
    beyond = [
        (w * s - 1) / 2
        for n, scale in zip(stored.values(), scales, strict=True)
        for w, s in zip(n.sides, scale)
    ]
    return max(beyond, default=0.0), len(stored)
