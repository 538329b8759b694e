"""Real-ESRGAN: super-resolution of photographs with unknown damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Forward, Length, Plan, Shape, Stage, Terms, Update
from ganvas.media.blur_kernels import sharpened
from ganvas.methods.base import Enlargement
from ganvas.nets.vgg import VGG19, require_channels
from ganvas.objectives.adversarial import bce, discriminator_accuracy

# Weights of VGG19's layers before their activations (section 4.1).
LAYERS: Mapping[str, float] = {
    "conv1_2": 0.1,
    "conv2_2": 0.1,
    "conv3_4": 1.0,
    "conv4_4": 1.0,
    "conv5_4": 1.0,
}


@final
class RealESRGAN(Enlargement):
    """Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data.

    Wang et al., 2021, arXiv:2107.10833.

    L = |y' - G(x)|_1 + |phi(y') - phi(G(x))|_1 + adversarial_weight (-log D(G(x)))

    y' is y sharpened, so that results are sharp without ringing (section 3.4), and x is
    y' degraded at random (`data.degrade`; the authors' code). D scores every pixel and
    sees y itself. Two stages in one run: |y' - G(x)|_1 alone for `pretrain` images, at
    twice the rate (Real-ESRNet); then the game.

    Differs from the paper: degradations are computed for each batch anew, without the
    pool of 180 earlier pairs, and JPEG is libjpeg's. G moves before D, and D sees the
    images of G's turn. Without `vgg` there is no |phi(y') - phi(G(x))|_1.
    """

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        pretrain: Length = 0,
        vgg: str | None = None,
        adversarial_weight: float = 0.1,
    ) -> None:
        """Build the networks for `shape`, the shape of the large images.

        pretrain: images of the first stage
        vgg: file of VGG19's weights; None: no perceptual loss
        """
        super().__init__()
        self.build_generator(G, shape)
        self.D = D(channels=shape.channels)
        if vgg:
            require_channels(shape.channels)
        self.phi = VGG19(vgg, "conv5_4") if vgg else None
        self.pretrain, self.adversarial_weight = pretrain, adversarial_weight
        self.players = {"G": [self.G], "D": [self.D]}

    def stage(self, clock: Clock) -> Stage:
        """0: by pixels, at twice the rate; 1: the game."""
        return Stage(0, lr=2.0) if clock.images < self.pretrain else Stage(1)

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """G by pixels alone; then G and D on the same generated images."""
        pair = self.pair(batches)
        pair = pair.having(sharp=sharpened(pair.y))
        if self.current_stage.index == 0:
            yield Update("G", self.pixel_loss, pair)
            return
        generated = (yield Forward("G", self.fake, pair)).outputs
        batch = pair.having(**generated)
        yield Update("G", self.g_loss, batch)
        yield Update("D", self.d_loss, batch)

    def pixel_loss(self, pair: Batch) -> Terms:
        """|y' - G(x)|_1."""
        return Terms(l1_loss(self.G(pair.x), pair.sharp))

    def g_loss(self, batch: Batch) -> Terms:
        """L."""
        log = {"pixels": l1_loss(batch.fake, batch.sharp)}
        log["adversarial"] = bce(self.D(batch.fake), True)
        loss = log["pixels"] + self.adversarial_weight * log["adversarial"]
        if self.phi is not None:
            log["content"] = self.content(self.phi, batch.fake, batch.sharp)
            loss = loss + log["content"]
        return Terms(loss, log)

    def content(self, phi: VGG19, fake: Tensor, real: Tensor) -> Tensor:
        """The weighted sum of |phi(y') - phi(G(x))|_1 over `LAYERS`."""
        made, wanted = (phi.layers_of(x, list(LAYERS)) for x in (fake, real))
        parts = zip(LAYERS.values(), made, wanted, strict=True)
        return torch.stack([w * l1_loss(a, b.detach()) for w, a, b in parts]).sum()

    def d_loss(self, batch: Batch) -> Terms:
        """-E[log D(y)] - E[log(1 - D(G(x)))], over pixels."""
        d_real, d_fake = self.D(batch.y), self.D(batch.fake)
        log = {"accuracy": discriminator_accuracy(d_real, d_fake)}
        return Terms(bce(d_real, True) + bce(d_fake, False), log)
