"""Streaming feature statistics of one image set, in constant memory."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.metrics.features import Extractor, Moments
from ganvas.metrics.inception_score import InceptionScore

KEPT = 10_000  # features kept for the measures that need pairs; the Frechet distance uses all


class Facts(TypedDict):
    """What `FeatureSet.restored` needs beside tensors, JSON-ready.

    count: number of images
    shape: (C, H, W) of the images; None for none
    """

    count: int
    shape: tuple[int, ...] | None


class FeatureSet:
    """Features of a stream of images: moments of all, a sample of at most `KEPT`.

    The sample gives each image a random key that `seed` decides, however the stream is
    cut into batches. `which`: "real" or "generated", for messages; `scored`: whether
    the logits are looked at, too, for the inception score.
    """

    def __init__(
        self, extractor: Extractor, which: str, seed: int = 0, scored: bool = False
    ) -> None:
        self.extractor, self.which = extractor, which
        self.moments = Moments(extractor.dim)
        self.score = (
            InceptionScore(extractor.classes, seed) if scored and extractor.classes else None
        )
        self.shape: tuple[int, ...] | None = None
        self._rng = np.random.default_rng(seed)
        self._keys = torch.empty(0, dtype=torch.float64)
        self._features = torch.empty(0, extractor.dim)
        self._index = torch.empty(0, dtype=torch.long)

    @property
    def count(self) -> int:
        """Number of images added so far."""
        return self.moments.count

    def add(self, images: Tensor) -> None:
        """Add images [N, C, H, W] in [-1, 1].

        Raises `UserError` for another shape than before and for NaN pixels.
        """
        shape = tuple(images.shape[1:])
        if self.shape is not None and shape != self.shape:
            raise UserError(
                f"the {self.which} images are of several sizes: {size_in_words(self.shape)} and "
                f"{size_in_words(shape)}; "
                "choose one"
            )
        self.shape = shape
        if self.score is None:
            features = self.extractor(images).cpu()
        else:
            features, logits = self.extractor.with_logits(images)
            features = features.cpu()
            self.score.add(logits)
        index = torch.arange(self.count, self.count + len(features))
        self.moments.add(features)
        keys = torch.cat([self._keys, torch.from_numpy(self._rng.random(len(features)))])
        features, index = torch.cat([self._features, features]), torch.cat([self._index, index])
        if len(keys) > KEPT:
            keep = keys.topk(KEPT, largest=False, sorted=False).indices
            keys, features, index = keys[keep], features[keep], index[keep]
        self._keys, self._features, self._index = keys, features, index

    def kept(self) -> tuple[Tensor, Tensor]:
        """(features [n, dim] in float64, their places in the stream [n]), shuffled."""
        order = self._keys.argsort()
        return self._features[order].double(), self._index[order]

    def state(self) -> tuple[dict[str, Tensor], Facts]:
        """(tensors, facts) from which `restored` makes an equal set but for `score`."""
        tensors = {"mean": self.moments.mean, "scatter": self.moments.scatter}
        tensors |= {"keys": self._keys, "features": self._features, "index": self._index}
        return tensors, {"count": self.count, "shape": self.shape}

    @classmethod
    def restored(
        cls, extractor: Extractor, which: str, tensors: dict[str, Tensor], facts: Facts
    ) -> FeatureSet:
        """A set of `state`, for reading: more images would get keys of earlier ones."""
        side = cls(extractor, which)
        side.moments.count, side.moments.mean, side.moments.scatter = (
            facts["count"],
            tensors["mean"],
            tensors["scatter"],
        )
        side.shape = None if facts["shape"] is None else tuple(facts["shape"])
        side._keys, side._features, side._index = (
            tensors["keys"],
            tensors["features"],
            tensors["index"],
        )
        return side


def size_in_words(shape: tuple[int, ...] | None) -> str:
    """Describe a shape (C, H, W), e.g. "64x64 with 3 channels"; None: "none"."""
    return (
        f"{shape[2]}x{shape[1]} with {shape[0]} channel{'s' * (shape[0] != 1)}" if shape else "none"
    )
