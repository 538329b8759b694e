"""The inception score: whether samples are each of one class, and of all classes together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SPLITS = 10


class InceptionScore:
    """`exp(mean KL(p(y|x) || p(y)))` (Salimans et al., 2016, arXiv:1606.03498, section 4) of a stream of logits, in each of
    `splits` parts, in memory that does not grow with it. 1 at worst; the number of classes at best. It looks at no real
    image, and compares only over one extractor and one number of images."""

    def __init__(self, classes: int, splits: int = SPLITS) -> None:
        self.count = 0
        self._p = torch.zeros(splits, classes, dtype=torch.float64)  # sums of p(y|x)
        self._negentropy = torch.zeros(splits, dtype=torch.float64)  # sums of sum p log p
        self._n = torch.zeros(splits, dtype=torch.float64)

    def add(self, logits: Tensor, parts: Tensor | None = None) -> None:
        """logits [N, classes]; `parts` [N]: which part each image belongs to; None: they take turns."""
        log_p = logits.detach().to("cpu", torch.float64).log_softmax(1)
        p = log_p.exp()
        if parts is None:
            parts = (torch.arange(len(p)) + self.count) % len(self._n)
        self._p.index_add_(0, parts, p)
        self._negentropy.index_add_(0, parts, (p * log_p).sum(1))
        self._n.index_add_(0, parts, torch.ones(len(p), dtype=torch.float64))
        self.count += len(p)

    def score(self) -> tuple[float, float]:
        """(mean, standard deviation) over the parts."""
        present = self._n > 0
        n = self._n[present]
        marginal = self._p[present] / n[:, None]
        scores = (self._negentropy[present] / n - torch.special.xlogy(marginal, marginal).sum(1)).exp()
        return float(scores.mean()), float(np.std(scores.numpy()))


def inception_score(logits: Tensor, splits: int = SPLITS) -> tuple[float, float]:
    """(mean, standard deviation) of the inception score over `splits` successive parts of logits [N, classes]."""
    n = len(logits)
    score = InceptionScore(logits.shape[1], splits)
    ends = [(i + 1) * n // splits for i in range(splits)]
    score.add(logits, torch.bucketize(torch.arange(n), torch.tensor(ends), right=True))
    return score.score()
