from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Method, Plan, Schedule, Shape, Terms, Update, rng
from ganvas.nets.conditional import draw_labels, num_classes
from ganvas.objectives.adversarial import relativistic
from ganvas.objectives.penalties import score_and_penalty


@final
class R3GAN(Method):
    """The GAN is dead; long live the GAN! A Modern GAN Baseline. Huang et al., 2024, arXiv:2501.05441.

    L = E[f(D(G(z)) - D(x))], f(t) = -log(1 + e^-t): each fake is judged beside a real one, G ascends what D descends, so that
    there is no landscape in which all fakes on one side of D's border are content (sections 2.1 and 2.2).
    D's loss has gamma/2 (R1 + R2), the squared gradients at real and at generated images, in every step (section 2.3).

    Differs from the paper: D sees images as they are; the authors pass them through ADA's augmentations with a probability
    that rises to .3 to .55 (`--augment color,translation,cutout` gives others).
    """

    G: Any  # a network that tells the length of its noise as `latent`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        gamma: Schedule,
        labels: bool = False,
    ) -> None:
        """`gamma`: of the clock, since the authors lower it to a tenth. `labels`: the game is played within each class; it
        needs labelled data."""
        super().__init__()
        self.classes = num_classes(labels, shape.classes)
        conditional = {"classes": self.classes} if labels else {}
        self.G = G(size=shape.size, channels=shape.channels, **conditional)
        self.D = D(size=shape.size, channels=shape.channels, **conditional)
        self.gamma = gamma
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        """Each turn has real images of its own (the authors' code)."""
        yield Update("D", partial(self.d_loss, gamma=self.gamma(clock)), next(feed))
        yield Update("G", self.g_loss, next(feed))

    def d_loss(self, real: Batch, gamma: float) -> Terms:
        def D(x: Tensor) -> Tensor:
            return self.D(x, *self.given(real))

        d_real, r1 = score_and_penalty(D, real.x)
        d_fake, r2 = score_and_penalty(D, self.fake(real))
        ahead = (d_real > d_fake).float().mean()
        loss = relativistic(d_real, d_fake) + gamma / 2 * (r1 + r2)
        return Terms(loss, {"accuracy": ahead, "r1": r1, "r2": r2})

    def g_loss(self, real: Batch) -> Terms:
        given = self.given(real)
        return Terms(relativistic(self.D(self.fake(real), *given), self.D(real.x, *given)))

    def fake(self, real: Batch) -> Tensor:
        """As many images as real ones, of the same classes."""
        return self.G(self.latent(len(real)), *self.given(real))

    def given(self, batch: Batch) -> tuple[Tensor, ...]:
        """What both players are told of each image."""
        return (batch.y,) if self.classes else ()

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return rng.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        z = self.latent(n) if z is None else z
        return self.G(z, *draw_labels(n, self.classes, self.device, y))
