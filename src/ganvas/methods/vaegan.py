"""VAE/GAN: a VAE that compares images in a discriminator's features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update, rng
from ganvas.objectives.adversarial import bce, discriminator_log
from ganvas.objectives.variational import gaussian_nll, kl_to_normal, reparameterised


@final
class VAEGAN(Method):
    """Autoencoding beyond pixels using a learned similarity metric.

    Larsen et al., 2015, arXiv:1512.09300.

    A VAE that compares its reconstructions x~ = Dec(z), z ~ q(z|x), with x not in
    pixels but in a layer of a discriminator, which is also the opponent of the decoder:

    L_prior = KL(q(z|x) || N(0, I)),
    L_like  = -E[log N(Dis_l(x); Dis_l(x~), I)]                      (equations 5 and 7)
    L_GAN   = log Dis(x) + log(1 - Dis(x~)) + log(1 - Dis(x_p)),
              x_p = Dec(z_p), z_p ~ N(0, I)                                (Algorithm 1)

    Enc descends L_prior + L_like, Dec descends gamma L_like - log Dis(x~) - log
    Dis(x_p), Dis ascends L_GAN.

    Differs from the paper: the three move in turn, each after the update of the one
    before. Dec descends -log Dis, as the GAN of 2014; the paper's ascends log(1 - Dis).
    No player waits for an opponent that falls behind (the authors' code). L_GAN is a
    mean over the images, real and generated ones of equal weight, as there.

    As in the authors' code (andersbll/autoencoding_beyond_pixels, 24aa0f2), all images
    of a loss pass Dis in one batch, with common statistics of batch norm, and Dis_l is
    the last convolution before its batch norm: with separate statistics, x and a paler
    x~ would have nearly equal features. Its CelebA run leaves Dis(x~) out of L_GAN;
    Algorithm 1 and this do not. Under `Run.augment` x~ is augmented as its x is.
    Samples use the running statistics of batch norm.
    """

    Enc: Any  # images -> [N, 2, latent]
    Dec: Any  # z -> images before tanh; has `latent`, the length of z
    discriminators: Sequence[str] = ("Dis",)
    Dis: Any  # images -> (logits, features)
    ema_networks = ("Enc", "Dec")

    def __init__(
        self,
        shape: Shape,
        Enc: Callable[..., nn.Module],
        Dec: Callable[..., nn.Module],
        Dis: Callable[..., nn.Module],
        gamma: float = 1e-6,
        latent: int = 128,
    ) -> None:
        """Build the networks for `shape`.

        gamma: weight of the similarity for Dec (section 4.1; the authors' code: 1e-6)
        latent: length of z
        """
        super().__init__()
        self.Enc = Enc(size=shape.size, channels=shape.channels, latent=latent)
        self.Dec = Dec(size=shape.size, channels=shape.channels, latent=latent)
        self.Dis = Dis(size=shape.size, channels=shape.channels)
        self.gamma = gamma
        self.players = {"Enc": [self.Enc], "Dec": [self.Dec], "Dis": [self.Dis]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Algorithm 1."""
        real = next(batches)
        yield Update("Enc", self.enc_loss, real)
        yield Update("Dec", self.dec_loss, real)
        yield Update("Dis", self.dis_loss, real)

    def enc_loss(self, real: Batch) -> Terms:
        """L_prior + L_like."""
        q = self.Enc(real.x)
        _, features = self.discriminate(real.x, self.Dec(reparameterised(q)).tanh())
        prior, like = kl_to_normal(q), similarity(*features)
        return Terms(prior + like, {"prior": prior, "like": like})

    def dec_loss(self, real: Batch) -> Terms:
        """-log Dis(x~) / 2 - log Dis(x_p) / 2 + gamma L_like."""
        logits, (f_real, f_rebuilt, _) = self.discriminate(real.x, *self.fakes(real))
        _, d_rebuilt, d_fake = logits
        like = similarity(f_real, f_rebuilt)
        gan = (bce(d_rebuilt, True) + bce(d_fake, True)) / 2
        return Terms(self.gamma * like + gan, {"gan": gan, "like": like})

    def dis_loss(self, real: Batch) -> Terms:
        """-log Dis(x) - log(1 - Dis(x~)) / 2 - log(1 - Dis(x_p)) / 2."""
        (d_real, d_rebuilt, d_fake), _ = self.discriminate(real.x, *self.fakes(real))
        loss = bce(d_real, True) + (bce(d_rebuilt, False) + bce(d_fake, False)) / 2
        return Terms(loss, discriminator_log(d_real, d_fake))

    def discriminate(self, *images: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Logits and features of each of `images`, all [n, C, H, W], from one batch."""
        with rng.alike(len(images)):
            logits, features = self.Dis(torch.cat(images))
        return logits.chunk(len(images)), features.chunk(len(images))

    def fakes(self, real: Batch) -> tuple[Tensor, Tensor]:
        """Reconstructions of the real images, and as many samples."""
        z = reparameterised(self.Enc(real.x))
        return self.Dec(z).tanh(), self.sample(len(real))

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return rng.normal(n, self.Dec.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Dec(z), the images x_p."""
        return self.Dec(self.latent(n) if z is None else z).tanh()

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z|x), [n, latent]."""
        return self.Enc(x)[:, 0]


def similarity(features: Tensor, rebuilt: Tensor) -> Tensor:
    """L_like: the distance of the features of images and of their reconstructions."""
    return gaussian_nll(rebuilt, features)
