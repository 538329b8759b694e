from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update
from ganvas.objectives.adversarial import lsgan
from ganvas.objectives.image_pool import ImagePool


@final
class CycleGAN(Method):
    """Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks. Zhu et al., 2017, arXiv:1703.10593.

    L = L_LSGAN(G_ab, D_b) + L_LSGAN(G_ba, D_a)                                            (equation 1, section 4)
      + cycle_weight (|G_ba(G_ab(a)) - a|_1 + |G_ab(G_ba(b)) - b|_1)                       (equation 2)
      + identity_weight cycle_weight (|G_ab(b) - b|_1 + |G_ba(a) - a|_1)                   (section 5.2)

    The generators move first; then each discriminator judges the pictures that they had just made, mixed with older ones
    from a pool of 50, at half weight (section 4).

    Differs from the paper: nothing. (The identity loss, which the paper uses for paintings and photographs, is on by
    default as in the authors' code; `identity_weight=0` computes none of it.)
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
        cycle_weight: float = 10.0,
        identity_weight: float = 0.5,
        pool: int = 50,
    ) -> None:
        super().__init__()
        self.G_ab, self.G_ba = (G(channels_in=shape.channels, channels_out=shape.channels) for _ in range(2))
        self.D_a, self.D_b = (D(channels=shape.channels) for _ in range(2))
        self.pool_a, self.pool_b = ImagePool(pool), ImagePool(pool)
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        self.multiple: int = self.G_ab.multiple
        self.players = {"G": [self.G_ab, self.G_ba], "D": [self.D_a, self.D_b]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        real = next(feed)
        made = (yield Update("G", (self.a_loss, self.b_loss), real)).outputs
        old = real.having(fake_a=self.pool_a(made["fake_a"]), fake_b=self.pool_b(made["fake_b"]))
        yield Update("D", self.d_loss, old)

    def a_loss(self, real: Batch) -> Terms:
        """The generators' loss on the images of domain a."""
        return self.there_and_back(real.a, self.G_ab, self.G_ba, self.D_b, "fake_b")

    def b_loss(self, real: Batch) -> Terms:
        """The generators' loss on the images of domain b."""
        return self.there_and_back(real.b, self.G_ba, self.G_ab, self.D_a, "fake_a")

    def there_and_back(self, x: Tensor, there: nn.Module, back: nn.Module, judge: nn.Module, fake_name: str) -> Terms:
        fake = there(x)
        adversarial = lsgan(judge(fake), 1.0)
        cycle = l1_loss(back(fake), x)
        loss, log = adversarial + self.cycle_weight * cycle, {"adversarial": adversarial, "cycle": cycle}
        if self.identity_weight:
            log["identity"] = l1_loss(back(x), x)
            loss = loss + self.identity_weight * self.cycle_weight * log["identity"]
        return Terms(loss, log, {fake_name: fake.detach()})

    def d_loss(self, old: Batch) -> Terms:
        """Each discriminator judges by itself, so one descent of the sum is a descent of both."""
        log = {}
        for name, D, real, fake in (("a", self.D_a, old.a, old.fake_a), ("b", self.D_b, old.b, old.fake_b)):
            d_real, d_fake = D(real), D(fake)
            log[name] = (lsgan(d_real, 1.0) + lsgan(d_fake, 0.0)) / 2
        return Terms(log["a"] + log["b"], log)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        return {"b": self.G_ab, "a": self.G_ba}[to](x)
