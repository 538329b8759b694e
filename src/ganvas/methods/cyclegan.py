"""CycleGAN: unpaired translation with cycle consistency."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

from torch import nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Plan, Shape, Terms, Update
from ganvas.methods.base import Direction, UnpairedTranslation
from ganvas.nets.image_pool import ImagePool
from ganvas.objectives.adversarial import lsgan


@final
class CycleGAN(UnpairedTranslation):
    """Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks.

    Zhu et al., 2017, arXiv:1703.10593.

    L = L_LSGAN(G_ab, D_b) + L_LSGAN(G_ba, D_a)                  (equation 1, section 4)
      + cycle_weight (|G_ba(G_ab(a)) - a|_1 + |G_ab(G_ba(b)) - b|_1)       (equation 2)
      + identity_weight cycle_weight (|G_ab(b) - b|_1 + |G_ba(a) - a|_1)   (section 5.2)

    The generators move first. Then each discriminator moves, at half weight, on their
    latest images mixed with older ones from a pool of 50 (section 4).

    Differs from the paper: the identity loss, which the paper uses for paintings and
    photographs only, is on by default, as in the authors' code; `identity_weight=0`
    computes none of it.
    """

    d_order: Sequence[str] | None = ("a", "b")

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        cycle_weight: float = 10.0,
        identity_weight: float = 0.5,
        pool: int = 50,
    ) -> None:
        """Build the networks for `shape`.

        pool: generated images kept for each discriminator; 0: none
        """
        super().__init__()
        self.build_networks(
            lambda: G(channels_in=shape.channels, channels_out=shape.channels),
            lambda: D(channels=shape.channels),
        )
        self.pool_a, self.pool_b = ImagePool(pool), ImagePool(pool)
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """The turns of section 4: G, then D on images from the pools."""
        real = next(batches)
        new = (yield Update("G", (self.a_loss, self.b_loss), real)).outputs
        pooled = real.having(fake_a=self.pool_a(new["fake_a"]), fake_b=self.pool_b(new["fake_b"]))
        yield Update("D", self.d_loss, pooled)

    def a_loss(self, real: Batch) -> Terms:
        """The generators' loss on the images of domain a."""
        return self.translate_and_reconstruct(self.direction(real, "b"), "fake_b")

    def b_loss(self, real: Batch) -> Terms:
        """The generators' loss on the images of domain b."""
        return self.translate_and_reconstruct(self.direction(real, "a"), "fake_a")

    def translate_and_reconstruct(self, direction: Direction, output: str) -> Terms:
        """The terms of L in one direction; returns the translations as `output`."""
        x, _, forward, backward, discriminator = direction
        fake = forward(x)
        adversarial = lsgan(discriminator(fake), 1.0)
        cycle = l1_loss(backward(fake), x)
        loss = adversarial + self.cycle_weight * cycle
        log = {"adversarial": adversarial, "cycle": cycle}
        if self.identity_weight:
            log["identity"] = l1_loss(backward(x), x)
            loss = loss + self.identity_weight * self.cycle_weight * log["identity"]
        return Terms(loss, log, {output: fake.detach()})

    def discriminator_loss(self, batch: Batch, to: str) -> Terms:
        """E[(D(x) - 1)^2] / 2 + E[D(G(z))^2] / 2, on images of the pool (section 4)."""
        _, real, _, _, D = self.direction(batch, to)
        d_real, d_fake = D(real), D(getattr(batch, f"fake_{to}"))
        loss = (lsgan(d_real, 1.0) + lsgan(d_fake, 0.0)) / 2
        return Terms(loss, {to: loss})
