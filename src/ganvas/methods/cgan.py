"""Conditional GAN: both networks take the label."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Curve, Plan, Shape, Terms, Update, rng
from ganvas.core.errors import UserError
from ganvas.methods.base import NoiseToImage
from ganvas.objectives.adversarial import bce, discriminator_log


@final
class CGAN(NoiseToImage):
    """Conditional Generative Adversarial Nets.

    Mirza and Osindero, 2014, arXiv:1411.1784.

    min_G max_D  E_x[log D(x|y)] + E_z[log(1 - D(G(z|y)|y))]                (equation 2)

    The game of 2014 within each class: both networks take the label. The generator
    descends -log D(G(z|y)|y).

    Differs from the paper: generated images have the labels of the real minibatch, so
    that both networks see the class frequencies of the data; the paper does not say how
    it draws labels. z ~ U(-sqrt(3), sqrt(3)), as in the code of the GAN of 2014 on
    which theirs is built. The paper says "the unit hypercube". With U[0, 1), G
    generated one image for each class: the squared mean of U[0, 1) is three times its
    variance, so all z look alike to G.
    """

    curve: Curve = "linear"  # z is uniform

    def __init__(
        self, shape: Shape, G: Callable[..., nn.Module], D: Callable[..., nn.Module]
    ) -> None:
        super().__init__()
        if not shape.classes:
            raise UserError(
                "cgan needs labeled images, and this data set has no labels: give a folder "
                "with one subfolder for each class"
            )
        self.classes = shape.classes
        self.G = G(size=shape.size, channels=shape.channels, classes=shape.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=shape.classes)
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Algorithm 1 of the GAN of 2014 with k = 1; both turns use the same labels."""
        real = next(batches)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        """-E[log D(x|y)] - E[log(1 - D(G(z|y)|y))] (equation 2)."""
        fake = self.G(self.latent(len(real)), real.y)
        d_real, d_fake = self.D(real.x, real.y), self.D(fake, real.y)
        return Terms(bce(d_real, True) + bce(d_fake, False), discriminator_log(d_real, d_fake))

    def g_loss(self, real: Batch) -> Terms:
        """-E[log D(G(z|y)|y)]."""
        return Terms(bce(self.D(self.G(self.latent(len(real)), real.y), real.y), True))

    def latent(self, n: int) -> Tensor:
        """U(-sqrt(3), sqrt(3)), [n, latent]."""
        return (2 * rng.uniform(n, self.G.latent, device=self.device) - 1) * 3**0.5
