"""WGAN-GP: a penalty on the critic's gradients in place of clipped weights."""

# pyright: reportPossiblyUnboundVariable=false
# `updates` uses `real` after a loop of at least one turn.

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from torch import nn

from ganvas.core import Batch, Clock, Plan, Shape, Terms, Update
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.objectives.penalties import gradient_penalty


@final
class WGANGP(NoiseToImage):
    """Improved Training of Wasserstein GANs.

    Gulrajani et al., 2017, arXiv:1704.00028.

    L = E[D(G(z))] - E[D(x)] + lambda E[(|grad D(x_hat)|_2 - 1)^2]          (equation 3)

    `wasserstein` in the log is E[D(x)] - E[D(G(z))]: an estimate of the distance, up to
    the critic's scale.

    Differs from the paper: its CIFAR-10 code dequantizes the reals with U(0, 1/128),
    which is left out, and samples with batch norm's statistics of the batch; here they
    are the running ones of training. `g_batch=2` draws twice the critic's batch for the
    generator, as that code does.
    """

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        n_critic: int = 5,
        gp_weight: float = 10.0,
        g_batch: int = 2,
    ) -> None:
        """Build the networks for `shape`.

        n_critic: the critic's updates for each update of the generator (Algorithm 1)
        gp_weight: lambda (section 4)
        g_batch: the generator's batch in critic batches (the authors' code)
        """
        super().__init__()
        require_positive(n_critic=n_critic, g_batch=g_batch)
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=shape.channels)
        self.n_critic, self.gp_weight, self.g_batch = n_critic, gp_weight, g_batch
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Algorithm 1."""
        for _ in range(self.n_critic):
            real = next(batches)
            yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        """L (equation 3)."""
        fake = self.sample(len(real))
        d_real, d_fake = self.D(real.x).float().mean(), self.D(fake).float().mean()
        gp = gradient_penalty(self.D, real.x, fake)
        loss = d_fake - d_real + self.gp_weight * gp
        return Terms(loss, {"wasserstein": d_real - d_fake, "gp": gp})

    def g_loss(self, real: Batch) -> Terms:
        """-E[D(G(z))], on a batch of `g_batch` times the size."""
        return Terms(-self.D(self.sample(self.g_batch * len(real))).float().mean())
