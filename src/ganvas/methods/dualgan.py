"""DualGAN: unpaired translation with Wasserstein critics."""

# pyright: reportPossiblyUnboundVariable=false
# `updates` uses `real` after a loop of at least one turn.

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self, final

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Plan, Shape, Terms, Update
from ganvas.methods.base import Direction, UnpairedTranslation, require_positive
from ganvas.objectives.penalties import clip_weights, gradient_penalty


@final
class DualGAN(UnpairedTranslation):
    """DualGAN: Unsupervised Dual Learning for Image-to-Image Translation.

    Yi, Zhang, Tan and Gong, 2017, arXiv:1704.02510.

    L_D = E[D_b(G_ab(a, z))] - E[D_b(b)]
        + E[D_a(G_ba(b, z'))] - E[D_a(a)]                            (equations 1 and 2)
    L_G = a_weight |G_ba(G_ab(a, z), z') - a|_1 - E[D_b(G_ab(a, z))]
        + b_weight |G_ab(G_ba(b, z'), z) - b|_1 - E[D_a(G_ba(b, z'))]       (equation 3)

    The critics take `n_critic` steps for each step of the generators. Each of these
    steps ends with the clipping of the critics' weights (Algorithm 1). z is dropout in
    the generators, which stays on in use.

    Differs from the paper: batch norm, if the generators have any, uses the statistics
    of the one image, as in pix2pix. The authors' code penalizes the critics' gradients
    in place of clipping their weights: `gp_weight`, `clip=null`.
    """

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        a_weight: float = 500.0,
        b_weight: float = 500.0,
        n_critic: int = 3,
        clip: float | None = 0.01,
        gp_weight: float = 0.0,
    ) -> None:
        """Build the networks for `shape`.

        a_weight, b_weight: lambda_U and lambda_V
        n_critic: the critics' updates for each update of the generators
        clip: bound on the absolute value of the critics' weights; None: no clipping
        gp_weight: weight of the gradient penalty; 0: no penalty
        """
        super().__init__()
        require_positive(n_critic=n_critic)
        self.build_networks(
            lambda: G(channels_in=shape.channels, channels_out=shape.channels),
            lambda: D(size=shape.size, channels=shape.channels),
        )
        self.a_weight, self.b_weight = a_weight, b_weight
        self.n_critic, self.clip, self.gp_weight = n_critic, clip, gp_weight

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Algorithm 1."""
        for _ in range(self.n_critic):
            real = next(batches)
            yield Update("D", self.d_loss, real)
            if self.clip is not None:
                clip_weights(self.D_a, self.clip)
                clip_weights(self.D_b, self.clip)
        yield Update("G", (self.a_loss, self.b_loss), real)

    def a_loss(self, real: Batch) -> Terms:
        """The generators' loss on the images of domain a."""
        return self.translate_and_reconstruct(self.direction(real, "b"), self.a_weight)

    def b_loss(self, real: Batch) -> Terms:
        """The generators' loss on the images of domain b."""
        return self.translate_and_reconstruct(self.direction(real, "a"), self.b_weight)

    def translate_and_reconstruct(self, direction: Direction, weight: float) -> Terms:
        """The terms of L_G in one direction (equation 3)."""
        x, _, forward, backward, discriminator = direction
        fake = forward(x)
        score, cycle = discriminator(fake).float().mean(), l1_loss(backward(fake), x)
        return Terms(weight * cycle - score, {"score": score, "cycle": cycle})

    def discriminator_loss(self, batch: Batch, to: str) -> Terms:
        """The terms of L_D of one critic (equations 1 and 2), with any penalty."""
        x, y, forward, _, D = self.direction(batch, to)
        fake = forward(x)
        d_real, d_fake = D(y).float().mean(), D(fake).float().mean()
        loss, log = d_fake - d_real, {f"wasserstein_{to}": d_real - d_fake}
        if self.gp_weight:
            log[f"gp_{to}"] = gradient_penalty(D, y, fake)
            loss = loss + self.gp_weight * log[f"gp_{to}"]
        return Terms(loss, log)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Each image by itself, since batch norm uses the statistics of its batch."""
        return torch.cat([super(DualGAN, self).translate(one, to) for one in x.split(1)])

    def train(self, mode: bool = True) -> Self:
        """Keep the generators in training mode."""
        super().train(mode)
        self.G_ab.train()
        self.G_ba.train()
        return self
