from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update, rng


@final
class LSGAN(Method):
    """Least Squares Generative Adversarial Networks. Mao et al., 2017, arXiv:1611.04076.

    Equation (9), a = 0 and b = c = 1:

        min_D  1/2 E[(D(x) - 1)²] + 1/2 E[D(G(z))²]
        min_G  1/2 E[(D(G(z)) - 1)²]

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
        d_real, d_fake = self.D(batch.x), self.D(self.sample(len(batch)))
        return Terms(((d_real - 1) ** 2).mean() / 2 + (d_fake**2).mean() / 2)

    def g_loss(self, batch: Batch) -> Terms:
        return Terms(((self.D(self.sample(len(batch))) - 1) ** 2).mean() / 2)

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return rng.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Generated images, [n, C, H, W]. There are no labels: `y` is None."""
        return self.G(self.latent(n) if z is None else z)
