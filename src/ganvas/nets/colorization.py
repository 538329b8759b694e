"""Colorization: generators of chroma that keep an image's lightness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.media.color import in_gamut, to_lab, to_rgb
from ganvas.nets.image_to_image import UNetGenerator


class Colouring(nn.Module):
    """Images -> the same lightness with the chroma that `net` predicts from it.

    Images [N, 3, H, W] in [-1, 1], of which the lightness counts. `net`: L / 50 - 1 [N,
    1, H, W] -> a and b over 110 [N, 2, H, W] in [-1, 1]. Sides as `net` takes them. The
    scaling is that of the authors' PyTorch code of pix2pix, Isola et al., 2017,
    arXiv:1611.07004. Chroma that sRGB does not have at this lightness is reduced to
    what it has, so that nothing is clipped and the lightness stays.
    """

    def __init__(
        self,
        channels_in: int = 3,
        channels_out: int = 3,
        net: Callable[..., nn.Module] = UNetGenerator,
    ) -> None:
        super().__init__()
        if channels_in != 3 or channels_out != 3:
            raise UserError(
                f"coloring makes color images, of 3 channels; the data has {channels_out}: give "
                "photographs"
            )
        self.net: Any = net(channels_in=1, channels_out=2)
        self.multiple: int = self.net.multiple

    def forward(self, x: Tensor) -> Tensor:
        """Color images x [N, 3, H, W] in [-1, 1], in float32 or better."""
        lightness = to_lab(_wide(x))[:, :1]
        ab = _wide(self.net(lightness / 50 - 1)) * 110
        return to_rgb(in_gamut(torch.cat([lightness, ab], 1)))


def _wide(x: Tensor) -> Tensor:
    """At least float32, also under autocast.

    Color curves are steeper than bf16 has digits.
    """
    return x if x.dtype == torch.float64 else x.float()
