"""UNIT: unpaired translation through the shared latent space of two VAEs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update, rng
from ganvas.objectives.adversarial import by_name

DOMAINS = ("a", "b")  # by their numbers


@final
class UNIT(Method):
    """Unsupervised Image-to-Image Translation Networks.

    Liu et al., 2017, arXiv:1703.00848.

    An encoder and a decoder for each domain, with one latent space: an image and its
    translation should have the same latent.

    z = E_a(a) + e, e ~ N(0, I);  a~ = G_a(z),  b~ = G_b(z);  z' = E_b(b~) + e'

    and the same from b:

    L = gan_weight L_GAN(b~, D_b)
      + kl_weight |E_a(a)|^2 + recon_weight |a~ - a|_1             (VAE; section 3)
      + cycle_kl_weight |E_b(b~)|^2 + cycle_weight |G_a(z') - a|_1 (cycle; section 3)

    The encoders share their last layers and the decoders their first ones (`shared`, in
    the networks): the paper's reason why the latents of both domains mean the same. D
    moves first.

    Differs from the paper: the networks and the discriminator of several scales are the
    authors' code's. Divergences and distances are means over an image's numbers, as
    there, and the cycle counts the divergence of the translation's latent alone. G
    descends -log D. The code's distance in a VGG's features is not included (its weight
    is 0 in three of the code's five configurations, and 1 in that of gta2city).
    """

    ema_networks = ("E", "G")
    discriminators = ("D_a", "D_b")
    directions: Sequence[str] = ("b", "a")
    # (images, domain) -> means of latents; has `latent` (channels), `halvings` and
    # `multiple`
    E: Any

    def __init__(
        self,
        shape: Shape,
        E: Callable[..., nn.Module],
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        shared: int = 1,
        adversarial: Literal["bce", "lsgan"] = "bce",
        gan_weight: float = 10.0,
        kl_weight: float = 0.1,
        recon_weight: float = 100.0,
        cycle_kl_weight: float = 0.1,
        cycle_weight: float = 100.0,
    ) -> None:
        """Build the networks for `shape`.

        shared: residual blocks on either side of the latent that both domains share
        adversarial: cross entropy, or least squares
        gan_weight, kl_weight, recon_weight, cycle_kl_weight, cycle_weight: the paper's
            lambda 0 to 4 (section 4); with the last two 0, no cycle is computed
        """
        super().__init__()
        self.E = E(channels=shape.channels, shared=shared)
        self.G = G(
            channels=shape.channels,
            shared=shared,
            latent=self.E.latent,
            doublings=self.E.halvings,
        )
        self.D_a, self.D_b = (D(channels=shape.channels) for _ in range(2))
        self.adversarial: Literal["bce", "lsgan"] = adversarial
        self.gan_weight, self.kl_weight, self.recon_weight = gan_weight, kl_weight, recon_weight
        self.cycle_kl_weight, self.cycle_weight = cycle_kl_weight, cycle_weight
        self.multiple: int = self.E.multiple
        self.players = {"G": [self.E, self.G], "D": [self.D_a, self.D_b]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """D, then both directions of the generators' loss."""
        real = next(batches)
        yield Update("D", self.d_loss, real)
        yield Update("G", (self.a_loss, self.b_loss), real)

    def d_loss(self, real: Batch) -> Terms:
        """The sum of the discriminators' losses.

        They share no weights, so one descent of the sum is a descent of each.
        """
        with torch.no_grad():
            to_b = self.G(add_noise(self.E(real.a, 0)), 1)
            to_a = self.G(add_noise(self.E(real.b, 1)), 0)
        a = self.gan_loss(self.D_a, real.a, True) + self.gan_loss(self.D_a, to_a, False)
        b = self.gan_loss(self.D_b, real.b, True) + self.gan_loss(self.D_b, to_b, False)
        return Terms(self.gan_weight * (a + b), {"a": a, "b": b})

    def a_loss(self, real: Batch) -> Terms:
        """The translators' loss on the images of domain a."""
        return self.translate_and_reconstruct(real.a, 0, self.D_b)

    def b_loss(self, real: Batch) -> Terms:
        """The translators' loss on the images of domain b."""
        return self.translate_and_reconstruct(real.b, 1, self.D_a)

    def translate_and_reconstruct(self, x: Tensor, domain: int, discriminator: nn.Module) -> Terms:
        """The terms of L of images x of one domain: 0 for a, 1 for b."""
        mean = self.E(x, domain)
        z = add_noise(mean)
        reconstructed, fake = self.G(z, domain), self.G(z, 1 - domain)
        log = {
            "adversarial": self.gan_loss(discriminator, fake, True),
            "kl": divergence(mean),
            "reconstruction": l1_loss(reconstructed, x),
        }
        loss = (
            self.gan_weight * log["adversarial"]
            + self.kl_weight * log["kl"]
            + self.recon_weight * log["reconstruction"]
        )
        if self.cycle_kl_weight or self.cycle_weight:
            mean = self.E(fake, 1 - domain)
            log["cycle_kl"] = divergence(mean)
            log["cycle"] = l1_loss(self.G(add_noise(mean), domain), x)
            loss = loss + self.cycle_kl_weight * log["cycle_kl"] + self.cycle_weight * log["cycle"]
        return Terms(loss, log)

    def gan_loss(self, D: nn.Module, x: Tensor, real: bool) -> Tensor:
        """Loss of D's scores of x with the target `real`, summed over D's scales."""
        return torch.stack([by_name(self.adversarial, scores, real) for scores in D(x)]).sum()

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """By the mean of the latent, without noise."""
        target = DOMAINS.index(to)
        return self.G(self.E(x, 1 - target), target)


def divergence(mean: Tensor) -> Tensor:
    """Divergence of N(mean, I) from N(0, I).

    Twice the mean over its numbers, as the authors' code.
    """
    return mean.float().square().mean()


def add_noise(mean: Tensor) -> Tensor:
    """Sample z ~ N(mean, I), the posterior of the encoder; any shape."""
    return mean + rng.normal(*mean.shape, device=mean.device)
