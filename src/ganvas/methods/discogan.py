"""DiscoGAN: unpaired translation with reconstruction and feature matching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, final

from torch import nn
from torch.nn.functional import mse_loss

from ganvas.core import Batch, Clock, Length, Plan, Shape, Terms, Update
from ganvas.methods.base import UnpairedTranslation, require_positive
from ganvas.objectives.adversarial import bce, discriminator_log
from ganvas.objectives.feature_matching import mean_features


@final
class DiscoGAN(UnpairedTranslation):
    """Learning to Discover Cross-Domain Relations with Generative Adversarial Networks.

    Kim et al., 2017, arXiv:1703.05192.

    L_G = (1 - r) (gan_weight L_GAN(G_ab, D_b) + features_weight L_FM(G_ab, D_b))
        + r |G_ba(G_ab(a)) - a|^2
        + the same from b to a                                               (section 2)

    L_GAN is the cross entropy, L_FM is feature matching on D's inner layers (the
    authors' code). Of three iterations, each with its own images, D takes the first and
    G the others. r is small in the first iterations, so that G learns to generate
    images of the other domain before it learns to reconstruct its input.

    The paper's two baselines are included for comparison: `gan` translates from a to b
    only and reconstructs nothing; `recongan` reconstructs its input, but no
    discriminator sees the reconstruction.

    Differs from the paper: the weights, r, feature matching and the order of the turns
    are the authors' code's, on which the paper is silent. Translation uses batch norm's
    running statistics, theirs those of the test batch.
    """

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        model: Literal["discogan", "recongan", "gan"] = "discogan",
        gan_weight: float = 0.1,
        features_weight: float = 0.9,
        early: float = 0.01,
        late: float = 0.5,
        curriculum: Length = 10_000,
        d_every: int = 3,
    ) -> None:
        """Build the networks for `shape`. D returns (logits, features).

        early, late: r in the first `curriculum` iterations, and after them
        curriculum: iterations, those of D and of G counted alike
        d_every: D takes one iteration of this many
        """
        super().__init__()
        require_positive(d_every=d_every)
        self.build_networks(
            lambda: G(channels_in=shape.channels, channels_out=shape.channels),
            lambda: D(size=shape.size, channels=shape.channels),
        )
        self.model, self.gan_weight, self.features_weight = model, gan_weight, features_weight
        self.early, self.late, self.curriculum, self.d_every = early, late, curriculum, d_every
        self.directions = ("b", "a") if model == "discogan" else ("b",)

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """`d_every` iterations of the authors' code."""
        first = clock.step * self.d_every
        yield Update("D", self.d_loss, next(batches))
        for iteration in range(first + 1, first + self.d_every):
            r = self.early if iteration < self.curriculum else self.late
            losses = [partial(self.g_loss, to=to, r=r) for to in self.directions]
            yield Update("G", losses, next(batches))

    def g_loss(self, real: Batch, to: str, r: float) -> Terms:
        """Translation to domain `to` and reconstruction of its input."""
        x, y, forward, backward, D = self.direction(real, to)
        fake = forward(x)
        (_, wanted), (logits, features) = D(y), D(fake)
        log = {"adversarial": bce(logits, True), "features": mean_features(features, wanted)}
        loss = self.gan_weight * log["adversarial"] + self.features_weight * log["features"]
        if self.model == "gan":
            return Terms(loss, log)
        # A quarter: the authors compare pixels in [0, 1].
        log["reconstruction"] = mse_loss(backward(fake), x) / 4
        return Terms((1 - r) * loss + r * log["reconstruction"], log)

    def discriminator_loss(self, batch: Batch, to: str) -> Terms:
        """-E[log D(y)] / 2 - E[log(1 - D(G(x)))] / 2."""
        x, y, forward, _, D = self.direction(batch, to)
        (d_real, _), (d_fake, _) = D(y), D(forward(x))
        loss = (bce(d_real, True) + bce(d_fake, False)) / 2
        return Terms(loss, {to: loss, **discriminator_log(d_real, d_fake)})
