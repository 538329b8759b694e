from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update
from ganvas.objectives.penalties import clip_weights, gradient_penalty


@final
class DualGAN(Method):
    """DualGAN: Unsupervised Dual Learning for Image-to-Image Translation. Yi, Zhang, Tan and Gong, 2017, arXiv:1704.02510.

    L_D = E[D_b(G_ab(a, z))] - E[D_b(b)] + E[D_a(G_ba(b, z'))] - E[D_a(a)]                    (equations 1 and 2)
    L_G = a_weight |G_ba(G_ab(a, z), z') - a|_1 - E[D_b(G_ab(a, z))]
        + b_weight |G_ab(G_ba(b, z'), z) - b|_1 - E[D_a(G_ba(b, z'))]                         (equation 3)

    The critics take `n_critic` steps for each of the generators', after each of which their weights are clipped (Algorithm 1).
    There is no z but dropout in the generators, which stays on when the model is used.

    Differs from the paper: nothing. (The authors' code punishes the critics' gradients in place of clipping their weights:
    `gp_weight`, `clip=null`. Batch norm, where the generators have any, has the statistics of the one image, as in pix2pix.)
    """

    ema_networks = ("G_ab", "G_ba")
    discriminators = ("D_a", "D_b")
    directions: Sequence[str] = ("b", "a")
    G_ab: Any  # a network that tells what its images' sides must be multiples of as `multiple`

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
        """`a_weight`, `b_weight`: lambda_U and lambda_V. `clip`: what the critics' weights are held within; null: nothing."""
        super().__init__()
        self.G_ab, self.G_ba = (G(channels_in=shape.channels, channels_out=shape.channels) for _ in range(2))
        self.D_a, self.D_b = (D(size=shape.size, channels=shape.channels) for _ in range(2))
        self.a_weight, self.b_weight = a_weight, b_weight
        self.n_critic, self.clip, self.gp_weight = n_critic, clip, gp_weight
        self.multiple: int = self.G_ab.multiple
        self.players = {"G": [self.G_ab, self.G_ba], "D": [self.D_a, self.D_b]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        """Algorithm 1."""
        for _ in range(self.n_critic):
            real = next(feed)
            yield Update("D", self.d_loss, real)
            if self.clip is not None:
                clip_weights(self.D_a, self.clip)
                clip_weights(self.D_b, self.clip)
        yield Update("G", (self.a_loss, self.b_loss), real)

    def a_loss(self, real: Batch) -> Terms:
        """The generators' loss on the images of domain a."""
        return self.there_and_back(real.a, self.G_ab, self.G_ba, self.D_b, self.a_weight)

    def b_loss(self, real: Batch) -> Terms:
        """The generators' loss on the images of domain b."""
        return self.there_and_back(real.b, self.G_ba, self.G_ab, self.D_a, self.b_weight)

    def there_and_back(self, x: Tensor, there: nn.Module, back: nn.Module, judge: nn.Module, weight: float) -> Terms:
        fake = there(x)
        score, cycle = judge(fake).float().mean(), l1_loss(back(fake), x)
        return Terms(weight * cycle - score, {"score": score, "cycle": cycle})

    def d_loss(self, real: Batch) -> Terms:
        """Each critic judges by itself, so one descent of the sum is a descent of both."""
        losses, log = [], {}
        for to, D, G, x, y in (("b", self.D_b, self.G_ab, real.a, real.b), ("a", self.D_a, self.G_ba, real.b, real.a)):
            fake = G(x)
            d_real, d_fake = D(y).float().mean(), D(fake).float().mean()
            losses.append(d_fake - d_real)
            log[f"wasserstein_{to}"] = d_real - d_fake
            if self.gp_weight:
                log[f"gp_{to}"] = gradient_penalty(D, y, fake)
                losses.append(self.gp_weight * log[f"gp_{to}"])
        return Terms(torch.stack(losses).sum(), log)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        G = {"b": self.G_ab, "a": self.G_ba}[to]
        return torch.cat([G(one) for one in x.split(1)])  # each with statistics of its own

    def train(self, mode: bool = True) -> Self:
        """The generators are always as in training."""
        super().train(mode)
        self.G_ab.train()
        self.G_ba.train()
        return self
