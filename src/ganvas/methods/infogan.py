"""InfoGAN: codes that come to mean something without labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from ganvas.core import Batch, Clock, Curve, Plan, Shape, Terms, Update, rng
from ganvas.methods.base import NoiseToImage
from ganvas.objectives.adversarial import bce, discriminator_log
from ganvas.objectives.precision import wide


@final
class InfoGAN(NoiseToImage):
    """InfoGAN: Interpretable Representation Learning by Information Maximizing GANs.

    Chen et al., 2016, arXiv:1606.03657.

    min_{G,Q} max_D  V(D, G) - info_weight L_I(G, Q)                        (equation 6)
    L_I = E[log Q(c | G(z, c))] + H(c)                                      (equation 5)

    The latent is noise and codes c: one category, and continuous ones from U(-1, 1). Q
    reads the codes off a generated image and shares all layers but its head with D, so
    that codes come to mean what changes an image most, without any label. L_I is a
    lower bound on their mutual information; the log has it in nats.

    Differs from the paper: D descends L_I, too, and Q's Gaussian has a deviation of 1,
    as in the authors' code, without its outputs for deviations; its weight is 1 for
    both kinds of codes, as there. Images
    are in [-1, 1] by tanh (there: [0, 1] by a sigmoid). Other sides than 28 px.
    """

    curve: Curve = "linear"  # noise and codes are uniform
    D: Any  # a `nets.infogan.Discriminator`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        noise: int = 62,
        categories: int = 10,
        continuous: int = 2,
        info_weight: float = 1.0,
    ) -> None:
        """Build the networks for `shape`.

        noise: latent dimensions without a meaning
        categories: values of the category
        continuous: number of continuous codes
        info_weight: lambda
        """
        super().__init__()
        self.noise, self.categories, self.continuous = noise, categories, continuous
        self.G = G(latent=noise + categories + continuous, size=shape.size, channels=shape.channels)
        self.D = D(
            size=shape.size, channels=shape.channels, categories=categories, continuous=continuous
        )
        self.info_weight = info_weight
        self.players = {"D": [self.D], "G": [self.G]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step of D and Q, then one of G."""
        real = next(batches)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        """Cross entropy of D, less the bound on the codes' information."""
        z = self.latent(len(real))
        d_real = self.D(real.x)
        d_fake, information = self.read(z)
        loss = bce(d_real, True) + bce(d_fake, False) - self.info_weight * information
        return Terms(loss, discriminator_log(d_real, d_fake))

    def g_loss(self, real: Batch) -> Terms:
        """-E log D(G(z)), less the bound on the codes' information."""
        d_fake, information = self.read(self.latent(len(real)))
        loss = bce(d_fake, True) - self.info_weight * information
        return Terms(loss, {"information": information})

    def read(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(D's scores of the images of z, the bound on their information in nats)."""
        category, values = z[:, self.noise :].split([self.categories, self.continuous], 1)
        scores, q = self.D(self.G(z), codes=True)
        information = math.log(self.categories) - cross_entropy(wide(q.logits), category.argmax(1))
        # -log N(c; mean, 1), and the entropy log 2 of U(-1, 1).
        errors = (wide(q.mean) - values).square() / 2 + math.log(2 * math.pi) / 2
        return scores, information + (math.log(2) - errors).sum(1).mean()

    def latent(self, n: int) -> Tensor:
        """Noise and continuous codes from U(-1, 1), a one-hot category between them."""
        uniform = 2 * rng.uniform(n, self.noise + self.continuous, device=self.device) - 1
        category = one_hot(rng.integers(n, self.categories, device=self.device), self.categories)
        noise, values = uniform.split([self.noise, self.continuous], 1)
        return torch.cat([noise, category.to(uniform.dtype), values], 1)
