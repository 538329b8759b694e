from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update, rng
from ganvas.nets.conditional import draw_labels, num_classes
from ganvas.nets.spectral import singular_values
from ganvas.objectives.adversarial import hinge, mean_sign


@final
class SAGAN(Method):
    """Self-Attention Generative Adversarial Networks. Zhang et al., 2018, arXiv:1805.08318.

    o_j = v(sum_i beta_ji h(x_i)),   beta_ji = softmax_i(f(x_i)^T g(x_j)),   y = gamma o + x       (equations 1 to 3)
    L_D = E[max(0, 1 - D(x, y))] + E[max(0, 1 + D(G(z), y))],   L_G = -E[D(G(z), y)]                     (equation 4)

    Spectral normalisation in D and in G; one update each in turn, D's at a rate four times G's (sections 4.1 and 4.2).

    Differs from the paper: keys and values are pooled by 2x2, as in the authors' code; equation 4's minimum with 0 is the
    same hinge. `labels=false` plays without classes, which the paper does not.
    """

    G: Any  # a network that tells the length of its noise as `latent`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        labels: bool = True,
        sigma_every: int = 100,
    ) -> None:
        """`labels`: batch norms of each class's own in G and projection in D; it needs labelled data. `sigma_every`: singular
        values are logged in every so many steps; 0: never."""
        super().__init__()
        self.classes = num_classes(labels, shape.classes)
        self.G = G(size=shape.size, channels=shape.channels, classes=self.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=self.classes)
        self.sigma_every, self.watching = sigma_every, False
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        self.watching = bool(self.sigma_every) and clock.step % self.sigma_every == 0
        real = next(feed)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        y = self.drawn(len(real))
        fake = self.G(self.latent(len(real)), *y)
        d_real, d_fake = self.D(real.x, *([real.y] if y else [])), self.D(fake, *y)
        log = {"sign": mean_sign(d_real), **(singular_values(self.D) if self.watching else {})}
        return Terms(hinge(d_real, True) + hinge(d_fake, False), log)

    def g_loss(self, real: Batch) -> Terms:
        y = self.drawn(len(real))
        score = self.D(self.G(self.latent(len(real)), *y), *y)
        return Terms(-score.float().mean(), singular_values(self.G) if self.watching else {})

    def drawn(self, n: int, y: Tensor | None = None) -> tuple[Tensor, ...]:
        return draw_labels(n, self.classes, self.device, y)

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return rng.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        z = self.latent(n) if z is None else z
        return self.G(z, *self.drawn(n, y))
