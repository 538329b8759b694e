from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from torch import Tensor, nn

from ganvas import draw
from ganvas.core import Batch, Clock, Method, Plan, Shape, Stage, Terms, Update
from ganvas.nets.progressive import Growth, faded_reals
from ganvas.objectives.penalties import gradient_penalty


@final
class ProGAN(Method):
    """Progressive Growing of GANs for Improved Quality, Stability, and Variation. Karras et al., 2017, arXiv:1710.10196.

    Training starts at 4x4 px. Each further resolution is faded in over `fade` images and then held for `hold` images
    (section 2 and figure 2): in G, in D and in the reals, whose details are blended in by the same alpha. The loss is
    WGAN-GP's with a drift term that keeps the critic's output near 0 (appendix A.1):

    L = E[D(G(z))] - E[D(x)] + gp_weight E[(|grad D(x_hat)| - 1)^2] + drift E[D(x)^2]

    The optimizers' state starts afresh at every resolution, as in the authors' code.

    Differs from the paper: nothing in the networks or the game; each minibatch is drawn once (the authors' code repeats
    one four times per resolution check, which changes no number but the feed's order).
    """

    G: Any  # a network that tells the length of its noise as `latent` and its sides in pixels as `resolutions`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        fade: int = 600_000,
        hold: int = 600_000,
        start: int | None = None,
        batches: Mapping[int, int] | None = None,
        gp_weight: float = 10.0,
        drift: float = 0.001,
    ) -> None:
        """`fade`, `hold`: images per phase. `start`: the resolution at which growth begins; None: the networks' smallest; their
        largest: nothing grows. `batches`: resolution -> batch, where it is not the run's."""
        super().__init__()
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=shape.channels)
        self.growth = Growth(self.G.resolutions, fade, hold, start, batches)
        self.gp_weight, self.drift = gp_weight, drift
        self.players = {"G": [self.G], "D": [self.D]}

    def stage(self, clock: Clock) -> Stage:
        return self.growth(clock)

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        real = next(feed)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        x, fake = faded_reals(real.x, self.now.alpha), self.sample(len(real))
        d_real, d_fake = self.score(x).float(), self.score(fake).float()
        gp = gradient_penalty(self.score, x, fake)
        wasserstein = d_real.mean() - d_fake.mean()
        loss = -wasserstein + self.gp_weight * gp + self.drift * d_real.square().mean()
        return Terms(loss, {"wasserstein": wasserstein, "gp": gp})

    def g_loss(self, real: Batch) -> Terms:
        return Terms(-self.score(self.sample(len(real))).float().mean())

    def score(self, x: Tensor) -> Tensor:
        return self.D(x, alpha=self.now.alpha)

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]; the generator puts it on the hypersphere."""
        return draw.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        return self.G(self.latent(n) if z is None else z, resolution=self.now.resolution, alpha=self.now.alpha)
