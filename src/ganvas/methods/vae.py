"""VAE: the variational autoencoder, as a baseline for GANs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update, rng
from ganvas.objectives.variational import bernoulli_nll, gaussian_nll, kl_to_normal, reparameterised


@final
class VAE(Method):
    """Auto-Encoding Variational Bayes.

    Kingma and Welling, 2013, arXiv:1312.6114.

    log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || N(0, I)),
    z = mean + deviation * e,  e ~ N(0, I)                                 (equation 10)

    One player: the encoder, which gives q(z|x), and the decoder, which gives p(x|z),
    ascend the bound together. It is no game; it is here as a baseline for games.
    `sample` and reconstructions are the means of p(x|z), as shown in the paper.

    Differs from the paper: a Gaussian p(x|z) has one deviation, `sigma`, for all
    pixels. The paper's decoder gives each pixel its own deviation; a pixel that is
    always black then has deviation 0, and the bound is infinite. No prior on the
    weights.
    """

    Enc: Any  # images -> [N, 2, latent]
    Dec: Any  # z -> images before tanh; has `latent`, the length of z
    ema_networks = ("Enc", "Dec")

    def __init__(
        self,
        shape: Shape,
        Enc: Callable[..., nn.Module],
        Dec: Callable[..., nn.Module],
        likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
        sigma: float = 0.1,
        latent: int = 20,
    ) -> None:
        """Build the networks for `shape`.

        likelihood: of a pixel; "bernoulli" takes gray as a probability of white
        sigma: deviation of the Gaussian in the units of images, -1 to 1; smaller:
            better reconstructions and less weight of the prior
        latent: length of z
        """
        super().__init__()
        self.Enc = Enc(size=shape.size, channels=shape.channels, latent=latent)
        self.Dec = Dec(size=shape.size, channels=shape.channels, latent=latent)
        self.likelihood, self.sigma = likelihood, sigma
        self.players = {"VAE": [self.Enc, self.Dec]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Algorithm 1, one e for each image."""
        yield Update("VAE", self.loss, next(batches))

    def loss(self, real: Batch) -> Terms:
        """Minus the bound, with one e for each image (equation 10)."""
        q = self.Enc(real.x)
        out, kl = self.Dec(reparameterised(q)), kl_to_normal(q)
        if self.likelihood == "bernoulli":
            error = bernoulli_nll(2 * out, real.x)  # (tanh(h) + 1) / 2 is the sigmoid of 2h
        else:
            error = gaussian_nll(out.tanh(), real.x, self.sigma)
        return Terms(error + kl, {"reconstruction": error, "kl": kl})

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]."""
        return rng.normal(n, self.Dec.latent, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """The means of p(x|z)."""
        return self.Dec(self.latent(n) if z is None else z).tanh()

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z|x), [n, latent]."""
        return self.Enc(x)[:, 0]
