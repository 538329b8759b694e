"""LSGAN: the squared error as the adversarial loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Forward, Plan, Shape, Terms, Update
from ganvas.methods.base import NoiseToImage
from ganvas.objectives.adversarial import discriminator_log, lsgan


@final
class LSGAN(NoiseToImage):
    """Least Squares Generative Adversarial Networks.

    Mao et al., 2017, arXiv:1611.04076.

    min_D  E[(D(x) - b)^2] / 2 + E[(D(G(z)) - a)^2] / 2
    min_G  E[(D(G(z)) - c)^2] / 2                                           (equation 2)

    Images on the right side of D's decision are pulled towards it as well, by how far
    they lie from it, where the loss of 2014 is already satisfied. a = 0 and b = c = 1
    are the paper's practical targets (equation 9); a = -1, b = 1, c = 0 minimize
    Pearson's chi^2 divergence (equation 8).

    Differs from the paper: the networks are DCGAN's.
    """

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        a: float = 0.0,
        b: float = 1.0,
        c: float = 1.0,
    ) -> None:
        """Build the networks for `shape`.

        a, b: D's targets for generated and for real images
        c: what G wants D to say of generated images
        """
        super().__init__()
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=shape.channels)
        self.a, self.b, self.c = a, b, c
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step of D, then one of G, on the same generated images."""
        real = next(batches)
        generated = (yield Forward("G", self.fake, real)).outputs
        batch = real.having(**generated)
        yield Update("D", self.d_loss, batch)
        yield Update("G", self.g_loss, batch)

    def fake(self, real: Batch) -> dict[str, Tensor]:
        """As many images as real ones."""
        return {"fake": self.sample(len(real))}

    def d_loss(self, batch: Batch) -> Terms:
        """Equation 2, first line."""
        d_real, d_fake = self.D(batch.x), self.D(batch.fake)
        loss = (lsgan(d_real, self.b) + lsgan(d_fake, self.a)) / 2
        middle = (self.a + self.b) / 2
        return Terms(loss, discriminator_log(d_real - middle, d_fake - middle))

    def g_loss(self, batch: Batch) -> Terms:
        """Equation 2, second line."""
        return Terms(lsgan(self.D(batch.fake), self.c) / 2)
