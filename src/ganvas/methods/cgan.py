from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Curve, Method, Plan, Shape, Terms, Update, rng
from ganvas.core.errors import UserError
from ganvas.objectives.adversarial import bce, discriminator_log


@final
class CGAN(Method):
    """Conditional Generative Adversarial Nets. Mirza and Osindero, 2014, arXiv:1411.1784.

    min_G max_D  E_x[log D(x|y)] + E_z[log(1 - D(G(z|y)|y))]                                             (equation 2)

    The game of 2014 within every class: both players are told the label. The generator descends -log D(G(z|y)|y).

    Differs from the paper: the labels of generated images are those of the real minibatch, so that both players see the
    data's own shares; the paper does not say how they are drawn. z ~ U(-sqrt(3), sqrt(3)), as in the
    code of the GAN of 2014 that theirs is built on. The paper says "the unit hypercube"; with U[0, 1), whose squared mean is
    three times its variance, so that all z look alike to G, it drew one image of each class.
    """

    curve: Curve = "linear"  # z is uniform
    G: Any  # a network that tells the length of its noise as `latent`

    def __init__(self, shape: Shape, G: Callable[..., nn.Module], D: Callable[..., nn.Module]) -> None:
        super().__init__()
        if not shape.classes:
            raise UserError("cgan needs labelled images (a subfolder a class), and these have no labels")
        self.classes = shape.classes
        self.G = G(size=shape.size, channels=shape.channels, classes=shape.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=shape.classes)
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        real = next(feed)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        fake = self.G(self.latent(len(real)), real.y)
        d_real, d_fake = self.D(real.x, real.y), self.D(fake, real.y)
        return Terms(bce(d_real, True) + bce(d_fake, False), discriminator_log(d_real, d_fake))

    def g_loss(self, real: Batch) -> Terms:
        return Terms(bce(self.D(self.G(self.latent(len(real)), real.y), real.y), True))

    def latent(self, n: int) -> Tensor:
        """U(-sqrt(3), sqrt(3)), [n, latent]."""
        return (2 * rng.uniform(n, self.G.latent, device=self.device) - 1) * 3**0.5

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        z = self.latent(n) if z is None else z
        return self.G(z, rng.integers(n, self.classes, device=self.device) if y is None else y)
