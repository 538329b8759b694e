"""DeOldify: colors for gray photographs by NoGAN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Length, Method, Plan, Shape, Stage, Terms, Update, distributed
from ganvas.core.errors import ConfigError
from ganvas.core.guards import plural
from ganvas.media.color import gray_luma, luma, within_range
from ganvas.nets.vgg import VGG19
from ganvas.objectives.adversarial import bce, discriminator_accuracy
from ganvas.objectives.feature_matching import perceptual
from ganvas.objectives.precision import wide


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Within it, a network in training is in evaluation mode."""
    net.eval()
    try:
        yield
    finally:
        net.train()


@final
class DeOldify(Method):
    """DeOldify: colorization by NoGAN.

    Antic, 2019, github.com/jantic/DeOldify.

    Three stages in one run: G alone, by pixels and features; D alone, on G's images,
    for `critic` images; then a short game, in which D moves until its loss is below
    `threshold`, and only then G. In a turn of one, the other is in evaluation mode.

    L_G = perceptual + adversarial_weight (-log D(G(x)))

    The project weighs the two terms by 1.5 (artistic: 2) and 1. After an inflection
    point the game makes images worse; it has ten snapshots, and the checkpoint at which
    a measure is best is kept (`ganvas measure --checkpoint best`). G sees the luma of
    its input, and only its chroma is used: the luma stays as it is.

    Differs from the paper: there is none. From the project: D sees the images that G
    makes at the moment (there: files written before); no stage repeats; sizes do not
    grow within a stage; G's encoder moves in the game, too. The features are VGG19's
    (there: VGG16's with batch norm, at weights that make them the largest part), and
    without `vgg` the loss is that of pixels. Only chroma is taken from G in training as
    well (there: in use), and it is reduced where it leaves the range of RGB (there:
    clipped, which changes the luma). D and G move on the same gray images.
    """

    directions: Sequence[str] = ("b",)
    trained_with: Sequence[str] = ("vgg",)
    last_snapshots = 10  # of the game, so that a measure shows its inflection point
    G: Any  # a `nets.deoldify.UNet`
    D: Any

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        pretrain: Length = 0,
        critic: Length = 0,
        threshold: float = 0.65,
        adversarial_weight: float = 2 / 3,
        vgg: str | None = None,
        vgg_weight: float = 1.0,
    ) -> None:
        """Build the networks for `shape`.

        pretrain: images of the first stage
        critic: images of the second stage
        threshold: of D's loss, below which G moves
        adversarial_weight: of the game in G's loss
        vgg: file of VGG19's weights; None: pixels alone
        vgg_weight: of the features' distance
        """
        super().__init__()
        if shape.channels != 3:
            raise ConfigError(
                f"DeOldify gives gray images their colors, which are red, green and blue; got "
                f"images of {plural(shape.channels, 'channel')}: give --set data.channels=3"
            )
        self.G = G(channels_in=shape.channels, channels_out=shape.channels)
        self.D = D(channels=shape.channels)
        self.phi = VGG19(vgg, "relu5_1") if vgg else None
        self.pretrain, self.critic, self.threshold = pretrain, critic, threshold
        self.adversarial_weight, self.vgg_weight = adversarial_weight, vgg_weight
        self.multiple = self.G.multiple
        self.players = {"G": [self.G], "D": [self.D]}

    def stage(self, clock: Clock) -> Stage:
        """0: G alone, 1: D alone, 2: the game."""
        return Stage(
            (clock.images >= self.pretrain) + (clock.images >= self.pretrain + self.critic)
        )

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step of the current stage of NoGAN."""
        pair = next(batches)
        if self.current_stage.index == 0:
            yield Update("G", self.content_loss, pair)
            return
        log = (yield Update("D", self.d_loss, pair)).log
        # The same decision on all ranks.
        if self.current_stage.index == 2 and distributed.mean(log["loss"]) < self.threshold:
            yield Update("G", self.g_loss, pair)

    def content_loss(self, pair: Batch) -> Terms:
        """The first stage's loss: pixels and features."""
        loss, log = self.content(self.colored(pair.x), pair.y)
        return Terms(loss, log)

    def g_loss(self, pair: Batch) -> Terms:
        """Pixels, features and the game."""
        fake = self.colored(pair.x)
        loss, log = self.content(fake, pair.y)
        with evaluating(self.D):
            log["adversarial"] = bce(self.D(fake), True)
        return Terms(loss + self.adversarial_weight * log["adversarial"], log)

    def d_loss(self, pair: Batch) -> Terms:
        """Cross entropy over the places of the last map, at half weight."""
        with evaluating(self.G), torch.no_grad():
            fake = self.colored(pair.x)
        d_real, d_fake = self.D(pair.y), self.D(fake)
        loss = (bce(d_real, True) + bce(d_fake, False)) / 2
        return Terms(loss, {"accuracy": discriminator_accuracy(d_real, d_fake)})

    def content(self, fake: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(distance of pixels and features, log)."""
        log = {"l1": l1_loss(fake, real)}
        if self.phi is None:
            return log["l1"], log
        got, wanted = (self.phi.blocks_of((x + 1) / 2) for x in (fake, real))
        log["vgg"] = perceptual(got, wanted)
        return log["l1"] + self.vgg_weight * log["vgg"], log

    def colored(self, x: Tensor) -> Tensor:
        """G's chroma on the luma of images, which may have colors of their own."""
        y = gray_luma(wide(x))
        made = wide(self.G(y))
        return within_range(y + made - luma(made))

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Gray images in color, at their own luma."""
        return self.colored(x)
