"""Samples against real images, as one record that says how it was taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas import __version__
from ganvas.core.environment import commit, machine
from ganvas.core.errors import UserError
from ganvas.metrics.feature_set import FeatureSet, size_in_words
from ganvas.metrics.features import Extractor
from ganvas.metrics.frechet import SHARES, extrapolated, frechet_distance, subset_distances
from ganvas.metrics.inception_score import PROTOCOL as SPLITS
from ganvas.metrics.kid import kernel_distance_interval
from ganvas.metrics.precision_recall import fidelity

ENOUGH = 2048  # images below which a Frechet distance's bias is worth a warning
PAIRS = 2000  # images of either side for the mean distance between pairs
HALVES = 8  # random halves of the kept features, for the Frechet distance's spread and bias
SUBSETS = 100  # for the kernel distance's interval


def measure_samples(
    fake: Iterable[Tensor],
    real: Iterable[Tensor] | FeatureSet,
    extractor: Extractor,
    *,
    k: int = 5,
    seed: int = 0,
    extrapolate: bool = False,
) -> dict[str, Any]:
    """How near the distribution of `fake` is to that of `real`: batches of images [N, C, H, W] in [-1, 1], of one size;
    `real` may be a `Side` that was filled before.

    A JSON-ready record. `values`: `frechet`, called `fid` over the official network only (0 is best), with `.._bias` where
    there are few images and `.._infinity` where `extrapolate` asks for it (see `frechet.extrapolated`); `kernel` (0 is
    best); `precision`, `recall`, `density`, `coverage` (1 is best; `k` nearest neighbours); `diversity` (the mean distance
    between two fakes divided by that between two reals; 1 is best, near 0 the generator has collapsed);
    `inception_score` with `inception_score_std` where the extractor has classes.

    `intervals`: [low, high] at 95%, of the kernel distance (see `kernel_distance_interval`) and of the Frechet distance:
    for it from the spread of random halves, of sampling alone; the bias is not in it. In trials with Gaussians that
    spread was right to 40% where the distance was well above its bias, and up to four times too wide where it was
    mostly bias.

    `protocol`: everything that must be equal for two records to compare: extractor and hash of its weights,
    resizer, image [C, H, W], counts, neighbours, how the inception score is split. `details`, `seed`, `notes` (what to
    mind), `machine`, `ganvas` and `commit` besides.

    Takes memory for at most 10,000 feature vectors of either side (chosen at random; the fakes by `seed`), however many
    images there are. Raises `UserError` for too few images, mixed sizes or channels, and NaN pixels."""
    reals = real if isinstance(real, FeatureSet) else filled(FeatureSet(extractor, "real"), real)
    fakes = FeatureSet(extractor, "generated", seed, scored=True)
    for images in fake:
        if reals.shape and tuple(images.shape[1:]) != reals.shape and not fakes.count:
            raise UserError(
                f"real images are {size_in_words(reals.shape)} and generated ones "
                f"{size_in_words(tuple(images.shape[1:]))}: bring the real ones to the generated ones' size and channels"
            )
        fakes.add(images)
    few = min(fakes.count, reals.count)
    if few <= k + 1:
        raise UserError(
            f"a measure needs more than {k + 1} images on either side (hundreds, to mean anything); got {reals.count} "
            f"real and {fakes.count} generated"
        )
    assert fakes.shape is not None
    (x, _), (y, _) = reals.kept(), fakes.kept()
    name = extractor.distance
    distance = frechet_distance(*reals.moments.statistics(), *fakes.moments.statistics())
    halves = subset_distances(x, y, [0.5] * HALVES, seed)
    # The variance of halves among the kept is that of the kept themselves (delete-d jackknife), and falls as 1 / N.
    spread = float(np.std(halves, ddof=1)) * (min(len(x), len(y)) / few) ** 0.5
    kernel = kernel_distance_interval(x, y, subsets=SUBSETS, seed=seed)
    between_reals = _spread(x)
    values: dict[str, Any] = {
        name: distance,
        "kernel": kernel.value,
        **fidelity(x, y, k)._asdict(),
        "diversity": _spread(y) / between_reals if between_reals else None,
    }
    notes = []
    if few < ENOUGH:
        # Halves exceed the whole by as much as the whole exceeds the truth: the bias falls as 1 / N.
        bias = min(max(float(np.mean(halves)) - distance, 0.0), distance)
        values[f"{name}_bias"] = bias
        notes.append(
            f"The Frechet distance is taken from {few:,} images, fewer than {ENOUGH:,}: it is biased upwards, here by "
            f"roughly {bias:.3g} (of {distance:.3g}). Compare it only with figures of the same counts."
        )
    if extrapolate:
        values[f"{name}_infinity"] = extrapolated(x, y, seed)
        smallest = round(min(len(x), len(y)) * SHARES[-1])
        if smallest < extractor.dim:
            notes.append(
                f"The distance at infinitely many images rests on subsets of down to {smallest:,}, fewer than the "
                f"{extractor.dim:,} dimensions: it is too high. Take at least {extractor.dim * round(1 / SHARES[-1]):,} "
                "images of either side."
            )
    protocol: dict[str, Any] = {
        "extractor": extractor.name,
        "extractor_hash": extractor.hash,
        "resizer": extractor.resizer(*fakes.shape[1:]),
        "image": list(fakes.shape),
        "real": {"count": reals.count},
        "fake": {"count": fakes.count},
        "neighbours": k,
    }
    if fakes.score is not None:
        values["inception_score"], values["inception_score_std"] = fakes.score.score()
        protocol["inception_score_splits"] = SPLITS
    return {
        "values": values,
        "intervals": {
            name: [max(distance - 1.96 * spread, 0.0), distance + 1.96 * spread],
            "kernel": [kernel.low, kernel.high],
        },
        "protocol": protocol,
        "details": {
            "kernel_subsets": {
                "mean": kernel.subset_mean,
                "std": kernel.subset_std,
                "size": kernel.subset_size,
                "count": SUBSETS,
            },
            "pairs_from": {"real": len(x), "fake": len(y)},
        },
        "seed": seed,
        "notes": notes,
        "machine": machine(),
        "ganvas": __version__,
        "commit": commit(),
    }


def filled(side: FeatureSet, batches: Iterable[Tensor]) -> FeatureSet:
    """`side` with the images of all batches."""
    for images in batches:
        side.add(images)
    return side


def measurements(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name -> what `measure_samples` returned, of a record that holds one ("") or several side by side (checkpoints, the
    directions of a translation)."""
    if isinstance(record.get("values"), dict):
        return {"": record}
    return {k: v for k, v in record.items() if isinstance(v, dict) and isinstance(v.get("values"), dict)}


def _spread(x: Tensor) -> float:
    """The mean distance between two of the features [N, dim]."""
    return float(torch.pdist(x[:PAIRS]).mean())
