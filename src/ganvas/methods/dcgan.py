from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from ganvas import draw
from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update
from ganvas.objectives.adversarial import bce


@final
class DCGAN(Method):
    """Unsupervised Representation Learning with Deep Convolutional GANs. Radford et al., 2015, arXiv:1511.06434.

    The game of 2014 on strided convolutions with batch norm: D and G move in turn, one minibatch each, and batch norm sees
    real and generated images in separate batches (section 3 and the authors' code).

    Differs from the paper: 4x4 kernels and z ~ N(0, 1), as in PyTorch's well-known example, whose weights load as they are
    (the authors' code: 5x5, U(-1, 1)); no weight decay on D. Sides other than 64 px add or drop stages.
    """

    G: Any  # a network that tells the length of its noise as `latent`

    def __init__(self, shape: Shape, G: Callable[..., nn.Module], D: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=shape.channels)
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        real = next(feed)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        d_real, d_fake = self.D(real.x), self.D(self.sample(len(real)))
        accuracy = ((d_real > 0).float().mean() + (d_fake < 0).float().mean()) / 2
        return Terms(bce(d_real, True) + bce(d_fake, False), {"accuracy": accuracy})

    def g_loss(self, real: Batch) -> Terms:
        return Terms(bce(self.D(self.sample(len(real))), True))

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return draw.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.G(self.latent(n) if z is None else z)
