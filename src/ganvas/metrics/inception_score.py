"""Inception score: samples confident one by one, diverse together.

Each sample should be of one class, and all samples together of all classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganvas.core import rng

SPLITS = 10
# For the record: which images form a part moves the score, so that figures compare only
# if parts are formed alike.
PROTOCOL = f"{SPLITS} at random"


class InceptionScore:
    """Streaming inception score of logits, in constant memory.

    `exp(mean KL(p(y|x) || p(y)))` (Salimans et al., 2016, arXiv:1606.03498, section 4)
    in each of `splits` parts: 1 at worst; the number of classes at best. It looks at no
    real image, and compares only over one extractor and one number of images.

    Every image belongs to a part that `seed` and its place in the stream decide at
    random, however the stream is cut into batches. A rule such as turns would follow
    the order of the images, and generators that are given labels draw their classes in
    turn.
    """

    def __init__(self, classes: int, seed: int = 0, splits: int = SPLITS) -> None:
        self._rng = np.random.default_rng(rng.fold_in(seed, "inception score"))
        self._p = torch.zeros(splits, classes, dtype=torch.float64)  # sums of p(y|x)
        self._negentropy = torch.zeros(splits, dtype=torch.float64)  # sums of sum p log p
        self._n = torch.zeros(splits, dtype=torch.float64)

    def add(self, logits: Tensor, parts: Tensor | None = None) -> None:
        """Add images.

        logits: [N, classes]
        parts: the part of each image, int64 [N]; None: at random
        """
        log_p = logits.detach().to("cpu", torch.float64).log_softmax(1)
        p = log_p.exp()
        if parts is None:
            # Not `integers`, whose draws depend on how many are drawn at once.
            parts = torch.from_numpy((self._rng.random(len(p)) * len(self._n)).astype(np.int64))
        self._p.index_add_(0, parts, p)
        self._negentropy.index_add_(0, parts, (p * log_p).sum(1))
        self._n.index_add_(0, parts, torch.ones(len(p), dtype=torch.float64))

    def score(self) -> tuple[float, float]:
        """(mean, standard deviation) over the parts that have images."""
        present = self._n > 0
        n = self._n[present]
        marginal = self._p[present] / n[:, None]
        scores = (
            self._negentropy[present] / n - torch.special.xlogy(marginal, marginal).sum(1)
        ).exp()
        return float(scores.mean()), float(np.std(scores.numpy()))
