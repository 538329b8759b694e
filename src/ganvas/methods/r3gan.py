"""R3GAN: a relativistic loss with R1 and R2 penalties."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Plan, Schedule, Shape, Terms, Update
from ganvas.methods.base import NoiseToImage
from ganvas.nets.conditional import num_classes
from ganvas.objectives.adversarial import relativistic
from ganvas.objectives.penalties import score_and_penalty


@final
class R3GAN(NoiseToImage):
    """The GAN is dead; long live the GAN! A Modern GAN Baseline.

    Huang et al., 2024, arXiv:2501.05441.

    L_D = -E[f(D(x) - D(G(z)))] + gamma / 2 (R1 + R2),
    L_G = -E[f(D(G(z)) - D(x))],   f(t) = -log(1 + e^-t)

    D scores each generated image relative to a real one. So the loss has no region in
    which all generated images on one side of D's border are optimal (sections 2.1 and
    2.2). R1 and R2 are the squared gradients at real and at generated images, in every
    step (section 2.3).

    Differs from the paper: D sees images without augmentation. The authors apply ADA's
    augmentations with a probability that rises to .3 to .55 (`--augment
    color,translation,cutout` gives others).
    """

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        gamma: Schedule,
        labels: bool = False,
    ) -> None:
        """Build the networks for `shape`.

        gamma: a schedule, since the authors lower it to a tenth
        labels: train within each class; needs labeled data
        """
        super().__init__()
        self.classes = num_classes(labels, shape.classes)
        conditional = {"classes": self.classes} if labels else {}
        self.G = G(size=shape.size, channels=shape.channels, **conditional)
        self.D = D(size=shape.size, channels=shape.channels, **conditional)
        self.gamma = gamma
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Each turn has its own real images (the authors' code)."""
        yield Update("D", partial(self.d_loss, gamma=self.gamma(clock)), next(batches))
        yield Update("G", self.g_loss, next(batches))

    def d_loss(self, real: Batch, gamma: float) -> Terms:
        """L_D."""

        def D(x: Tensor) -> Tensor:
            return self.D(x, *self.conditioning(real))

        d_real, r1 = score_and_penalty(D, real.x)
        d_fake, r2 = score_and_penalty(D, self.fake(real))
        accuracy = (d_real > d_fake).float().mean()
        loss = relativistic(d_real, d_fake) + gamma / 2 * (r1 + r2)
        return Terms(loss, {"accuracy": accuracy, "r1": r1, "r2": r2})

    def g_loss(self, real: Batch) -> Terms:
        """L_G."""
        y = self.conditioning(real)
        return Terms(relativistic(self.D(self.fake(real), *y), self.D(real.x, *y)))

    def fake(self, real: Batch) -> Tensor:
        """As many images as real ones, of the same classes."""
        return self.G(self.latent(len(real)), *self.conditioning(real))
