"""Units of a network against concepts: IoU, thresholds, relative mutual information.

Bau et al., 2018, GAN Dissection: Visualizing and Understanding Generative Adversarial
Networks, arXiv:1811.10597, sections 3.1 and 3.2. A unit is a channel of a layer of
feature maps. A concept is given by a binary map of each image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

# Shares of pixels above a threshold: the 100 that the authors' code tries, and one.
LEVELS = tuple(torch.logspace(-3, 0, 101, dtype=torch.float64)[:-1].flip(0).tolist())
AGREEMENT = 0.8  # of pixels, without which a threshold is no candidate
LEAST_SHARE = 1e-3  # of pixels, below which a concept is left out
LEAST_IOU, LEAST_INFORMATION = 0.05, 0.01  # of a unit that matches a concept
_AT_ONCE = 2**23  # enlarged activations that are in memory at a time


class Matches(NamedTuple):
    """Each unit with each concept; tensors are [units, concepts].

    threshold: above it, the unit counts as active
    iou: E|active and concept| / E|active or concept|, over pixels
    information: mutual information over joint entropy, 0 to 1
    """

    threshold: Tensor
    iou: Tensor
    information: Tensor

    def matched(self) -> Tensor:
        """Whether a unit matches a concept, by the authors' two bounds."""
        return (self.iou > LEAST_IOU) & (self.information > LEAST_INFORMATION)


def unit_thresholds(values: Tensor, levels: Sequence[float] = LEVELS) -> Tensor:
    """Thresholds of units above which given shares of their activations lie.

    values: activations [units, N]
    levels: the shares, descending

    Returns [units, levels], ascending along the levels.
    """
    shares = torch.tensor([1 - level for level in levels], dtype=torch.float64)
    return torch.quantile(values.double(), shares, dim=1).T.contiguous()


class UnitCounts:
    """Counts of pixels by unit, threshold and concept, over any number of images.

    thresholds: [units, T], ascending along T
    joint: pixels that are above a threshold and have a concept [units, T, concepts]
    above: pixels above a threshold [units, T]
    have: pixels that have a concept [concepts]
    pixels: all of them
    """

    def __init__(self, thresholds: Tensor, concepts: int) -> None:
        self.thresholds = thresholds.double().cpu()
        units, count = self.thresholds.shape
        self.joint = torch.zeros(units, count, concepts, dtype=torch.float64)
        self.above = torch.zeros(units, count, dtype=torch.float64)
        self.have = torch.zeros(concepts, dtype=torch.float64)
        self.pixels = 0

    def add(self, features: Tensor, maps: Tensor) -> None:
        """Count a batch.

        features: activations [N, units, h, w], enlarged to the maps' size (bilinear)
        maps: which pixels have each concept, bool [N, concepts, H, W]
        """
        units, size = features.shape[1], (maps.shape[2], maps.shape[3])
        part = max(_AT_ONCE // (units * size[0] * size[1]), 1)
        for f, m in zip(features.cpu().split(part), maps.cpu().split(part), strict=True):
            large = interpolate(f.double(), size, mode="bilinear", align_corners=False)
            self._add(large.movedim(1, 0).flatten(1), m.movedim(1, 0).flatten(1).double())

    def _add(self, values: Tensor, maps: Tensor) -> None:
        units, count = self.thresholds.shape
        bins = torch.searchsorted(self.thresholds, values.contiguous())  # thresholds below a value
        bins = (bins + (count + 1) * torch.arange(units)[:, None]).flatten()

        def tally(weights: Tensor | None) -> Tensor:
            """Pixels above each threshold, [units, T], weighted."""
            weights = None if weights is None else weights.expand(units, -1).flatten()
            found = torch.bincount(bins, weights, minlength=units * (count + 1))
            return found.double().view(units, -1).flip(1).cumsum(1).flip(1)[:, 1:]

        self.above += tally(None)
        for k, concept in enumerate(maps):
            self.joint[..., k] += tally(concept)
        self.have += maps.sum(1)
        self.pixels += values.shape[1]

    def iou(self) -> Tensor:
        """Intersection over union [units, T, concepts]; 0 where the union is empty."""
        union = self.above[..., None] + self.have - self.joint
        return torch.where(union > 0, self.joint / union.clamp(min=1), 0.0)

    def information(self) -> Tensor:
        """I(active; concept) / H(active, concept) [units, T, concepts]: section 3.1."""
        above, have = (self.above / self.pixels)[..., None], self.have / self.pixels
        both = self.joint / self.pixels
        joint = _entropy(both, above - both, have - both, 1 - above - have + both)
        mutual = _entropy(above, 1 - above) + _entropy(have, 1 - have) - joint
        return torch.where(joint > 0, mutual / joint.clamp(min=1e-12), 0.0).clamp(0, 1)

    def agreement(self) -> Tensor:
        """Share of pixels where unit and concept are both, or neither [., T, .]."""
        return 1 - (self.above[..., None] + self.have - 2 * self.joint) / self.pixels

    def matches(self) -> Matches:
        """Each unit at the threshold that tells most of each concept.

        With several thresholds, the one of largest relative mutual information counts,
        among those above 0 at which `AGREEMENT` of the pixels agree; without such a
        threshold a unit has an IoU of 0. Concepts of too few pixels have one of 0, too.
        """
        iou, information = self.iou(), self.information()
        candidate = (self.have >= LEAST_SHARE * self.pixels).expand_as(iou)
        if iou.shape[1] > 1:
            candidate = candidate & (self.thresholds > 0)[..., None]
            candidate = candidate & (self.agreement() > AGREEMENT)
        best = torch.where(candidate, information, -1.0).argmax(1, keepdim=True)
        chosen = candidate.gather(1, best)[:, 0]
        iou, information = (
            torch.where(chosen, x.gather(1, best)[:, 0], 0.0) for x in (iou, information)
        )
        return Matches(self.thresholds.gather(1, best[:, 0]), iou, information)


def _entropy(*shares: Tensor) -> Tensor:
    """- sum of p log p, in nats."""
    terms = [torch.special.entr(p.clamp(0, 1)) for p in shares]
    return torch.stack(torch.broadcast_tensors(*terms)).sum(0)


def standardized_difference(values: Tensor, of: Tensor) -> Tensor:
    """(mean of some rows - mean of the others) / their pooled standard deviation.

    values: [N, units]
    of: the rows, bool [N]; at least two of them, and two others

    Returns [units]; 0 for units that never change.
    """
    some, others = values[of].double(), values[~of].double()
    n, m = len(some), len(others)
    common = ((n - 1) * some.var(0) + (m - 1) * others.var(0)) / (n + m - 2)
    difference = some.mean(0) - others.mean(0)
    return torch.where(common > 0, difference / common.sqrt().clamp(min=1e-12), 0.0)
