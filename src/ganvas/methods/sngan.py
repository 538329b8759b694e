"""SNGAN: spectral normalization of the discriminator."""

# pyright: reportPossiblyUnboundVariable=false
# `updates` uses `real` after a loop of at least one turn.

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from torch import nn

from ganvas.core import Batch, Clock, Plan, Shape, Terms, Update
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.nets.conditional import num_classes
from ganvas.nets.spectral import singular_values
from ganvas.objectives.adversarial import hinge, mean_sign


@final
class SNGAN(NoiseToImage):
    """Spectral Normalization for Generative Adversarial Networks.

    Miyato et al., 2018, arXiv:1802.05957.

    W_SN(W) = W / sigma(W) in every layer of D                              (equation 8)
    L_D = E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))],
    L_G = -E[D(G(z))]                                              (equations 16 and 17)

    With `labels`, the conditional form of the same authors: D adds the projection of
    its features on the label's embedding, and G has a batch norm for each class (cGANs
    with Projection Discriminator, arXiv:1802.05637).

    Differs from the paper: u of the power iteration moves once for each update of D, as
    Algorithm 1 says (the authors' code: at each forward pass). The authors' CIFAR-10
    code (pfnet-research/sngan_projection, e84b1a5) also adds noise of U(0, 1/128) to
    real images of 8 bits, has no bias in D's last layer and an epsilon of 2e-5 in batch
    norm (here 1e-5), and G moves before D. Samples use the running statistics of batch
    norm.
    """

    partial_labels = True

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        n_critic: int = 5,
        g_batch: int = 2,
        labels: bool = False,
        sigma_every: int = 100,
    ) -> None:
        """Build the networks for `shape`.

        n_critic: D's updates for each update of G
        g_batch: G's batch in D's batches
        labels: train within each class; needs labeled data
        sigma_every: log D's singular values every this many steps; 0: never
        """
        super().__init__()
        require_positive(n_critic=n_critic, g_batch=g_batch)
        self.classes = num_classes(labels, shape.classes)
        conditional = {"classes": self.classes} if labels else {}
        self.G = G(size=shape.size, channels=shape.channels, **conditional)
        self.D = D(size=shape.size, channels=shape.channels, **conditional)
        self.n_critic, self.g_batch = n_critic, g_batch
        self.sigma_every, self.log_sigmas = sigma_every, False
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """`n_critic` updates of D, then one of G (n_dis of section 4)."""
        self.log_sigmas = bool(self.sigma_every) and clock.step % self.sigma_every == 0
        for _ in range(self.n_critic):
            real = next(batches)
            yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        """L_D (equation 16)."""
        y = self.sample_labels(len(real))
        fake = self.G(self.latent(len(real)), *y)
        d_real, d_fake = self.D(real.x, *self.conditioning(real)), self.D(fake, *y)
        log = {"sign": mean_sign(d_real), **(singular_values(self.D) if self.log_sigmas else {})}
        return Terms(hinge(d_real, True) + hinge(d_fake, False), log)

    def g_loss(self, real: Batch) -> Terms:
        """L_G (equation 17)."""
        n = self.g_batch * len(real)
        y = self.sample_labels(n)
        return Terms(-self.D(self.G(self.latent(n), *y), *y).float().mean())
