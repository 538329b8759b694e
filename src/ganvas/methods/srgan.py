"""SRGAN: super-resolution with an adversarial loss and VGG features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from torch import nn
from torch.nn.functional import l1_loss, mse_loss

from ganvas.core import Batch, Clock, Forward, Length, Plan, Shape, Stage, Terms, Update
from ganvas.methods.base import Enlargement, Perceptual
from ganvas.objectives.adversarial import bce, discriminator_accuracy


@final
class SRGAN(Enlargement):
    """Photo-Realistic Single Image Super-Resolution Using a GAN.

    Ledig et al., 2017, arXiv:1609.04802.

    L = |phi(y) - phi(G(x))|^2 + adversarial_weight (-log D(G(x)))          (equation 3)

    x is y reduced and phi are VGG19's features (equation 5). Two stages in one run:
    SRResNet, by the squared error of pixels alone, for `pretrain` images; then the
    game, from there (section 3.2). Batch norm uses running statistics in use.

    Differs from the paper: pixels are compared in [0, 1] (the paper: [-1, 1]). G moves
    before D, and D sees the images of G's turn (as in BasicSR; the paper does not say).
    Without `vgg` the content is pixels, as in its SRGAN-MSE, but their squared error is
    a quarter of the paper's, by the range: `adversarial_weight` 2.5e-4 gives the
    paper's proportion.
    """

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        pretrain: Length = 0,
        slow: Length | None = None,
        vgg: str | None = None,
        layer: str = "relu5_4",
        content_scale: float = 1 / 12.75,
        adversarial_weight: float = 1e-3,
        pixel_weight: float = 0.0,
        l1: bool = False,
    ) -> None:
        """Build the networks for `shape`, the shape of the large images.

        pretrain: images of the first stage
        slow: images after which the learning rate is a tenth (section 3.2); None: never
        vgg: file of VGG19's weights; None: the content is pixels
        layer: layer of VGG19 whose output is the content
        content_scale: factor of the features (section 3.2). The paper's 1/12.75 is for
            the weights of VGG's authors, as torchvision's file has them; normalized
            weights need another.
        pixel_weight: weight of a further distance of pixels, 0 in the paper
        l1: absolute distances in place of squared ones
        """
        super().__init__()
        self.build_generator(G, shape)
        self.D = D(channels=shape.channels, size=shape.size)
        self.content = Perceptual(shape.channels, vgg, layer, content_scale)
        self.distance = l1_loss if l1 else mse_loss
        self.pretrain, self.slow = pretrain, slow
        self.adversarial_weight, self.pixel_weight = adversarial_weight, pixel_weight
        self.players = {"G": [self.G], "D": [self.D]}

    def stage(self, clock: Clock) -> Stage:
        """0: SRResNet; 1: the game, with a tenth of the rate after `slow` images."""
        if clock.images < self.pretrain:
            return Stage(0)
        return Stage(1, lr=0.1 if self.slow is not None and clock.images >= self.slow else 1.0)

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Section 3.2: G by pixels alone; then G and D on the same generated images."""
        pair = self.pair(batches)
        if self.current_stage.index == 0:
            yield Update("G", self.pixel_loss, pair)
            return
        generated = (yield Forward("G", self.fake, pair)).outputs
        batch = pair.having(**generated)
        yield Update("G", self.g_loss, batch)
        yield Update("D", self.d_loss, batch)

    def pixel_loss(self, pair: Batch) -> Terms:
        """The squared error of pixels (equation 4)."""
        return Terms(self.distance(self.G(pair.x), pair.y))

    def g_loss(self, batch: Batch) -> Terms:
        """L (equation 3)."""
        content = self.content(batch.fake, batch.y, self.distance)
        adversarial = bce(self.D(batch.fake), True)
        loss = content + self.adversarial_weight * adversarial
        if self.pixel_weight:
            loss = loss + self.pixel_weight * self.distance(batch.fake, batch.y)
        return Terms(loss, {"content": content, "adversarial": adversarial})

    def d_loss(self, batch: Batch) -> Terms:
        """-E[log D(y)] - E[log(1 - D(G(x)))] (equation 2)."""
        d_real, d_fake = self.D(batch.y), self.D(batch.fake)
        log = {"accuracy": discriminator_accuracy(d_real, d_fake)}
        return Terms(bce(d_real, True) + bce(d_fake, False), log)
