"""CoGAN: corresponding images of two domains, learned without pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from ganvas.core import Batch, Clock, Forward, Plan, Shape, Terms, Update
from ganvas.methods.base import NoiseToImage
from ganvas.objectives.adversarial import bce, discriminator_log


@final
class CoGAN(NoiseToImage):
    """Coupled Generative Adversarial Networks.

    Liu and Tuzel, 2016, arXiv:1606.07536.

    min over G, max over D of  E[log D_a(a)] + E[log(1 - D_a(G_a(z)))]
                             + E[log D_b(b)] + E[log(1 - D_b(G_b(z)))]       (section 3)

    G_a and G_b share their first layers, which draw the content common to both domains.
    D_a and D_b share their last layers.

    Two GANs on images of two domains, without any pair of images in training. The two
    images that the generators draw from one z form a pair nevertheless: the shared
    layers have decided the content by then. Labels choose the domain: 0 for a, 1 for b.

    Differs from the paper: G descends -log D, as the authors' code. z ~ N(0, 1). Two
    domains. Both turns of a step use the same z; the authors' code draws a new one for
    G's turn.
    """

    classes = 2
    domains: Sequence[str] = ("a", "b")
    G: Any  # z -> (images of a, images of b); has `latent`, the length of z
    D: Any  # images, domain -> logits

    def __init__(
        self, shape: Shape, G: Callable[..., nn.Module], D: Callable[..., nn.Module]
    ) -> None:
        super().__init__()
        self.G = G(size=shape.size, channels=shape.channels)
        self.D = D(size=shape.size, channels=shape.channels)
        self.players = {"G": [self.G], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """D, then G, on images of the same z."""
        real = next(batches)
        generated = (yield Forward("G", self.fake, real)).outputs
        batch = real.having(**generated)
        yield Update("D", self.d_loss, batch)
        yield Update("G", self.g_loss, batch)

    def fake(self, real: Batch) -> dict[str, Tensor]:
        """A pair for each z: {"fake_a", "fake_b"}, as many as real images."""
        a, b = self.G(self.latent(len(real)))
        return {"fake_a": a, "fake_b": b}

    def d_loss(self, batch: Batch) -> Terms:
        """-E[log D(x)] - E[log(1 - D(G(z)))], summed over the domains (section 3)."""
        d_real = torch.cat([self.D(batch.a, 0), self.D(batch.b, 1)])
        d_fake = torch.cat([self.D(batch.fake_a, 0), self.D(batch.fake_b, 1)])
        loss = 2 * (bce(d_real, True) + bce(d_fake, False))
        return Terms(loss, discriminator_log(d_real, d_fake))

    def g_loss(self, batch: Batch) -> Terms:
        """-E[log D(G(z))], summed over the domains."""
        return Terms(bce(self.D(batch.fake_a, 0), True) + bce(self.D(batch.fake_b, 1), True))

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Images [n, C, H, W] of the domains y [n]: 0 for a, 1 for b."""
        pair = torch.stack(self.G(self.latent(n) if z is None else z))
        (y,) = self.sample_labels(n, y)
        return pair[y, torch.arange(n, device=self.device)]
