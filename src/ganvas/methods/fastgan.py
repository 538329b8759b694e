"""FastGAN: a few hundred images, and a discriminator that reconstructs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Forward, Plan, Shape, Terms, Update
from ganvas.methods.base import NoiseToImage
from ganvas.objectives.adversarial import discriminator_log, soft_hinge
from ganvas.objectives.precision import wide


@final
class FastGAN(NoiseToImage):
    """Towards Faster and Stabilized GAN Training for Few-shot Image Synthesis.

    Liu et al., 2021, arXiv:2101.04775.

    L_D = E min-hinge(D(x)) + E min-hinge(-D(G(z))) + reconstruction_weight L_recons
    L_G = -E D(G(z))                                             (equations 3 to 5)

    D is an autoencoder of real images as well: small decoders reconstruct them from its
    features, so that D has to keep what is in an image, and learns a small data set by
    heart later. G excites the channels of its large maps by its small ones. Both see
    augmented images (the recipe's `augment`).

    Differs from the paper: reconstructions are compared by their pixels (mean absolute
    distance) instead of by LPIPS, which needs a network that was trained on ImageNet.
    The margins of the hinge are drawn from U(.8, 1) for each score, as in the authors'
    code; the quadrant that D reconstructs is drawn for each image (there: for each
    batch). Averaged weights include the statistics of batch norm (there: they do not).
    """

    G: Any  # a `nets.fastgan.Generator`
    D: Any

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        reconstruction_weight: float = 1.0,
        soften: float = 0.2,
    ) -> None:
        """Build the networks for `shape`.

        reconstruction_weight: 0: D reconstructs nothing
        soften: the hinge's margins are drawn between 1 less this and 1
        """
        super().__init__()
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=shape.channels)
        self.reconstruction_weight, self.soften = reconstruction_weight, soften
        self.players = {"D": [self.D], "G": [self.G]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step of D, then one of G, on the same generated images."""
        real = next(batches)
        generated = (yield Forward("G", self.fake, real)).outputs
        batch = real.having(**generated)
        yield Update("D", self.d_loss, batch)
        yield Update("G", self.g_loss, batch)

    def fake(self, real: Batch) -> dict[str, Tensor]:
        """As many pairs of a large and a small image as there are real images."""
        return {"fake": self.G.pair(self.latent(len(real)))}

    def d_loss(self, batch: Batch) -> Terms:
        """Hinge loss with soft margins, and what the decoders miss of real images."""
        if self.reconstruction_weight:
            d_real, reconstructions = self.D(batch.x, reconstruct=True)
        else:
            d_real, reconstructions = self.D(batch.x), []
        d_fake = self.D(batch.fake)
        loss = soft_hinge(d_real, True, self.soften) + soft_hinge(d_fake, False, self.soften)
        log = discriminator_log(d_real, d_fake)
        if reconstructions:
            parts = [l1_loss(made, wanted) for made, wanted in reconstructions]
            log["reconstruction"] = sum(parts[1:], parts[0])
            loss = loss + self.reconstruction_weight * log["reconstruction"]
        return Terms(loss, log)

    def g_loss(self, batch: Batch) -> Terms:
        """-E D(G(z))  (equation 5)."""
        return Terms(-wide(self.D(batch.fake)).mean())
