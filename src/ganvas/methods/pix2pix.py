from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Make, Method, Plan, Shape, Terms, Update
from ganvas.nets.layers import together
from ganvas.objectives.adversarial import bce, verdicts


@final
class Pix2Pix(Method):
    """Image-to-Image Translation with Conditional Adversarial Networks. Isola et al., 2017, arXiv:1611.07004.

    L = L_cGAN(G, D) + l1_weight |y - G(x)|_1                                                        (equation 4)

    D judges the output together with the input, and moves first, at half weight. There is no z: the noise is dropout in G,
    which stays on when the model is used, as does batch norm with the statistics of the one image (section 3.3).

    Differs from the paper: nothing.
    """

    directions: Sequence[str] = ("b",)
    G: Any  # a network that tells what its images' sides must be multiples of as `multiple`

    def __init__(
        self, shape: Shape, G: Callable[..., nn.Module], D: Callable[..., nn.Module], l1_weight: float = 100.0
    ) -> None:
        super().__init__()
        self.G = G(channels_in=shape.channels, channels_out=shape.channels)
        self.D = D(channels=2 * shape.channels)
        self.l1_weight, self.multiple = l1_weight, self.G.multiple
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        pair = next(feed)
        made = (yield Make("G", self.fake, pair)).keep
        judged = pair.having(**made)
        yield Update("D", self.d_loss, judged)
        yield Update("G", self.g_loss, judged)

    def fake(self, pair: Batch) -> dict[str, Tensor]:
        return {"fake": self.G(pair.x)}

    def d_loss(self, judged: Batch) -> Terms:
        real, fake = (torch.cat([judged.x, y], 1) for y in (judged.y, judged.fake))
        d_real, d_fake = together(self.D, (real,), (fake,))
        on_real, on_fake = bce(d_real, True), bce(d_fake, False)
        return Terms((on_real + on_fake) / 2, {"real": on_real, "fake": on_fake, **verdicts(d_real, d_fake)})

    def g_loss(self, judged: Batch) -> Terms:
        adversarial = bce(self.D(torch.cat([judged.x, judged.fake], 1)), True)
        l1 = l1_loss(judged.fake, judged.y)
        return Terms(adversarial + self.l1_weight * l1, {"adversarial": adversarial, "l1": l1})

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        return torch.cat([self.G(one) for one in x.split(1)])  # each with statistics of its own

    def train(self, mode: bool = True) -> Self:
        """G is always as in training."""
        super().train(mode)
        self.G.train()
        return self
