"""VQGAN: images as grids of learned codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Length, Plan, Shape
from ganvas.methods.base import AdversarialAutoencoder


@final
class VQGAN(AdversarialAutoencoder):
    """Taming Transformers for High-Resolution Image Synthesis: its VQGAN.

    Esser et al., 2020, arXiv:2012.09841.

    L = |x - x~| + LPIPS(x, x~) + |sg[E(x)] - z_q|^2 + commitment |sg[z_q] - E(x)|^2
        - lambda E D(x~)                                          (equations 4 to 7)

    Each latent of the encoder E is replaced by the nearest vector of a learned
    codebook, z_q; its gradient passes straight through. lambda brings the gradients of
    reconstruction and game at the decoder's last layer to the same length; the game
    begins after `start` images.

    Differs from the paper: `commitment` is at the encoder's term, as in the paper (the
    authors' code has it at the codebook's). Without `lpips` there is no perceptual
    distance. The transformer, which models the codes, is not part of it. With
    `AE.gumbel=true` codes are drawn by learned probabilities, as in the authors'
    GumbelVQ, at one temperature (there it falls). With `AE.ema=0.99` the codes are
    moving averages of their latents (van den Oord et al., 2017, arXiv:1711.00937,
    appendix A.1), in place of the third term.
    """

    AE: Any  # a `nets.latent_autoencoder.VQAutoencoder`

    def __init__(
        self,
        shape: Shape,
        AE: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        start: Length = 0,
        adversarial_weight: float = 0.8,
        commitment: float = 0.25,
        perceptual_weight: float = 1.0,
        lpips: str | None = None,
    ) -> None:
        """Build the networks for `shape`.

        start: images before the game begins
        adversarial_weight: of the balanced game
        commitment: beta
        perceptual_weight: of LPIPS
        lpips: backbone of LPIPS ("vgg", "alex", "squeeze"), whose weights lie in the
            folder GANVAS_WEIGHTS; None: no perceptual distance
        """
        super().__init__(shape, AE, D, start, adversarial_weight, perceptual_weight, lpips)
        self.commitment = commitment

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Reconstruct; after `start` images D moves, too."""
        pair = next(batches)
        yield from self.game(clock, pair)

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(images, loss of the latents, log); codebook and commitment."""
        q = self.AE.encode(x)
        count = self.AE.quantize.embedding.num_embeddings
        # The shape of `unique` depends on the values: it would wait for an accelerator.
        used = q.codebook.new_zeros(count).index_fill(0, q.codes.flatten(), 1.0).mean()
        log = {"codebook": q.codebook, "used": used}
        return self.AE.decode(q.z), q.codebook + self.commitment * q.commitment, log

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Reconstructions."""
        return self.AE(x)
