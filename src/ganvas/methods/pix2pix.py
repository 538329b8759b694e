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
    """Image-to-Image Translation with Conditional Adversarial Networks. Isola et al., 2017, arXiv:1611.07004.

    L = adversarial_weight L_cGAN(G, D) + l1_weight |y - G(x)|_1                                     (equation 4)

    D judges the output together with the input, and moves first, at half weight. There is no z: the noise is dropout in G,
    which stays on when the model is used, as does batch norm with the statistics of the one image (section 3.3). Either weight
    may be 0, and D may judge the output alone, as in table 1; without the adversarial loss there is no D's turn.

    Differs from the paper: nothing in the game. Images whose sides are not multiples of what G takes are mirrored at their
    right and lower borders until they are, and batch norm's statistics are of both. (`loss` "lsgan" is an option of the
    authors' PyTorch code.)
    """

    directions: Sequence[str] = ("b",)
    G: Any  # a network that tells what its images' sides must be multiples of as `multiple`

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
        """`loss`: what L_cGAN is, cross entropy (the paper) or least squares with targets 1 and 0 (arXiv:1611.04076).
        `conditional`: whether D sees the input, too (L_cGAN, equation 1), or the output alone (L_GAN, equation 2)."""
        super().__init__()
        self.G = G(channels_in=shape.channels, channels_out=shape.channels)
        self.D = D(channels=2 * shape.channels if conditional else shape.channels)
        self.conditional = conditional
        self.l1_weight, self.adversarial_weight = l1_weight, adversarial_weight
        self.loss: Literal["bce", "lsgan"] = loss
        self.multiple = self.G.multiple
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        pair = next(feed)
        if not self.adversarial_weight:
            yield Update("G", self.pixel_loss, pair)
            return
        made = (yield Forward("G", self.fake, pair)).outputs
        judged = pair.having(**made)
        yield Update("D", self.d_loss, judged)
        yield Update("G", self.g_loss, judged)

    def fake(self, pair: Batch) -> dict[str, Tensor]:
        return {"fake": self.G(pair.x)}

    def d_loss(self, judged: Batch) -> Terms:
        real, fake = (self.seen(judged.x, y) for y in (judged.y, judged.fake))
        d_real, d_fake = self.D(real), self.D(fake)
        on_real, on_fake = self.verdict(d_real, True), self.verdict(d_fake, False)
        middle = 0.5 if self.loss == "lsgan" else 0.0  # between what D should say of fake and of real
        log = {"real": on_real, "fake": on_fake, **discriminator_log(d_real - middle, d_fake - middle)}
        return Terms((on_real + on_fake) / 2, log)

    def g_loss(self, judged: Batch) -> Terms:
        adversarial = self.verdict(self.D(self.seen(judged.x, judged.fake)), True)
        l1 = l1_loss(judged.fake, judged.y)
        loss = self.adversarial_weight * adversarial + self.l1_weight * l1
        return Terms(loss, {"adversarial": adversarial, "l1": l1})

    def seen(self, x: Tensor, y: Tensor) -> Tensor:
        """What D judges."""
        return torch.cat([x, y], 1) if self.conditional else y

    def pixel_loss(self, pair: Batch) -> Terms:
        l1 = l1_loss(self.G(pair.x), pair.y)
        return Terms(self.l1_weight * l1, {"l1": l1})

    def verdict(self, scores: Tensor, real: bool) -> Tensor:
        return by_name(self.loss, scores, real)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        return torch.cat([self.G(one) for one in x.split(1)])  # each with statistics of its own

    def train(self, mode: bool = True) -> Self:
        """G is always as in training."""
        super().train(mode)
        self.G.train()
        return self
