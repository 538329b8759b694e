"""Discriminators of several samples at once (PacGAN, arXiv:1712.04086)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Packed(nn.Module):
    """A discriminator of `pack` images at once (section 2).

    Images [N, C, H, W] -> logits [N / pack]: `pack` images are the channels of one.
    """

    def __init__(
        self, D: Callable[..., nn.Module], pack: int, channels: int, **size: object
    ) -> None:
        super().__init__()
        self.pack, self.D = pack, D(channels=pack * channels, **size)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, C, H, W] to logits [N / pack]."""
        return self.D(x.reshape(len(x) // self.pack, -1, *x.shape[2:]))
