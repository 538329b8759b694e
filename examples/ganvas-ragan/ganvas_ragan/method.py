from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn
from torch.nn.functional import softplus

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update, distributed, rng


@final
class RaGAN(Method):
    """The relativistic discriminator: a key element missing from standard GAN.

    Jolicoeur-Martineau, 2018, arXiv:1807.00734.

    Section 4.2, RaSGAN: D says how much more real a real image is than generated ones
    are on average, and G wants the opposite.

        L_D = -E[log s(D(x) - E D(G(z)))] - E[log(1 - s(D(G(z)) - E D(x)))]
        L_G = -E[log s(D(G(z)) - E D(x))] - E[log(1 - s(D(x) - E D(G(z))))]

    Differs from the paper: the networks are those of the recipe.
    """

    G: Any  # a network with an attribute `latent`, the length of its noise

    def __init__(
        self, shape: Shape, G: Callable[..., nn.Module], D: Callable[..., nn.Module]
    ) -> None:
        super().__init__()
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=shape.channels)
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step of D, then one of G, on the same number of images."""
        real = next(batches)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, batch: Batch) -> Terms:
        real, fake = self.relative(batch)
        return Terms(softplus(-real).mean() + softplus(fake).mean())

    def g_loss(self, batch: Batch) -> Terms:
        real, fake = self.relative(batch)
        return Terms(softplus(-fake).mean() + softplus(real).mean())

    def relative(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores less the mean of the other kind's scores, over all processes: [N] each."""
        real, fake = self.D(batch.x), self.D(self.sample(len(batch)))
        return real - distributed.mean(fake.mean()), fake - distributed.mean(real.mean())

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return rng.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Generated images, [n, C, H, W]. There are no labels: `y` is None."""
        return self.G(self.latent(n) if z is None else z)
