"""Pix2pix: translation learned from pairs, by an adversarial and an L1 loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Self, final

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Forward, Method, Plan, Shape, Terms, Update
from ganvas.objectives.adversarial import by_name, discriminator_log


@final
class Pix2Pix(Method):
    """Image-to-Image Translation with Conditional Adversarial Networks.

    Isola et al., 2017, arXiv:1611.07004.

    L = adversarial_weight L_cGAN(G, D) + l1_weight |y - G(x)|_1            (equation 4)

    D sees the output together with the input, and moves first, at half weight. There is
    no z: the noise is dropout in G, which stays on in use, as does batch norm with the
    statistics of the one image (section 3.3). Either weight may be 0, and D may see the
    output alone, as in table 1. Without the adversarial loss D has no turn.

    Differs from the paper: images whose sides are not multiples of what G takes are
    padded by reflection at their right and lower borders, and batch norm's statistics
    include the padding. `loss` "lsgan" is an option of the authors' PyTorch code.
    """

    directions: Sequence[str] = ("b",)
    G: Any  # a network with `multiple`, of which both sides must be multiples

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        l1_weight: float = 100.0,
        adversarial_weight: float = 1.0,
        loss: Literal["bce", "lsgan"] = "bce",
        conditional: bool = True,
    ) -> None:
        """Build the networks for `shape`.

        loss: L_cGAN: cross entropy (the paper), or least squares with targets 1 and 0
            (arXiv:1611.04076)
        conditional: D sees the input, too (L_cGAN, equation 1); False: the output alone
            (L_GAN, equation 2)
        """
        super().__init__()
        self.G = G(channels_in=shape.channels, channels_out=shape.channels)
        self.D = D(channels=2 * shape.channels if conditional else shape.channels)
        self.conditional = conditional
        self.l1_weight, self.adversarial_weight = l1_weight, adversarial_weight
        self.loss: Literal["bce", "lsgan"] = loss
        self.multiple = self.G.multiple
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """D, then G, on the same generated images; G alone if only L1 has a weight."""
        pair = next(batches)
        if not self.adversarial_weight:
            yield Update("G", self.pixel_loss, pair)
            return
        generated = (yield Forward("G", self.fake, pair)).outputs
        batch = pair.having(**generated)
        yield Update("D", self.d_loss, batch)
        yield Update("G", self.g_loss, batch)

    def fake(self, pair: Batch) -> dict[str, Tensor]:
        """G(x) by the name `fake`."""
        return {"fake": self.G(pair.x)}

    def d_loss(self, batch: Batch) -> Terms:
        """The mean of the losses on real and on generated images (section 3.3)."""
        real, fake = (self.d_input(batch.x, y) for y in (batch.y, batch.fake))
        d_real, d_fake = self.D(real), self.D(fake)
        loss_real, loss_fake = self.gan_loss(d_real, True), self.gan_loss(d_fake, False)
        middle = 0.5 if self.loss == "lsgan" else 0.0  # between the targets
        log = {"real": loss_real, "fake": loss_fake}
        log |= discriminator_log(d_real - middle, d_fake - middle)
        return Terms((loss_real + loss_fake) / 2, log)

    def g_loss(self, batch: Batch) -> Terms:
        """`adversarial_weight` L_cGAN + `l1_weight` |y - G(x)|_1 (equation 4)."""
        adversarial = self.gan_loss(self.D(self.d_input(batch.x, batch.fake)), True)
        l1 = l1_loss(batch.fake, batch.y)
        loss = self.adversarial_weight * adversarial + self.l1_weight * l1
        return Terms(loss, {"adversarial": adversarial, "l1": l1})

    def pixel_loss(self, pair: Batch) -> Terms:
        """`l1_weight` |y - G(x)|_1 (equation 3)."""
        l1 = l1_loss(self.G(pair.x), pair.y)
        return Terms(self.l1_weight * l1, {"l1": l1})

    def d_input(self, x: Tensor, y: Tensor) -> Tensor:
        """Input of D: x and y as channels of one image, or y alone."""
        return torch.cat([x, y], 1) if self.conditional else y

    def gan_loss(self, scores: Tensor, real: bool) -> Tensor:
        """Cross entropy or least squares of D's scores with the target `real`."""
        return by_name(self.loss, scores, real)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Each image by itself, since batch norm uses the statistics of its batch."""
        return torch.cat([self.G(one) for one in x.split(1)])

    def train(self, mode: bool = True) -> Self:
        """Keep G in training mode."""
        super().train(mode)
        self.G.train()
        return self
