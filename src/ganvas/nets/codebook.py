"""Codebooks: latents become some of a few learned vectors, nearest or drawn."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core import distributed, rng
from ganvas.core.errors import UserError
from ganvas.objectives.precision import wide

_TINY = 1e-30  # of the latents of a code that none has been near to for long


class Quantized(NamedTuple):
    """Latents on the codebook.

    z: [N, C, h, w], with the gradient of what was quantized (straight-through)
    codes: their indices [N, h, w]
    codebook, commitment: mean squared distances to the fixed latents (without gradient
        if the codes are moving averages), and of the latents to the fixed codes; of
        drawn codes the weighted divergence of their probabilities from even ones, and 0
    """

    z: Tensor
    codes: Tensor
    codebook: Tensor
    commitment: Tensor


class _Vectors(nn.Module):
    """An `nn.Embedding` whose vectors no optimizer moves."""

    weight: Tensor

    def __init__(self, codes: int, latent: int) -> None:
        super().__init__()
        self.num_embeddings = codes
        self.register_buffer("weight", torch.empty(codes, latent))

    def forward(self, codes: Tensor) -> Tensor:
        """The vectors [..., latent] of codes [...]."""
        return F.embedding(codes, self.weight)


class Codebook(nn.Module):
    """Replace each latent by the nearest of `codes` vectors.

    Neural Discrete Representation Learning, van den Oord et al., 2017,
    arXiv:1711.00937, equations 1 to 3. Vectors ~ U(-1 / codes, 1 / codes).

    ema: gamma of appendix A.1 (.99 there and in VQ-VAE-2, arXiv:1906.00446): each
        vector is the moving average of the latents that are nearest to it, of all
        ranks, and moves after every forward pass in training (with micro-batches, in
        each); no gradient moves it. None: the gradient of the codebook's loss does
    """

    counts: Tensor

    def __init__(self, codes: int, latent: int, ema: float | None = None) -> None:
        super().__init__()
        if ema is not None and not 0 <= ema < 1:
            raise UserError(f"the codebook's moving averages need 0 <= ema < 1; got {ema}")
        self.ema = ema
        self.embedding = nn.Embedding(codes, latent) if ema is None else _Vectors(codes, latent)
        nn.init.uniform_(self.embedding.weight, -1 / codes, 1 / codes)
        if ema is not None:
            self.register_buffer("counts", torch.ones(codes))

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents z [N, C, h, w]."""
        flat = wide(z.detach().movedim(1, -1))
        vectors = self.embedding.weight.detach()
        far = flat.square().sum(-1, keepdim=True) - 2 * flat @ vectors.T + vectors.square().sum(1)
        codes = far.argmin(-1)
        found = self.embedding(codes).movedim(-1, 1)
        codebook = (found - z.detach()).square().mean()
        commitment = (found.detach() - z).square().mean()
        if self.training and self.ema is not None:
            self._average(flat.flatten(0, -2), codes.flatten(), self.ema)
        return Quantized(z + (found - z).detach(), codes, codebook, commitment)

    @torch.no_grad()
    def _average(self, z: Tensor, codes: Tensor, gamma: float) -> None:
        """Move the averages by latents z [M, C] of these codes [M].

        N <- gamma N + (1 - gamma) n and m <- gamma m + (1 - gamma) sum of z, of which
        the vector is m / N. m is not stored, since it is N times the vector: so vectors
        of a file without averages go on from where they are, and those without latents
        stay as they are.
        """
        vectors = self.embedding.weight
        with torch.autocast(z.device.type, enabled=False):
            # A product, since sums by index differ from call to call on a GPU.
            nearest = F.one_hot(codes, len(vectors)).to(z)
            sums = torch.cat([nearest.T @ z, nearest.sum(0)[:, None]], 1)
        sums = distributed.mean(sums) * distributed.world()
        n = sums[:, -1]
        self.counts.mul_(gamma).add_(n, alpha=1 - gamma)
        step = (sums[:, :-1] - n[:, None] * vectors) / self.counts.clamp(min=_TINY)[:, None]
        vectors.add_(step, alpha=1 - gamma)


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
