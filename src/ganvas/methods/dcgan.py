"""DCGAN: strided convolutions with batch norm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Forward, Plan, Shape, Terms, Update
from ganvas.core.errors import UserError
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.nets.conditional import num_classes
from ganvas.objectives.adversarial import bce, discriminator_log
from ganvas.objectives.penalties import r1


@final
class DCGAN(NoiseToImage):
    """Unsupervised Representation Learning with Deep Convolutional GANs.

    Radford et al., 2015, arXiv:1511.06434.

    The game of 2014 on strided convolutions with batch norm. D and G move in turn on
    one minibatch each, and batch norm sees real and generated images in separate
    batches (section 3 and the authors' code).

    Differs from the paper: 4x4 kernels, half the width and z ~ N(0, 1), as in PyTorch's
    well-known example, whose weights load as they are (the authors' code: 5x5, width
    128, U(-1, 1)). Both
    turns of a step use the same generated images, as there (the authors' code draws
    others for each turn). Neither network has
    weight decay (there: 1e-5). Samples use the running statistics of
    batch norm (both codes: those of the batch). Sides other than 64 px add or drop
    stages. `r1_weight`, 0 in the paper, adds Mescheder et al.'s penalty
    (arXiv:1801.04406), which keeps D from memorizing a small data set. `labels`, False
    in the paper, joins the class to z and to D's input (Mirza and Osindero, 2014,
    arXiv:1411.1784).
    """

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        r1_weight: float = 0.0,
        r1_every: int = 1,
        labels: bool = False,
    ) -> None:
        """Build the networks for `shape`.

        r1_weight: gamma of R1; needs a D without batch norm, which scores each image
            independently
        r1_every: compute the penalty every this many steps, at as many times its weight
            (StyleGAN2, arXiv:1912.04958, appendix B)
        labels: train within each class; needs labeled data
        """
        super().__init__()
        require_positive(r1_every=r1_every)
        self.classes = num_classes(labels, shape.classes)
        conditional = {"classes": self.classes} if labels else {}
        self.G = G(size=shape.size, channels=shape.channels, **conditional)
        self.D = D(size=shape.size, channels=shape.channels, **conditional)
        self.r1_weight, self.r1_every = r1_weight, r1_every
        batch_norm = nn.modules.batchnorm._BatchNorm
        if r1_weight and any(isinstance(m, batch_norm) for m in self.D.modules()):
            raise UserError(
                "r1_weight needs a D without batch norm, which mixes images: add --set D.norm=false"
            )
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """D, then G, on the same generated images; R1 in every `r1_every`th step."""
        real = next(batches)
        penalized = self.r1_weight and clock.step % self.r1_every == 0
        generated = (yield Forward("G", self.fake, real)).outputs
        batch = real.having(**generated)
        yield Update("D", self.penalized_d_loss if penalized else self.d_loss, batch)
        yield Update("G", self.g_loss, batch)

    def fake(self, real: Batch) -> dict[str, Tensor]:
        """As many images as real ones, of the same classes."""
        return {"fake": self.G(self.latent(len(real)), *self.conditioning(real))}

    def d_loss(self, batch: Batch) -> Terms:
        """-E[log D(x)] - E[log(1 - D(G(z)))]."""
        y = self.conditioning(batch)
        d_real, d_fake = self.D(batch.x, *y), self.D(batch.fake, *y)
        return Terms(bce(d_real, True) + bce(d_fake, False), discriminator_log(d_real, d_fake))

    def penalized_d_loss(self, batch: Batch) -> Terms:
        """`d_loss` + `r1_weight` / 2 E[|grad D(x)|^2] `r1_every`."""
        plain = self.d_loss(batch)
        penalty = r1(lambda x: self.D(x, *self.conditioning(batch)), batch.x)
        loss = plain.loss + self.r1_weight / 2 * self.r1_every * penalty
        return Terms(loss, {**plain.log, "r1": penalty})

    def g_loss(self, batch: Batch) -> Terms:
        """-E[log D(G(z))]."""
        return Terms(bce(self.D(batch.fake, *self.conditioning(batch)), True))
