"""Compute a graph tile by tile within a memory budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ganvas.inference.tiling.graph import InMemory, Node, OnDisk, plan
from ganvas.inference.tiling.lazy_image import LazyImage
from ganvas.inference.tiling.ops import KEPT, MIN_TILE, Pointwise, Window, out_of_memory


class Tiles:
    """Computes images in parts. `pixels`: of the picture or of what is made of it, the larger. `side`: the longest that a part
    may have; None: what takes about `budget` bytes. `folder`: for files; None: the system's for such."""

    def __init__(
        self, pixels: int, device: torch.device, budget: int, side: int | None = None, folder: Path | None = None
    ) -> None:
        self.pixels, self.device, self.budget, self.side, self.folder = pixels, device, budget, side or 1 << 14, folder

    def picture(self, source: Tensor | OnDisk) -> LazyImage:
        """An image [1, C, H, W] to begin with."""
        if isinstance(source, Tensor):
            return LazyImage(self, Node(source.shape[1], (source.shape[2], source.shape[3]), source=InMemory(source)))
        return LazyImage(self, Node(source.channels, source.sides, source=source))

    def compute(self, node: Node, window: Window) -> Tensor:
        """[1, C, h, w], on the device."""
        needed = plan(node, window)
        uses: dict[Node, int] = dict.fromkeys(needed, 0)
        for n in needed:
            for before in n.inputs if n.source is None else ():
                uses[before] += 1
        made: dict[Node, Tensor] = {}
        for n in reversed(needed):
            if n.source is not None:
                made[n] = n.source.read(needed[n]).to(self.device)
                continue
            assert n.step is not None
            part = n.reach(needed[n])
            parts = [part.of(made[before], (needed[before].rows[0], needed[before].columns[0])) for before in n.inputs]
            made[n] = n.step.run(needed[n], *parts)
            del parts
            for before in n.inputs:
                uses[before] -= 1
                if not uses[before]:
                    del made[before]
        return made[node]

    def sweep(self, node: Node, area: Window | None = None) -> Iterator[tuple[Window, Tensor]]:
        """All of an image, or of an area of it, in parts. Where one does not fit memory, it is quartered, and so are those
        that follow."""
        area = area or Window((0, node.sides[0]), (0, node.sides[1]))
        waiting = deque(area.cut(self.fitting(node)))
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
            if part is None:  # outside of the handler, which keeps alive what was made in vain
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            yield waiting.popleft(), part

    def fitting(self, node: Node) -> int:
        """The side of parts of this image: a power of two, so that what they are made of fits the budget."""
        side = min(self.side, 1 << (max(node.sides) - 1).bit_length())
        while side > 4 * MIN_TILE:
            corner = Window(*((0, min(side, s)) for s in node.sides))
            needed = plan(node, corner).items()
            if 4 * sum(n.channels * w.sides[0] * w.sides[1] for n, w in needed) <= self.budget:
                break
            side //= 2
        return side

    def store(self, node: Node) -> Iterator[Tensor]:
        """A sweep over an image, which is a stored one from then on where it is not too large."""
        room = None
        if node.source is None and node.channels * node.sides[0] * node.sides[1] <= KEPT * self.pixels:
            room = OnDisk(node.channels, node.sides, folder=self.folder)
        for window, part in self.sweep(node):
            if room is not None:
                room.write(window, part[0].permute(1, 2, 0).float().cpu().numpy())
            yield part
        if room is not None:
            node.source, node.step, node.inputs = room, None, ()

    def settle(self, node: Node) -> None:
        """Have what this image is made of stored, but for operations on single pixels."""
        if node.source is not None:
            return
        if isinstance(node.step, Pointwise) and not _is_sum(node):
            for before in node.inputs:
                self.settle(before)
        elif node.channels * node.sides[0] * node.sides[1] <= KEPT * self.pixels:
            for _ in self.store(node):
                pass

    def statistics(self, node: Node) -> tuple[Tensor, Tensor]:
        """(mean, variance) of every channel over all pixels, [C] each."""
        count, mean, spread = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for part in self.store(node):
            n = part.shape[2] * part.shape[3]
            m, var = (t.cpu().double() for t in _mean_and_variance(part.float()))
            away, total = m - mean, count + n
            mean = mean + away * (n / total)
            spread = spread + var * n + away.square() * (count * n / total)
            count = total
        return mean.float().to(self.device), (spread / count).float().to(self.device)


def _mean_and_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of every channel. `var_mean` takes 30 times as long on a processor where channels come last."""
    if x.device.type == "cpu":
        return torch.batch_norm_update_stats(x, None, None, 0.0)
    var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    return mean, var


def _is_sum(node: Node) -> bool:
    return len(node.inputs) > 1 and node.channels == max(n.channels for n in node.inputs)
