"""ESRGAN's generator with PixelShuffle, which its first code has as an option."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.nets.super_resolution import RRDBNet


class ShuffledRRDBNet(RRDBNet):
    """`RRDBNet` whose `ups` enlargements, `step` times each, are by PixelShuffle.

    step: 2 or 3; `scale` is `step` ** `ups`
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        blocks: int = 23,
        growth: int = 32,
        step: int = 2,
        out: int | None = None,
        ups: int = 2,
    ) -> None:
        super().__init__(channels, width, blocks, growth, 1 << ups, out, ups)
        self.step, self.scale = step, step**ups
        for name in self.ups:
            self.add_module(name, nn.Conv2d(width, width * step**2, 3, padding=1))

    def enlarged(self, h: Tensor, conv: nn.Module) -> Tensor:
        """Enlarge features h [N, width, H, W] `step` times."""
        return F.pixel_shuffle(conv(h), self.step)
