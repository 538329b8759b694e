"""SRResNet: super-resolution by the squared error of pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from ganvas.core import Batch, Clock, Plan, Shape, Terms, Update
from ganvas.methods.base import Enlargement


@final
class SRResNet(Enlargement):
    """Photo-Realistic Single Image Super-Resolution Using a GAN.

    Ledig et al., 2017, arXiv:1609.04802.

    The network without the game: min_G E (y - G(x))^2 over pixels (equation 4); x is y
    reduced. It has the best PSNR and smooth images, and is the start of SRGAN.

    Differs from the paper: high-resolution pixels are compared in [0, 1] (the paper:
    [-1, 1]), which is a factor of 4.
    """

    discriminators: Sequence[str] = ()
    distance: Callable[[Tensor, Tensor], Tensor]

    def __init__(self, shape: Shape, G: Callable[..., nn.Module], l1: bool = False) -> None:
        """Build the network for `shape`.

        l1: |y - G(x)| in place of its square (BasicSR)
        """
        super().__init__()
        self.build_generator(G, shape)
        self.distance = l1_loss if l1 else mse_loss
        self.players = {"G": [self.G]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One update of G; it has no opponent."""
        yield Update("G", self.loss, self.pair(batches))

    def loss(self, pair: Batch) -> Terms:
        """E[(y - G(x))^2] of pixels in [0, 1] (equation 4); E|y - G(x)| with `l1`."""
        return Terms(self.distance(self.G(pair.x), pair.y))
