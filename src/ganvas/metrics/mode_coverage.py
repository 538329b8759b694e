"""Mode coverage, number of different images, and memorization of training images.

The modes are those of a known distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from scipy.stats import chi2, rankdata
from torch import Tensor

from ganvas.core.errors import UserError
from ganvas.metrics.precision_recall import CHUNK, nearest, squared_distances

SAMPLES = 2500  # that PacGAN's protocol draws of a mixture
STACKED_SAMPLES = 26_000  # of stacked MNIST
REACH = 3.0  # deviations from its center within which a sample is good


class Modes(NamedTuple):
    """`found` of `total` modes hold a good sample.

    good: the share of samples that are good; `reverse_kl`: of the samples' modes
    against equal shares, in nats; `counts`: good samples by mode, in the order of the
    centers.
    """

    found: int
    total: int
    good: float
    reverse_kl: float
    counts: tuple[int, ...]


def score_modes(samples: Tensor, centers: Tensor, sigma: float) -> Modes:
    """Modes of a mixture that samples cover: PacGAN's protocol.

    Lin et al., 2018, arXiv:1712.04086, section 4.1, which draws 2,500 samples.

    samples [n, dim], or [n, dim, 1, 1] as a generator of points gives them; centers [k,
    dim]; `sigma`: the standard deviation of every mode. A sample is good (the paper: of
    high quality) within 3 sigma of the nearest center; a mode is found if it is the
    nearest of at least one good sample. The reverse KL is `sum_k p_k log(p_k K)`, where
    p are the shares of all samples, good or not, by their nearest center: 0 if all
    modes get equally many, log K if one gets all. (The authors' released code counts
    good samples only.) A sample that is not finite is not good and in no mode's share.
    """
    x = samples.detach().flatten(1).to("cpu", torch.float64)
    centers = centers.detach().to("cpu", torch.float64)
    if x.ndim != 2 or not len(x) or centers.ndim != 2 or x.shape[1] != centers.shape[1]:
        raise UserError(
            "samples [n, dim] and centers [k, dim] of one dimension are needed; got "
            f"{list(samples.shape)} and "
            f"{list(centers.shape)}"
        )
    if sigma <= 0:
        raise UserError(f"the deviation of a mode must be above 0; got {sigma}")
    finite = x.isfinite().all(1)
    distance, mode = torch.cdist(x[finite], centers).min(1)
    counts = torch.bincount(mode[distance < REACH * sigma], minlength=len(centers))
    shares = torch.bincount(mode, minlength=len(centers)) / max(len(mode), 1)
    return Modes(
        found=int((counts > 0).sum()),
        total=len(centers),
        good=float(counts.sum()) / len(x),
        reverse_kl=_against_uniform(shares) if len(mode) else math.inf,
        counts=tuple(counts.tolist()),
    )


def _against_uniform(p: Tensor) -> float:
    """KL(p || uniform) in nats."""
    p = p.double() / p.double().sum()
    return max(float(torch.special.xlogy(p, p * len(p)).sum()), 0.0)


# ---------------------------------------------------------------- stacked MNIST


class StackedModes(NamedTuple):
    """`found` of the 1,000 modes hold a sample.

    reverse_kl: of the samples' modes against equal shares, in nats.
    """

    found: int
    total: int
    reverse_kl: float
    samples: int


def stacked_mnist(digits: Tensor, labels: Tensor, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Stack three random digits as color channels: (images [n, 3, H, W], modes [n]).

    The mode is the number that their classes spell, 0 to 999. digits [N, 1, H, W] or
    [N, H, W] of any type, which stays; labels [N], 0 to 9. Metz et al., 2016,
    arXiv:1611.02163, section 3.3.1. PacGAN trains on 128,000.
    """
    digits = digits[:, 0] if digits.ndim == 4 and digits.shape[1] == 1 else digits
    if digits.ndim != 3 or len(digits) != len(labels) or not len(digits):
        raise UserError(
            f"gray digits [N, H, W] and their N labels are stacked; got {list(digits.shape)} and "
            f"{list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() > 9:
        raise UserError(
            f"digits have labels 0 to 9; got {int(labels.min())} to {int(labels.max())}"
        )
    index = torch.randint(len(digits), (n, 3), generator=torch.Generator().manual_seed(seed))
    return digits[index], labels[index].long() @ torch.tensor([100, 10, 1])


@torch.no_grad()
def score_stacked_mnist(
    batches: Iterable[Tensor], classify: Callable[[Tensor], Tensor]
) -> StackedModes:
    """Number of the 1,000 modes of stacked MNIST that a generator covers.

    PacGAN, section 4.2, after VEEGAN, which draws `STACKED_SAMPLES` = 26,000.

    batches: images [N, 3, H, W]. `classify`: gray images [N, 1, H, W] -> scores of
    the 10 digits [N, 10]; with the extractor `lenet-mnist` it is `lambda x:
    lenet.with_logits(x)[1]`. A mode is found if at least one sample's three channels
    are so classified. The classifier is part of the protocol: papers' differ. Perfect
    data scores a reverse KL of about 999 / (2 n), .019 at 26,000, and not 0.
    """
    counts = torch.zeros(1000, dtype=torch.int64)
    for x in batches:
        if x.ndim != 4 or x.shape[1] != 3:
            raise UserError(f"stacked digits are [N, 3, height, width]; got {list(x.shape)}")
        scores = classify(x.flatten(0, 1).unsqueeze(1))
        if scores.shape != (3 * len(x), 10):
            raise UserError(
                f"the classifier must score 10 digits for each channel; got {list(scores.shape)}"
            )
        modes = scores.argmax(1).view(-1, 3).cpu() @ torch.tensor([100, 10, 1])
        counts += torch.bincount(modes, minlength=1000)
    n = int(counts.sum())
    if not n:
        raise UserError("there are no samples to score")
    return StackedModes(int((counts > 0).sum()), 1000, _against_uniform(counts / n), n)


# ---------------------------------------------------------------- different images


class Birthday(NamedTuple):
    """Duplicates among samples and the number of different images that they imply.

    pairs: the closest (i, j, distance), closest first, for inspection.

    duplicates: how many pairs are no further apart than the threshold. `support`: how
    many different images, equally likely, would give as many (infinite for none);
    low, high: its 95% interval.
    """

    pairs: list[tuple[int, int, float]]
    duplicates: int
    support: float
    low: float
    high: float


def birthday(samples: Tensor, threshold: float, shown: int = 20) -> Birthday:
    """Birthday paradox test for the number of images that a generator can produce.

    Arora and Zhang, 2017, arXiv:1706.08224: among n samples of a generator of N images,
    about n (n - 1) / (2 N) pairs are duplicates (the paper's rule of thumb: a duplicate
    in half of all draws of n means about n^2 images). The interval takes their number
    for Poisson's. Images are not equally likely in truth; then the figure is below
    their number.

    samples [n, dim]: features, or pixels, of at least 2 samples. What a duplicate is,
    the paper decides by inspection of the closest pairs; here `threshold` does.
    A cautious one is the smallest distance between as many real images.
    """
    x = samples.detach().flatten(1).double()
    n = len(x)
    if n < 2 or threshold < 0:
        raise UserError(
            f"the birthday test needs at least 2 samples and a threshold of 0 or more; got {n} "
            f"and {threshold}"
        )
    x = x - x.mean(0)  # distances are differences of large numbers where the origin is far away
    count, best = 0, torch.empty(0, 3, dtype=torch.float64)
    for start in range(0, n, CHUNK):
        distance = squared_distances(x[start : start + CHUNK], x).clamp(min=0).sqrt()
        later = torch.arange(n) > torch.arange(start, start + len(distance))[:, None]
        distance = distance.masked_fill(~later, torch.inf)
        count += int((distance <= threshold * (1 + 1e-6)).sum())
        closest = distance.flatten().topk(min(shown, distance.numel()), largest=False)
        rows, columns = closest.indices // n + start, closest.indices % n
        best = torch.cat([best, torch.stack([closest.values, rows.double(), columns.double()], 1)])
        best = best[best[:, 0].argsort(stable=True)][:shown]
    pairs = [
        (int(i), int(j), float((x[int(i)] - x[int(j)]).norm()))
        for d, i, j in best.tolist()
        if math.isfinite(d)
    ]
    possible = n * (n - 1) / 2
    few, many = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0, chi2.ppf(0.975, 2 * count + 2) / 2
    return Birthday(
        pairs=pairs,
        duplicates=count,
        support=possible / count if count else math.inf,
        low=possible / float(many),
        high=possible / float(few) if few else math.inf,
    )


class Memorisation(NamedTuple):
    """Distance of samples to training images, relative to that of held-out images.

    ratio: the median distance from a sample to its nearest training image, over that
    of held-out real images: 1 if samples are as new as those, towards 0 if they are
    copies. `z`: below -3 or so, samples lie closer to the training images than chance
    allows; above 3, further away than real images do.
    """

    ratio: float
    z: float


def memorisation(samples: Tensor, training: Tensor, heldout: Tensor) -> Memorisation:
    """Test if samples are copies of training images.

    `z` is the standardized Mann-Whitney statistic of the two sets of distances: Meehan,
    Chaudhuri and Dasgupta, 2020, arXiv:2004.05675, section 3, over the whole space as
    one cell (they also average over cells, which finds a generator that copies in one
    region only).

    samples, training: features [n, dim] and [m, dim] of one extractor
    heldout: features [k, dim] of real images that are not among the training images,
        copies included, which would make the measure too strict
    """
    if min(len(samples), len(training), len(heldout)) < 2:
        raise UserError(
            "memorisation needs at least 2 samples, training images and held-out images; got "
            f"{len(samples)}, {len(training)} and {len(heldout)}"
        )
    fake, real = (nearest(x, training, k=1)[0].flatten() for x in (samples, heldout))
    n, k = len(fake), len(real)
    ranks = torch.from_numpy(rankdata(torch.cat([fake, real]).numpy()))
    u = (
        float(ranks[:n].sum()) - n * (n + 1) / 2
    )  # pairs in which the sample is the further one, ties half
    z = (u - n * k / 2) / math.sqrt(n * k * (n + k + 1) / 12)
    median = float(real.median())
    return Memorisation(float(fake.median()) / median if median else math.nan, z)
