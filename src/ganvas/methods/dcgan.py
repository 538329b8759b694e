from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Forward, Method, Plan, Shape, Terms, Update, rng
from ganvas.core.errors import UserError
from ganvas.nets.conditional import draw_labels, num_classes
from ganvas.objectives.adversarial import bce, discriminator_log
from ganvas.objectives.penalties import r1


@final
class DCGAN(Method):
    """Unsupervised Representation Learning with Deep Convolutional GANs. Radford et al., 2015, arXiv:1511.06434.

    The game of 2014 on strided convolutions with batch norm: D and G move in turn, one minibatch each, and batch norm sees
    real and generated images in separate batches (section 3 and the authors' code).

    Differs from the paper: 4x4 kernels and z ~ N(0, 1), as in PyTorch's well-known example, whose weights load as they are
    (the authors' code: 5x5, U(-1, 1)); both turns of a step are about the same generated images, made once, as there (the
    authors' code draws others for each turn); no weight decay on D. Samples are made with the running
    statistics of batch norm (both: those of the batch). Sides other than 64 px add or drop stages.
    `r1_weight`, 0 in the paper, adds Mescheder et al.'s penalty (arXiv:1801.04406), which keeps D from memorising a small
    data set. `labels`, False in the paper, joins the class to z and to D's input (Mirza and Osindero, 2014,
    arXiv:1411.1784).
    """

    G: Any  # a network that tells the length of its noise as `latent`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        r1_weight: float = 0.0,
        r1_every: int = 1,
        labels: bool = False,
    ) -> None:
        """`r1_weight`: gamma of R1; it needs a D without batch norm, which judges each image by itself. `r1_every`: the
        penalty is taken in every so many steps, at as many times the weight (StyleGAN2, arXiv:1912.04958, appendix B).
        `labels`: the game is played within each class; it needs labelled data."""
        super().__init__()
        self.classes = num_classes(labels, shape.classes)
        conditional = {"classes": self.classes} if labels else {}
        self.G = G(size=shape.size, channels=shape.channels, **conditional)
        self.D = D(size=shape.size, channels=shape.channels, **conditional)
        self.r1_weight, self.r1_every = r1_weight, r1_every
        if r1_weight and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.D.modules()):
            raise UserError("r1_weight needs a D without batch norm, which mixes images: add --set D.norm=false")
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        real = next(feed)
        penalised = self.r1_weight and clock.step % self.r1_every == 0
        made = (yield Forward("G", self.fake, real)).outputs
        batch = real.having(**made)
        yield Update("D", self.penalised_d_loss if penalised else self.d_loss, batch)
        yield Update("G", self.g_loss, batch)

    def fake(self, real: Batch) -> dict[str, Tensor]:
        """As many images as real ones, of the same classes."""
        return {"fake": self.G(self.latent(len(real)), *self.given(real))}

    def d_loss(self, batch: Batch) -> Terms:
        given = self.given(batch)
        d_real, d_fake = self.D(batch.x, *given), self.D(batch.fake, *given)
        return Terms(bce(d_real, True) + bce(d_fake, False), discriminator_log(d_real, d_fake))

    def penalised_d_loss(self, batch: Batch) -> Terms:
        plain, penalty = self.d_loss(batch), r1(lambda x: self.D(x, *self.given(batch)), batch.x)
        return Terms(plain.loss + self.r1_weight / 2 * self.r1_every * penalty, {**plain.log, "r1": penalty})

    def g_loss(self, batch: Batch) -> Terms:
        return Terms(bce(self.D(batch.fake, *self.given(batch)), True))

    def given(self, batch: Batch) -> tuple[Tensor, ...]:
        """What both players are told of each image."""
        return (batch.y,) if self.classes else ()

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return rng.normal(n, self.G.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        z = self.latent(n) if z is None else z
        return self.G(z, *draw_labels(n, self.classes, self.device, y))
