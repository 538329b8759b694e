"""The graph of one forward pass, and where its values are stored."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.core.errors import OutputError
from ganvas.inference.tiling.ops import KEPT, Step, Window


class OnDisk:
    """An image in a file without a name, which goes when it is no longer needed or the process ends. In rows of pixels."""

    def __init__(
        self, channels: int, sides: tuple[int, int], kind: Any = np.float32, folder: Path | None = None
    ) -> None:
        self.channels, self.sides, self.kind = channels, sides, np.dtype(kind)
        self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115 (closed with this object)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def _rows(self, window: Window, pixels: np.ndarray) -> Iterator[np.ndarray]:
        """Lines of pixels that lie together, the file being where each begins."""
        whole = window.sides[1] == self.sides[1]
        for i, line in enumerate([pixels] if whole else pixels):
            place = (window.rows[0] + i) * self.sides[1] + window.columns[0]
            self._file.seek(place * self.channels * self.kind.itemsize)
            yield line

    def write(self, window: Window, pixels: np.ndarray) -> None:
        """[h, w, C]. Raises `OutputError` where the disk is full."""
        try:
            for line in self._rows(window, np.ascontiguousarray(pixels, self.kind)):
                left = line.data.cast("B")
                while left:
                    left = left[self._file.write(left) :]
        except OSError as e:
            raise OutputError(
                f"what a large picture is made of could not be stored: {e.strerror or e}. It takes up to "
                f"{KEPT * 16} bytes a pixel for a while: free some space, or set TMPDIR to a folder that has it"
            ) from None

    def read(self, window: Window) -> Tensor:
        """[1, C, h, w], channels last in memory."""
        pixels = np.empty((*window.sides, self.channels), self.kind)
        for line in self._rows(window, pixels):
            left = line.data.cast("B")
            while left:
                got = self._file.readinto(left)
                assert got, "a part is read that was never written"
                left = left[got:]
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def stored(pixels: np.ndarray, folder: Path | None = None) -> OnDisk:
    """An image, uint8 or uint16 [H, W, C], put into a file."""
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
        return window.of(self.x)


_order = itertools.count()


class Node:
    """An image of the network: what it is made of and how, or where it is."""

    def __init__(
        self,
        channels: int,
        sides: tuple[int, int],
        step: Step | None = None,
        inputs: Sequence[Node] = (),
        source: OnDisk | InMemory | None = None,
    ) -> None:
        self.channels, self.sides, self.step, self.inputs, self.source = channels, sides, step, inputs, source
        self.order = next(_order)

    def reach(self, window: Window) -> Window:
        assert self.step is not None
        return Window(*(self.step.reach(span, axis) for axis, span in enumerate(window)))


def plan(node: Node, window: Window) -> dict[Node, Window]:
    """Of which image which part is needed for this one; every image stands before those that it is made of."""
    needed, waiting = {node: window}, {node}
    found: dict[Node, Window] = {}
    while waiting:
        latest = max(waiting, key=lambda n: n.order)  # all that needs it is planned already
        waiting.remove(latest)
        found[latest] = needed[latest]
        if latest.source is None:
            part = latest.reach(needed[latest])
            for before in latest.inputs:
                needed[before] = needed[before].around(part) if before in needed else part
                waiting.add(before)
    return found


def receptive_field(node: Node) -> tuple[float, int]:
    """(how far beyond itself a pixel in the middle reaches, in pixels of its own size; how many stored images it is made
    of)."""
    middle = Window(*((side // 2, side // 2 + 1) for side in node.sides))
    stored = {n: window for n, window in plan(node, middle).items() if n.source is not None}
    scales = [[a / b for a, b in zip(node.sides, n.sides, strict=True)] for n in stored]
    beyond = [(w * s - 1) / 2 for n, scale in zip(stored.values(), scales, strict=True) for w, s in zip(n.sides, scale)]
    return max(beyond, default=0.0), len(stored)
