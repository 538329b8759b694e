from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update, rng
from ganvas.objectives.penalties import clip_weights


@final
class WGAN(Method):
    """Wasserstein GAN. Arjovsky, Chintala and Bottou, 2017, arXiv:1701.07875.

    max_w E_x[f_w(x)] - E_z[f_w(g(z))], with every weight of the critic held within [-clip, clip]         (Algorithm 1)

    The critic takes `n_critic` steps for each of the generator's; 100 for the first 25 of the generator's and for every
    500th, so that it is near its best before the generator follows it (the authors' code).

    Differs from the paper: weights are clipped before each of the critic's steps, as in the authors' code, not after.
    Samples are made with the running statistics of batch norm (the authors' code: those of
    the batch).
    """

    G: Any  # a network that tells the length of its noise as `latent`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        n_critic: int = 5,
        clip: float = 0.01,
        long: int = 100,
        first: int = 25,
        every: int = 500,
    ) -> None:
        """`long`: the critic's steps for each of the generator's `first` and for every `every`-th of them after that."""
        super().__init__()
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=shape.channels)
        self.n_critic, self.clip = n_critic, clip
        self.long, self.first, self.every = long, first, every
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        """Algorithm 1."""
        lengthy = clock.step < self.first or clock.step % self.every == 0
        for _ in range(self.long if lengthy else self.n_critic):
            clip_weights(self.D, self.clip)
            real = next(feed)
            yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        fake = self.sample(len(real))
        d_real, d_fake = self.D(real.x).float().mean(), self.D(fake).float().mean()
        return Terms(d_fake - d_real, {"wasserstein": d_real - d_fake})

    def g_loss(self, real: Batch) -> Terms:
        return Terms(-self.D(self.sample(len(real))).float().mean())

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return rng.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.G(self.latent(n) if z is None else z)
