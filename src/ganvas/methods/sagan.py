"""SAGAN: self-attention, spectral normalization and the hinge loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from torch import nn

from ganvas.core import Batch, Clock, Plan, Shape, Terms, Update
from ganvas.methods.base import NoiseToImage
from ganvas.nets.conditional import num_classes
from ganvas.nets.spectral import singular_values
from ganvas.objectives.adversarial import hinge, mean_sign


@final
class SAGAN(NoiseToImage):
    """Self-Attention Generative Adversarial Networks.

    Zhang et al., 2018, arXiv:1805.08318.

    o_j = v(sum_i beta_ji h(x_i)),   beta_ji = softmax_i(f(x_i)^T g(x_j)),
    y = gamma o + x                                                   (equations 1 to 3)
    L_D = E[max(0, 1 - D(x, y))] + E[max(0, 1 + D(G(z), y))],
    L_G = -E[D(G(z), y)]                                                    (equation 4)

    Spectral normalization in D and in G; one update each in turn, D's at a rate four
    times G's (sections 4.1 and 4.2).

    Differs from the paper: keys and values are pooled by 2x2, as in the authors' code.
    Equation 4's minimum with 0 is the same hinge. `labels=false` trains without
    classes, which the paper does not.
    """

    partial_labels = True

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        labels: bool = True,
        sigma_every: int = 100,
    ) -> None:
        """Build the networks for `shape`.

        labels: a batch norm for each class in G and projection in D; needs labeled data
        sigma_every: log singular values every this many steps; 0: never
        """
        super().__init__()
        self.classes = num_classes(labels, shape.classes)
        self.G = G(size=shape.size, channels=shape.channels, classes=self.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=self.classes)
        self.sigma_every, self.log_sigmas = sigma_every, False
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One update of D, then one of G (section 4.2)."""
        self.log_sigmas = bool(self.sigma_every) and clock.step % self.sigma_every == 0
        real = next(batches)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        """L_D (equation 4)."""
        y = self.sample_labels(len(real))
        fake = self.G(self.latent(len(real)), *y)
        d_real, d_fake = self.D(real.x, *self.conditioning(real)), self.D(fake, *y)
        log = {"sign": mean_sign(d_real), **(singular_values(self.D) if self.log_sigmas else {})}
        return Terms(hinge(d_real, True) + hinge(d_fake, False), log)

    def g_loss(self, real: Batch) -> Terms:
        """L_G (equation 4)."""
        y = self.sample_labels(len(real))
        score = self.D(self.G(self.latent(len(real)), *y), *y)
        return Terms(-score.float().mean(), singular_values(self.G) if self.log_sigmas else {})
