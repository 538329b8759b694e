"""WGAN: the Wasserstein distance, by a critic with clipped weights."""

# pyright: reportPossiblyUnboundVariable=false
# `updates` uses `real` after a loop of at least one turn.

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from torch import nn

from ganvas.core import Batch, Clock, Plan, Shape, Terms, Update
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.objectives.penalties import clip_weights


@final
class WGAN(NoiseToImage):
    """Wasserstein GAN.

    Arjovsky, Chintala and Bottou, 2017, arXiv:1701.07875.

    max_w E_x[f_w(x)] - E_z[f_w(g(z))]                                     (Algorithm 1)

    Every weight of the critic is held within [-clip, clip].

    The critic takes `n_critic` steps for each step of the generator. It takes 100 for
    each of the generator's first 25 steps and for every 500th, so that it is near its
    optimum before the generator follows it (the authors' code).

    Differs from the paper: weights are clipped before each of the critic's steps, as in
    the authors' code, not after. Samples use the running statistics of batch norm (the
    authors' code: those of the batch).
    """

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
        """Build the networks for `shape`.

        n_critic: the critic's updates for each update of the generator
        clip: bound on the absolute value of the critic's weights
        long: the critic's updates for each of the generator's `first` updates and for
            every `every`-th update after them
        """
        super().__init__()
        require_positive(n_critic=n_critic, every=every)
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=shape.channels)
        self.n_critic, self.clip = n_critic, clip
        self.long, self.first, self.every = long, first, every
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Algorithm 1."""
        long = clock.step < self.first or clock.step % self.every == 0
        for _ in range(self.long if long else self.n_critic):
            clip_weights(self.D, self.clip)
            real = next(batches)
            yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        """E[f(g(z))] - E[f(x)]."""
        fake = self.sample(len(real))
        d_real, d_fake = self.D(real.x).float().mean(), self.D(fake).float().mean()
        return Terms(d_fake - d_real, {"wasserstein": d_real - d_fake})

    def g_loss(self, real: Batch) -> Terms:
        """-E[f(g(z))]."""
        return Terms(-self.D(self.sample(len(real))).float().mean())
