"""Restored images as corrections of the damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.image_to_image import UNetGenerator


class Corrected(nn.Module):
    """Images x [N, C, H, W] in [-1, 1] -> x + net(x), limited to [-1, 1].

    What is intact need not be drawn again. The global skip connection of DeblurGAN,
    Kupyn et al., 2017, arXiv:1711.07064, section 3.2. `net`: images -> corrections of
    as many channels; sides as it takes them.

    Raises `UserError` for pairs of images of different channels.
    """

    def __init__(
        self,
        channels_in: int = 3,
        channels_out: int = 3,
        net: Callable[..., nn.Module] = UNetGenerator,
    ) -> None:
        super().__init__()
        if channels_in != channels_out:
            raise UserError(
                f"a restored image is the damaged one with corrections: both have the same "
                f"channels; got {channels_in} and {channels_out}. For other pairs take pix2pix"
            )
        self.net: Any = net(channels_in=channels_in, channels_out=channels_out)
        self.multiple: int = self.net.multiple

    def forward(self, x: Tensor) -> Tensor:
        """Restore images x [N, C, H, W] in [-1, 1]."""
        return (x + self.net(x)).clamp(-1, 1)
