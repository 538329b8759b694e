"""PacGAN: the discriminator sees several images at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Forward, Plan, Shape, Terms, Update
from ganvas.core.errors import UserError
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.objectives.adversarial import bce, discriminator_log


@final
class PacGAN(NoiseToImage):
    """PacGAN: The Power of Two Samples in Generative Adversarial Networks.

    Lin et al., 2018, arXiv:1712.04086.

    D scores `pack` images at once, all real or all generated, joined in their channels
    (section 2.2, figure 2). A generator that lacks modes makes packs that are too
    alike, which D sees though it could not see it in single images. Nothing else of the
    game of 2014 changes.

    Differs from the paper: a batch of N images is N / pack packs (the paper: N packs,
    of N pack images); packs are neighbors in the batch.
    """

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        pack: int = 2,
    ) -> None:
        """Build the networks for `shape`.

        pack: m, images that D scores together; 1: DCGAN
        """
        super().__init__()
        require_positive(pack=pack)
        self.pack = pack
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=pack * shape.channels)
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step of D, then one of G, on the same generated images."""
        real = next(batches)
        generated = (yield Forward("G", self.fake, real)).outputs
        batch = real.having(**generated)
        yield Update("D", self.d_loss, batch)
        yield Update("G", self.g_loss, batch)

    def fake(self, real: Batch) -> dict[str, Tensor]:
        """As many images as real ones."""
        return {"fake": self.sample(len(real))}

    def d_loss(self, batch: Batch) -> Terms:
        """Cross entropy over packs of real and packs of generated images."""
        d_real, d_fake = self.D(self.packed(batch.x)), self.D(self.packed(batch.fake))
        return Terms(bce(d_real, True) + bce(d_fake, False), discriminator_log(d_real, d_fake))

    def g_loss(self, batch: Batch) -> Terms:
        """-E log D over packs of generated images."""
        return Terms(bce(self.D(self.packed(batch.fake)), True))

    def packed(self, x: Tensor) -> Tensor:
        """[N, C, ...] -> [N / pack, pack C, ...]."""
        if len(x) % self.pack:
            raise UserError(
                f"{len(x)} images cannot be packed by {self.pack}: choose a batch (--batch) that "
                f"is a multiple of {self.pack} on every rank"
            )
        return x.unflatten(0, (-1, self.pack)).flatten(1, 2)
