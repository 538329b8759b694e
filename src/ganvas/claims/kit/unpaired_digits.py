"""What claims on unpaired translation share: two sets of images as a feed, digits of which no pair exists though the truth is
known, and how near a translation comes to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganvas.data import images
from ganvas.data.feed import Feed, Info

SIDE = 16  # pixels
TRAINING = 800  # digits on either side; the other 197 are the test
SHOWN = 12  # test images of a plot


def shuffled_digits(side: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Scikit-learn's 1,797 digits in one order for every seed: uint8 [N, H, W, 1], which digits they are, the fingerprint."""
    everything = images("digits", size=side)
    raw = everything.raw()
    order = np.random.default_rng(0).permutation(len(raw["x"]))
    return raw["x"][order], raw["y"][order], everything.info.fingerprint


def two_domains(source: str, a: np.ndarray, b: np.ndarray, fingerprint: str) -> Feed:
    """A feed of domains `a` and `b`, uint8 [N, H, W, C] each, of one size."""
    info = Info(
        task="domains",
        source=source,
        layout="two arrays",
        part="train",
        channels=a.shape[3],
        height=a.shape[1],
        width=a.shape[2],
        count=max(len(a), len(b)),
        fingerprint=fingerprint,
        counts={"a": len(a), "b": len(b)},
    )
    return Feed(info, {"a": a, "b": b})


def as_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 [N, H, W, C] -> [N, C, H, W] in [-1, 1]."""
    return torch.from_numpy(pixels).movedim(-1, 1).float() / 127.5 - 1


class Digits(NamedTuple):
    """Digits and negatives. Of no digit that is trained on are both there. `a` [N, 1, H, W] in [-1, 1] were held out,
    and the true translation of the i-th is the i-th of `b`.
    """

    feed: Feed
    a: Tensor
    b: Tensor


def digits_and_negatives() -> Digits:
    """The same split for every seed."""
    pixels, _, fingerprint = shuffled_digits(SIDE)
    a, b = pixels[:TRAINING], 255 - pixels[TRAINING : 2 * TRAINING]
    held_out = pixels[2 * TRAINING :]
    feed = two_domains("digits and negatives of other digits", a, b, fingerprint)
    return Digits(feed, as_tensor(held_out), as_tensor(255 - held_out))


class TranslationScores(NamedTuple):
    """`matched`: the share of outputs whose nearest true translation (of all test images) is their own input's. `distinct`:
    how many different true translations are some output's nearest, as a share. `spread`: the mean distance between two
    outputs over that between two true translations. All 1 for the true translation; all but 0 where every input gives one
    output (1/N, 1/N and 0).
    """

    matched: float
    distinct: float
    spread: float


def translation_scores(output: Tensor, truth: Tensor) -> TranslationScores:
    """`output`, `truth`: [N, C, H, W], the i-th of both from one input. Distances are Euclidean, over pixels."""
    out, true = output.flatten(1).double(), truth.flatten(1).double()
    nearest = torch.cdist(out, true).argmin(1)
    return TranslationScores(
        matched=float((nearest == torch.arange(len(true))).double().mean()),
        distinct=len(nearest.unique()) / len(true),
        spread=float(torch.pdist(out).mean() / torch.pdist(true).mean()),
    )


def gray_levels(x: Tensor, count: int = SHOWN) -> list[Any]:
    """The first images of [N, 1, H, W] as lists of gray values 0 to 255, for a record's pictures."""
    return ((x[:count, 0].clamp(-1, 1) + 1) * 127.5).round().int().tolist()
