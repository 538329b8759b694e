"""Bits per dimension: the negative log likelihood of a value of an image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas.core.errors import UserError


class BitsPerDim(NamedTuple):
    """`value`: the mean over `images`.

    low, high: its 95% interval, from the images' spread.
    """

    value: float
    low: float
    high: float
    images: int


def bits_per_dim(nats: Iterable[Tensor], dimensions: int) -> BitsPerDim:
    """Bits per dimension of images whose -log p is given in nats, in batches [n].

    dimensions: values of an image, channels times height times width

    Raises `UserError` without an image, and for likelihoods that are not finite.
    """
    parts = [part.detach().flatten().double().cpu() for part in nats]
    bits = torch.cat(parts or [torch.empty(0)]) / (dimensions * math.log(2))
    if not len(bits) or not bool(bits.isfinite().all()):
        raise UserError(
            f"bits per dimension need finite likelihoods of at least one image; got {len(bits)} "
            "images"
        )
    mean = float(bits.mean())
    half = 1.96 * float(bits.std()) / math.sqrt(len(bits)) if len(bits) > 1 else math.nan
    return BitsPerDim(mean, mean - half, mean + half, len(bits))
