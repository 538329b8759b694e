"""Compute a graph tile by tile within a memory budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ganvas.inference.tiling.graph import InMemory, Node, OnDisk, plan
from ganvas.inference.tiling.lazy_image import LazyImage
from ganvas.inference.tiling.ops import MIN_TILE, STORED_CHANNELS, Pointwise, Window, out_of_memory


class Tiles:
    """Compute images tile by tile.

    pixels: of the input or the output, whichever is larger
    budget: bytes of all images that a tile is computed from
    side: largest side of a tile; None: by budget
    folder: for temporary files; None: the system's
    """

    def __init__(
        self,
        pixels: int,
        device: torch.device,
        budget: int,
        side: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.pixels, self.device, self.budget, self.side, self.folder = (
            pixels,
            device,
            budget,
            side or 1 << 14,
            folder,
        )

    def image(self, source: Tensor | OnDisk) -> LazyImage:
        """The input image [1, C, H, W] of a forward pass."""
        if isinstance(source, Tensor):
            return LazyImage(
                self,
                Node(source.shape[1], (source.shape[2], source.shape[3]), source=InMemory(source)),
            )
        return LazyImage(self, Node(source.channels, source.sides, source=source))

    def compute(self, node: Node, window: Window) -> Tensor:
        """A window of an image: [1, C, h, w], on the device."""
        needed = plan(node, window)
        uses: dict[Node, int] = dict.fromkeys(needed, 0)
        for n in needed:
            for before in n.inputs if n.source is None else ():
                uses[before] += 1
        done: dict[Node, Tensor] = {}
        for n in reversed(needed):
            if n.source is not None:
                done[n] = n.source.read(needed[n]).to(self.device)
                continue
            assert n.step is not None
            part = n.reach(needed[n])
            parts = [
                part.of(done[before], (needed[before].rows[0], needed[before].columns[0]))
                for before in n.inputs
            ]
            done[n] = n.step.run(needed[n], *parts)
            del parts
            for before in n.inputs:
                uses[before] -= 1
                if not uses[before]:
                    del done[before]
        return done[node]

    def sweep(self, node: Node, area: Window | None = None) -> Iterator[tuple[Window, Tensor]]:
        """Compute an image, or an area of it, tile by tile.

        If a tile does not fit in memory, it and all later tiles are quartered.
        """
        area = area or Window((0, node.sides[0]), (0, node.sides[1]))
        waiting = deque(area.cut(self.tile_side(node)))
        while waiting:
            try:
                part = self.compute(node, waiting[0])
            except (RuntimeError, MemoryError) as e:
                longest = max(waiting[0].sides)
                if not out_of_memory(e) or longest <= MIN_TILE:
                    raise
                self.side = -(-longest // 2)
                waiting = deque(small for window in waiting for small in window.cut(self.side))
                part = None
            if part is None:  # outside the handler, which keeps the failed tensors alive
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            yield waiting.popleft(), part

    def tile_side(self, node: Node) -> int:
        """The largest power of two of a tile side that fits the budget."""
        side = min(self.side, 1 << (max(node.sides) - 1).bit_length())
        while side > 4 * MIN_TILE:
            corner = Window(*((0, min(side, s)) for s in node.sides))
            needed = plan(node, corner).items()
            if 4 * sum(n.channels * w.sides[0] * w.sides[1] for n, w in needed) <= self.budget:
                break
            side //= 2
        return side

    def store(self, node: Node) -> Iterator[Tensor]:
        """Compute an image tile by tile and store it, if it is not too large."""
        storage = None
        if (
            node.source is None
            and node.channels * node.sides[0] * node.sides[1] <= STORED_CHANNELS * self.pixels
        ):
            storage = OnDisk(node.channels, node.sides, folder=self.folder)
        for window, part in self.sweep(node):
            if storage is not None:
                storage.write(window, part[0].permute(1, 2, 0).float().cpu().numpy())
            yield part
        if storage is not None:
            node.source, node.step, node.inputs = storage, None, ()

    def settle(self, node: Node) -> None:
        """Store the inputs of the pointwise operations that lead to this image."""
        if node.source is not None:
            return
        if isinstance(node.step, Pointwise) and not _is_sum(node):
            for before in node.inputs:
                self.settle(before)
        elif node.channels * node.sides[0] * node.sides[1] <= STORED_CHANNELS * self.pixels:
            for _ in self.store(node):
                pass

    def statistics(self, node: Node) -> tuple[Tensor, Tensor]:
        """(mean, variance) of every channel over all pixels: [C] each."""
        count, mean, squares = (
            0,
            torch.zeros((), dtype=torch.float64),
            torch.zeros((), dtype=torch.float64),
        )
        for part in self.store(node):
            n = part.shape[2] * part.shape[3]
            m, var = (t.cpu().double() for t in _mean_and_variance(part.float()))
            delta, total = m - mean, count + n
            mean = mean + delta * (n / total)
            squares = squares + var * n + delta.square() * (count * n / total)
            count = total
        return mean.float().to(self.device), (squares / count).float().to(self.device)


def _mean_and_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] of every channel."""
    # On CPUs var_mean takes 30 times as long if channels come last.
    if x.device.type == "cpu":
        return torch.batch_norm_update_stats(x, None, None, 0.0)
    var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    return mean, var


def _is_sum(node: Node) -> bool:
    return len(node.inputs) > 1 and node.channels == max(n.channels for n in node.inputs)
