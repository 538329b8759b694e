from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update, rng
from ganvas.core.errors import UserError
from ganvas.nets.conditional import draw_labels, num_classes
from ganvas.nets.spectral import orthogonality, singular_values
from ganvas.nets.standing_stats import Standing
from ganvas.objectives.adversarial import hinge, mean_sign

STANDING = 64  # images in a batch of the standing statistics


@final
class BigGAN(Method):
    """Large Scale GAN Training for High Fidelity Natural Image Synthesis. Brock et al., 2018, arXiv:1809.11096.

    SAGAN's game, larger: hinge loss, spectral normalisation in D and G, attention, several updates of D for each of G's; and
    for G the penalty that keeps its filters apart, so that it may be truncated:

    R(W) = beta |W^T W * (1 - I)|_F^2                                                                     (equation 3)

    In evaluation batch norm has standing statistics, those of what G makes at the truncation that is asked for (section
    3.1). `truncated` cuts z to [-t, t]: by quantiles, where the paper draws again, so that pictures change smoothly with t.

    Differs from the paper: R is halved and of W W^T, outputs against outputs, as in ajbrock/BigGAN-PyTorch. `labels=false`
    plays without classes, which the paper does not.
    """

    G: Any  # a network that tells the length of its noise as `latent`

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
        """`n_critic`: D's updates for each of G's, each with images of its own. `ortho_weight`: beta, on all weights of G but
        the labels' embedding. `standing`: batches of 64 for the standing statistics; 0: the running averages of training.
        `labels`: it needs labelled data. `sigma_every`: singular values are logged in every so many steps; 0: never."""
        super().__init__()
        self.classes = num_classes(labels, shape.classes)
        self.G = G(size=shape.size, channels=shape.channels, classes=self.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=self.classes)
        self.n_critic, self.ortho_weight = n_critic, ortho_weight
        self.stand = Standing(standing)
        self.sigma_every, self.watching = sigma_every, False
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        self.watching = bool(self.sigma_every) and clock.step % self.sigma_every == 0
        for _ in range(self.n_critic):
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
        loss = -self.D(self.G(self.latent(len(real)), *y), *y).float().mean()
        log = singular_values(self.G) if self.watching else {}
        if self.ortho_weight:
            overlap = orthogonality(self.G, skip=("shared",))
            loss, log = loss + self.ortho_weight * overlap, {"overlap": overlap, **log}
        return Terms(loss, log)

    def drawn(self, n: int, y: Tensor | None = None) -> tuple[Tensor, ...]:
        return draw_labels(n, self.classes, self.device, y)

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return rng.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.truncated(self.latent(n) if z is None else z, math.inf, y)

    def truncated(self, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        """`truncation`: the largest |z_i|, above 0; infinity: as in training."""
        if not truncation > 0:
            raise UserError(f"truncation is {truncation}; give a number above 0 (0.5: likely pictures, 2: nearly all)")
        self.stand(self.G, lambda G: self._made(G, self.latent(STANDING), truncation), truncation)
        return self._made(self.G, z, truncation, y)

    def _made(self, G: nn.Module, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        z = rng.truncated(z, truncation) if math.isfinite(truncation) else z
        return G(z, *self.drawn(len(z), y))
