"""BigGAN: class-conditional generation at a large scale, with truncation."""

# pyright: reportPossiblyUnboundVariable=false
# `updates` uses `real` after a loop of at least one turn.

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Plan, Shape, Terms, Update, rng
from ganvas.core.errors import UserError
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.nets.conditional import num_classes
from ganvas.nets.spectral import orthogonality, singular_values
from ganvas.nets.standing_stats import Standing
from ganvas.objectives.adversarial import hinge, mean_sign

STANDING_BATCH = 64  # images per batch of the standing statistics


@final
class BigGAN(NoiseToImage):
    """Large Scale GAN Training for High Fidelity Natural Image Synthesis.

    Brock et al., 2018, arXiv:1809.11096.

    SAGAN's game at a larger scale: hinge loss, spectral normalization in D and G,
    attention and several updates of D for each update of G. G has a further penalty
    that keeps its filters orthogonal, which makes truncation possible:

    R(W) = beta |W^T W * (1 - I)|_F^2                                       (equation 3)

    In evaluation, batch norm uses standing statistics: those of G's images at the
    requested truncation (section 3.1). `truncated` restricts z to [-t, t] by quantiles.
    The paper redraws z until it is inside; quantiles make images change smoothly with
    t.

    Differs from the paper: R is halved and computed on W W^T, outputs against outputs,
    as in ajbrock/BigGAN-PyTorch. `labels=false` trains without classes, which the paper
    does not.
    """

    partial_labels = True

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        n_critic: int = 2,
        ortho_weight: float = 1e-4,
        standing: int = 16,
        labels: bool = True,
        sigma_every: int = 100,
    ) -> None:
        """Build the networks for `shape`.

        n_critic: D's updates for each update of G, each with its own images
        ortho_weight: beta, on all weights of G except the embedding of the labels
        standing: batches of 64 images for the standing statistics; 0: use the running
            averages of training
        labels: train with classes; needs labeled data
        sigma_every: log singular values every this many steps; 0: never
        """
        super().__init__()
        require_positive(n_critic=n_critic)
        self.classes = num_classes(labels, shape.classes)
        self.G = G(size=shape.size, channels=shape.channels, classes=self.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=self.classes)
        self.n_critic, self.ortho_weight = n_critic, ortho_weight
        self.standing = Standing(standing)
        self.sigma_every, self.log_sigmas = sigma_every, False
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """The turns of section 3: `n_critic` updates of D, then one of G."""
        self.log_sigmas = bool(self.sigma_every) and clock.step % self.sigma_every == 0
        for _ in range(self.n_critic):
            real = next(batches)
            yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        """E[max(0, 1 - D(x, y))] + E[max(0, 1 + D(G(z), y'))], y' random."""
        y = self.sample_labels(len(real))
        fake = self.G(self.latent(len(real)), *y)
        d_real, d_fake = self.D(real.x, *self.conditioning(real)), self.D(fake, *y)
        log = {"sign": mean_sign(d_real), **(singular_values(self.D) if self.log_sigmas else {})}
        return Terms(hinge(d_real, True) + hinge(d_fake, False), log)

    def g_loss(self, real: Batch) -> Terms:
        """-E[D(G(z), y')] + R(W), y' random (equation 3)."""
        y = self.sample_labels(len(real))
        loss = -self.D(self.G(self.latent(len(real)), *y), *y).float().mean()
        log = singular_values(self.G) if self.log_sigmas else {}
        if self.ortho_weight:
            overlap = orthogonality(self.G, skip=("shared",))
            loss, log = loss + self.ortho_weight * overlap, {"overlap": overlap, **log}
        return Terms(loss, log)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Images without truncation: of all of N(0, I)."""
        return self.truncated(self.latent(n) if z is None else z, math.inf, y)

    def truncated(self, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        """Images of z with |z_i| at most `truncation`, above 0; infinity: no limit."""
        if not truncation > 0:
            raise UserError(
                f"truncation is {truncation}; give a number above 0 "
                "(0.5: likely images, 2: nearly all)"
            )
        self.standing(
            self.G,
            lambda G: self._generate(G, self.latent(STANDING_BATCH), truncation),
            truncation,
        )
        return self._generate(self.G, z, truncation, y)

    def _generate(
        self, G: nn.Module, z: Tensor, truncation: float, y: Tensor | None = None
    ) -> Tensor:
        z = rng.truncated(z, truncation) if math.isfinite(truncation) else z
        return G(z, *self.sample_labels(z.shape[0], y))
