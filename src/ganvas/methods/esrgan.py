"""ESRGAN: super-resolution with a relativistic discriminator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

from torch import nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Forward, Length, Plan, Shape, Stage, Terms, Update
from ganvas.methods.base import Enlargement, Perceptual
from ganvas.objectives.adversarial import relativistic_average


@final
class ESRGAN(Enlargement):
    """ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks.

    Wang et al., 2018, arXiv:1809.00219.

    L = |phi(y) - phi(G(x))|_1 + adversarial_weight L_Ra + pixel_weight |y - G(x)|_1
                                                                         (equation 3)

    x is y reduced, and phi are VGG19's features before the activation (section 3.3). D
    tells whether real images look more real than the mean of generated ones, and the
    other way round (equations 1 and 2); G learns from both. Two stages in one run: by
    |y - G(x)|_1 alone for `pretrain` images, then the game. `ganvas blend` of the two
    networks is the paper's interpolation (section 3.4).

    Differs from the paper: both losses are halved, as in the authors' code. G moves
    before D, and D sees the images of G's turn. Pixels are in [0, 1]. Without `vgg`
    the content is pixels.
    """

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        pretrain: Length = 0,
        halve_pretrain: Length | None = None,
        halve_game: Sequence[Length] = (),
        vgg: str | None = None,
        layer: str = "conv5_4",
        adversarial_weight: float = 5e-3,
        pixel_weight: float = 1e-2,
    ) -> None:
        """Build the networks for `shape`, the shape of the large images.

        pretrain: images of the first stage, at twice the learning rate
        halve_pretrain: images after each of which this rate is halved; None: never
        halve_game: images of the game at which its rate is halved
        vgg: file of VGG19's weights; None: the content is pixels
        layer: layer of VGG19 whose output is the content
        """
        super().__init__()
        self.build_generator(G, shape)
        self.D = D(channels=shape.channels, size=shape.size)
        self.content = Perceptual(shape.channels, vgg, layer)
        self.pretrain, self.halve_pretrain, self.halve_game = pretrain, halve_pretrain, halve_game
        self.adversarial_weight, self.pixel_weight = adversarial_weight, pixel_weight
        self.players = {"G": [self.G], "D": [self.D]}

    def stage(self, clock: Clock) -> Stage:
        """0: by pixels, at twice the rate; 1: the game. The rates of section 4.1."""
        if clock.images < self.pretrain:
            halvings = clock.images // self.halve_pretrain if self.halve_pretrain else 0
            return Stage(0, lr=2 * 0.5**halvings)
        played = clock.images - self.pretrain
        return Stage(1, lr=0.5 ** sum(played >= images for images in self.halve_game))

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """G by pixels alone; then G and D on the same generated images."""
        pair = self.pair(batches)
        if self.current_stage.index == 0:
            yield Update("G", self.pixel_loss, pair)
            return
        generated = (yield Forward("G", self.fake, pair)).outputs
        batch = pair.having(**generated)
        yield Update("G", self.g_loss, batch)
        yield Update("D", self.d_loss, batch)

    def pixel_loss(self, pair: Batch) -> Terms:
        """|y - G(x)|_1."""
        return Terms(l1_loss(self.G(pair.x), pair.y))

    def g_loss(self, batch: Batch) -> Terms:
        """L (equation 3), with L_Ra of equation 2."""
        content = self.content(batch.fake, batch.y, l1_loss)
        pixels = l1_loss(batch.fake, batch.y)
        adversarial = relativistic_average(self.D(batch.fake), self.D(batch.y).detach())
        loss = content + self.adversarial_weight * adversarial + self.pixel_weight * pixels
        return Terms(loss, {"content": content, "adversarial": adversarial, "pixels": pixels})

    def d_loss(self, batch: Batch) -> Terms:
        """Equation 1."""
        d_real, d_fake = self.D(batch.y), self.D(batch.fake)
        accuracy = (d_real > d_fake).float().mean()
        return Terms(relativistic_average(d_real, d_fake), {"accuracy": accuracy})
