"""Contrastive losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganvas.objectives.precision import wide


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = 0.07) -> Tensor:
    """Noise-contrastive estimation among the patches of each image, [N, P].

    Contrastive Learning for Unpaired Image-to-Image Translation, Park et al., 2020,
    arXiv:2007.15651, equations 2 and 3: the key of a query's own patch against those of
    the other patches of the same image. Keys take no gradient, as in the authors' code.

    queries, keys: [N, P, D], of length 1; query p belongs to key p
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = wide(queries), wide(keys).detach()
        logits = queries @ keys.mT / temperature
        own = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
        return cross_entropy(logits.mT, own, reduction="none")
