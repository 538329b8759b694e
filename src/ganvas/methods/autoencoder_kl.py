"""KL autoencoder: the latents of diffusion models, sharpened by a game."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Length, Plan, Shape
from ganvas.methods.base import AdversarialAutoencoder
from ganvas.objectives.variational import kl_to_normal, reparameterised


@final
class AutoencoderKL(AdversarialAutoencoder):
    """High-Resolution Image Synthesis with Latent Diffusion Models: its autoencoder.

    Rombach et al., 2021, arXiv:2112.10752.

    L = |x - x~| + perceptual_weight LPIPS(x, x~) + kl_weight KL(q(z|x) || N(0, I))
        - lambda E D(x~),                                   (section 3.1, appendix G)
    x~ = decoder(z), z ~ q(z|x)

    lambda brings the gradients of reconstruction and game at the decoder's last layer
    to the same length, times `adversarial_weight`; the game begins after `start`
    images. D is a patch discriminator with the hinge loss. Latents are what diffusion
    models are trained on.

    Differs from the paper: no learned variance of the output. Distances are means over
    pixels (the authors' code: sums, so that their `kl_weight` is that of the sum over
    latents by the number of pixels, as here). Without `lpips` there is no perceptual
    distance.
    """

    AE: Any  # a `nets.latent_autoencoder.KLAutoencoder`

    def __init__(
        self,
        shape: Shape,
        AE: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        start: Length = 0,
        adversarial_weight: float = 0.5,
        kl_weight: float = 1e-6,
        perceptual_weight: float = 1.0,
        lpips: str | None = None,
    ) -> None:
        """Build the networks for `shape`.

        start: images before the game begins
        adversarial_weight: of the balanced game
        kl_weight: of the divergence, a sum over latents by the number of pixel values
        perceptual_weight: of LPIPS
        lpips: backbone of LPIPS ("vgg", "alex", "squeeze"), whose weights lie in the
            folder GANVAS_WEIGHTS; None: no perceptual distance
        """
        super().__init__(shape, AE, D, start, adversarial_weight, perceptual_weight, lpips)
        self.kl_weight = kl_weight

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Reconstruct; after `start` images D moves, too."""
        pair = next(batches)
        yield from self.game(clock, pair)

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(images, loss of the latents, log); the divergence from N(0, I)."""
        q = self.AE.encode(x)
        kl = kl_to_normal(q.flatten(2))
        return self.AE.decode(reparameterised(q)), self.kl_weight * kl / x[0].numel(), {"kl": kl}

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Reconstructions, from the means of the latents."""
        return self.AE(x)
