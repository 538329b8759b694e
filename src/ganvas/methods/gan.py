"""The GAN of 2014, on which all others build."""

# pyright: reportPossiblyUnboundVariable=false
# `updates` uses `real` after a loop of at least one turn.

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Curve, Plan, Shape, Terms, Update, rng
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.objectives.adversarial import bce, discriminator_log


@final
class GAN(NoiseToImage):
    """Generative Adversarial Nets.

    Goodfellow et al., 2014, arXiv:1406.2661.

    min_G max_D  E_x[log D(x)] + E_z[log(1 - D(G(z)))]                      (equation 1)

    The generator descends -log D(G(z)) instead, as section 3 advises and the authors'
    code does: the fixed point is the same, and the gradient does not vanish while the
    discriminator wins.

    Differs from the paper: z is uniform in [-sqrt(3), sqrt(3)], as in the authors'
    library (variance 1). The generator's output bias starts at 0, not at the data's
    marginals. `steps` is k = 1 as in every experiment of the paper, which holds
    back 10,000 of MNIST's training images.
    """

    curve: Curve = "linear"  # z is uniform

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        steps: int = 1,
    ) -> None:
        """Build the networks for `shape`.

        steps: k of Algorithm 1, D's updates for each update of G
        """
        super().__init__()
        require_positive(steps=steps)
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=shape.channels)
        self.steps = steps
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Algorithm 1."""
        for _ in range(self.steps):
            real = next(batches)
            yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        """-E[log D(x)] - E[log(1 - D(G(z)))] (equation 1)."""
        fake = self.sample(len(real))
        d_real, d_fake = self.D(real.x), self.D(fake)
        return Terms(bce(d_real, True) + bce(d_fake, False), discriminator_log(d_real, d_fake))

    def g_loss(self, real: Batch) -> Terms:
        """-E[log D(G(z))] (section 3)."""
        return Terms(bce(self.D(self.sample(len(real))), True))

    def latent(self, n: int) -> Tensor:
        """U(-sqrt(3), sqrt(3)), [n, latent]."""
        return (2 * rng.uniform(n, self.G.latent, device=self.device) - 1) * 3**0.5
