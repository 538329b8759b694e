"""Codebooks: latents become some of a few learned vectors, nearest or drawn."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.objectives.precision import wide


class Quantized(NamedTuple):
    """Latents on the codebook.

    z: [N, C, h, w], with the gradient of what was quantized (straight-through)
    codes: their indices [N, h, w]
    codebook, commitment: mean squared distances to the fixed latents, and of the
        latents to the fixed codes; of drawn codes the weighted divergence of their
        probabilities from even ones, and 0
    """

    z: Tensor
    codes: Tensor
    codebook: Tensor
    commitment: Tensor


class Codebook(nn.Module):
    """Replace each latent by the nearest of `codes` vectors.

    Neural Discrete Representation Learning, van den Oord et al., 2017,
    arXiv:1711.00937, equations 1 to 3. Vectors ~ U(-1 / codes, 1 / codes).
    """

    def __init__(self, codes: int, latent: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, latent)
        nn.init.uniform_(self.embedding.weight, -1 / codes, 1 / codes)

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents z [N, C, h, w]."""
        flat = wide(z.movedim(1, -1))
        vectors = self.embedding.weight
        far = flat.square().sum(-1, keepdim=True) - 2 * flat @ vectors.T + vectors.square().sum(1)
        codes = far.argmin(-1)
        found = self.embedding(codes).movedim(-1, 1)
        codebook = (found - z.detach()).square().mean()
        commitment = (found.detach() - z).square().mean()
        return Quantized(z + (found - z).detach(), codes, codebook, commitment)


class GumbelCodebook(nn.Module):
    """Replace each latent by one of `codes` vectors, drawn by learned probabilities.

    Zero-Shot Text-to-Image Generation, Ramesh et al., 2021, arXiv:2102.12092, section
    2.1, as `GumbelQuantize` of CompVis/taming-transformers; the relaxed draw is that of
    Jang et al., 2016, arXiv:1611.01144. In training the draw is hard, with the gradient
    of the relaxed one; else the most probable code (there it is drawn, too).

    temperature: of the relaxed draw; nearer to 0 its gradient is nearer to the truth,
        and varies more
    divergence_weight: of the divergence from even probabilities, in nats a latent
    """

    def __init__(
        self, codes: int, latent: int, temperature: float = 1.0, divergence_weight: float = 1e-8
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise UserError(f"the temperature of drawn codes is above 0; got {temperature}")
        self.proj = nn.Conv2d(latent, codes, 1)
        self.embed = nn.Embedding(codes, latent)
        self.temperature, self.divergence_weight = temperature, divergence_weight

    @property
    def embedding(self) -> nn.Embedding:
        """The codes' vectors."""
        return self.embed

    def forward(self, z: Tensor) -> Quantized:
        """Draw codes for latents z [N, C, h, w]."""
        logits = wide(self.proj(z)).movedim(1, -1)
        log_p = logits.log_softmax(-1)
        even = math.log(self.embed.num_embeddings)
        divergence = (log_p.exp() * (log_p + even)).sum(-1).mean()
        if self.training:
            noise = rng.uniform(*log_p.shape, device=z.device).clamp(1e-20)
            soft = ((log_p - noise.log().neg().log()) / self.temperature).softmax(-1)
            codes = soft.argmax(-1)
            hard = F.one_hot(codes, soft.shape[-1]).to(soft)
            found = (hard + soft - soft.detach()) @ self.embed.weight
        else:
            codes = log_p.argmax(-1)
            found = self.embed(codes)
        weighted = self.divergence_weight * divergence
        return Quantized(found.movedim(-1, 1), codes, weighted, weighted.new_zeros(()))
