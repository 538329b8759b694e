"""Measure samples against real images: one record with its protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from ganvas import __version__
from ganvas.core.environment import commit, machine
from ganvas.core.errors import UserError
from ganvas.core.json_files import Json
from ganvas.metrics.feature_set import FeatureSet, size_in_words
from ganvas.metrics.features import Extractor
from ganvas.metrics.frechet import SHARES, extrapolated, frechet_distance, subset_distances
from ganvas.metrics.inception_score import PROTOCOL as SPLITS
from ganvas.metrics.kid import kernel_distance_interval
from ganvas.metrics.precision_recall import fidelity

T = TypeVar("T")
ENOUGH = 2048  # images; with fewer, the bias of a Fréchet distance is worth a warning
PAIRS = 2000  # images of each set for the mean distance between pairs
HALVES = 8  # random halves of the kept features, for the Fréchet distance's spread and bias
SUBSETS = 100  # for the kernel distance's interval


def measure_samples(
    fake: Iterable[Tensor],
    real: Iterable[Tensor] | FeatureSet,
    extractor: Extractor,
    *,
    k: int = 5,
    seed: int = 0,
    extrapolate: bool = False,
) -> dict[str, Json]:
    """Measure how near the distribution of generated images is to that of real ones.

    fake: batches of images [N, C, H, W] in [-1, 1], of one size
    real: the same, or a `FeatureSet` of real images
    extractor: see `ganvas.metrics.features.extractor`
    k: rank of the nearest neighbor for precision, recall, density and coverage
    seed: decides the generated images whose features are kept, and all random subsets
    extrapolate: also the Fréchet distance at infinitely many images

    Returns a JSON-ready record:

    values: `frechet`, called `fid` over the official network only (0 is best), with
    `.._bias` if there are few images and `.._infinity` if `extrapolate` is set (see
    `frechet.extrapolated`); `kernel` (0 is best); `precision`, `recall`, `density`,
    `coverage` (1 is best); `diversity` (the mean distance between two generated images
    divided by that between two real ones; 1 is best, near 0 the generator has
    collapsed); `classifier_score` with `classifier_score_std` if the extractor has
    classes, called `inception_score` over the official network only.

    intervals: [low, high] at 95%, of the kernel distance (see
    `kernel_distance_interval`) and of the Fréchet distance. The latter comes from the
    spread of random halves: it covers the sampling alone, not the bias. In trials with
    Gaussians that spread was right to 40% where the distance was well above its bias,
    and up to four times too wide where it was mostly bias.

    protocol: everything that must be equal for two records to compare: extractor and
    hash of its weights, resizer, image [C, H, W], counts, neighbors, split of the
    inception score.

    Also `details`, `seed`, `notes` (caveats), `machine`, `ganvas` and `commit`.

    Takes memory for at most 10,000 feature vectors of each set (chosen at random; the
    generated ones by `seed`), however many images there are. Raises `UserError` for too
    few images, mixed sizes or channels, and NaN pixels.
    """
    reals = real if isinstance(real, FeatureSet) else filled(FeatureSet(extractor, "real"), real)
    fakes = _generated(fake, reals, seed)
    few = min(fakes.count, reals.count)
    if few <= k + 1:
        raise UserError(
            f"a measure needs more than {k + 1} images on either side (hundreds, to mean "
            "anything); "
            f"got {reals.count} real and {fakes.count} generated"
        )
    (x, _), (y, _) = reals.kept(), fakes.kept()
    frechet = _frechet(reals, fakes, x, y, seed)
    kernel = kernel_distance_interval(x, y, subsets=SUBSETS, seed=seed)
    notes: list[str] = []
    values: dict[str, Json] = {
        extractor.distance: frechet.value,
        "kernel": kernel.value,
        **fidelity(x, y, k)._asdict(),
        "diversity": _diversity(x, y),
    }
    if few < ENOUGH:
        values[f"{extractor.distance}_bias"] = frechet.bias
        notes.append(_bias_note(frechet, few))
    if extrapolate:
        values[f"{extractor.distance}_infinity"] = extrapolated(x, y, seed)
        notes += _extrapolation_notes(min(len(x), len(y)), extractor.dim)
    if fakes.score is not None:
        name = _score_name(values)
        values[name], values[f"{name}_std"] = fakes.score.score()
    return {
        "values": values,
        "intervals": {
            extractor.distance: [frechet.low, frechet.high],
            "kernel": [kernel.low, kernel.high],
        },
        "protocol": _protocol(reals, fakes, k),
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
        "notes": [*notes],
        "machine": machine(),
        "ganvas": __version__,
        "commit": commit(),
    }


def _generated(batches: Iterable[Tensor], reals: FeatureSet, seed: int) -> FeatureSet:
    """Features of the generated images, whose size must be that of the real ones."""
    fakes = FeatureSet(reals.extractor, "generated", seed, scored=True)
    for images in batches:
        if reals.shape and tuple(images.shape[1:]) != reals.shape and not fakes.count:
            raise UserError(
                f"real images are {size_in_words(reals.shape)} and generated ones "
                f"{size_in_words(tuple(images.shape[1:]))}: bring the real ones to the generated "
                "ones' size and channels"
            )
        fakes.add(images)
    return fakes


class _Frechet(NamedTuple):
    """Fréchet distance, its 95% interval (of sampling alone) and its estimated bias."""

    value: float
    low: float
    high: float
    bias: float


def _frechet(reals: FeatureSet, fakes: FeatureSet, x: Tensor, y: Tensor, seed: int) -> _Frechet:
    """Fréchet distance of all images; interval and bias from halves of x and y."""
    distance = frechet_distance(*reals.moments.statistics(), *fakes.moments.statistics())
    halves = subset_distances(x, y, [0.5] * HALVES, seed)
    # The variance of halves of the kept features is that of the kept features
    # themselves (delete-d jackknife), and falls as 1 / N.
    share = min(len(x), len(y)) / min(fakes.count, reals.count)
    spread = float(np.std(halves, ddof=1)) * share**0.5
    # The bias falls as 1 / N: halves exceed the whole as much as it exceeds the truth.
    bias = min(max(float(np.mean(halves)) - distance, 0.0), distance)
    return _Frechet(distance, max(distance - 1.96 * spread, 0.0), distance + 1.96 * spread, bias)


def _diversity(x: Tensor, y: Tensor) -> float | None:
    """Mean distance between two of features y over that between two of x.

    None if x are equal.
    """
    between_reals = _mean_distance(x)
    return _mean_distance(y) / between_reals if between_reals else None


def _mean_distance(x: Tensor) -> float:
    """Mean distance between two of the features [N, dim]."""
    return float(torch.pdist(x[:PAIRS]).mean())


def _bias_note(frechet: _Frechet, count: int) -> str:
    return (
        f"The Frechet distance is taken from {count:,} images, fewer than {ENOUGH:,}: it is biased "
        f"upwards, here by roughly {frechet.bias:.3g} (of {frechet.value:.3g}). Compare it only "
        "with figures of the same counts."
    )


def _extrapolation_notes(kept: int, dim: int) -> list[str]:
    smallest = round(kept * SHARES[-1])
    if smallest >= dim:
        return []
    return [
        f"The distance at infinitely many images rests on subsets of down to {smallest:,}, fewer "
        f"than the {dim:,} dimensions: it is too high. Take at least "
        f"{dim * round(1 / SHARES[-1]):,} images of either side."
    ]


def _protocol(reals: FeatureSet, fakes: FeatureSet, k: int) -> dict[str, Json]:
    assert fakes.shape is not None
    extractor = reals.extractor
    return {
        "extractor": extractor.name,
        "extractor_hash": extractor.hash,
        "resizer": extractor.resizer(*fakes.shape[1:]),
        "image": list(fakes.shape),
        "real": {"count": reals.count},
        "fake": {"count": fakes.count},
        "neighbours": k,  # as records before have it
        **({} if fakes.score is None else {"inception_score_splits": SPLITS}),
    }


def filled(features: FeatureSet, batches: Iterable[Tensor]) -> FeatureSet:
    """Add all batches to `features` and return it."""
    for images in batches:
        features.add(images)
    return features


def measurements(record: dict[str, T]) -> dict[str, dict[str, T]]:
    """Split a record into its measurements by name.

    A record holds one measurement, named "", or several: of checkpoints, or of the
    directions of a translation. In records of before, the classifier score of every
    network is named inception score; it gets its name of today.
    """
    if isinstance(record.get("values"), dict):
        return {"": _renamed(record)}
    parts = {k: cast("dict[str, T]", v) for k, v in record.items() if isinstance(v, dict)}
    return {k: _renamed(part) for k, part in parts.items() if isinstance(part.get("values"), dict)}


def _score_name(values: Mapping[str, object]) -> str:
    """The name of the score over classes: the papers' name for their network only."""
    return "inception_score" if "fid" in values else "classifier_score"


def _renamed(measurement: dict[str, T]) -> dict[str, T]:
    """The measurement with today's name of the score."""
    values = cast("dict[str, Json]", measurement["values"])
    name = _score_name(values)
    names = {"inception_score": name, "inception_score_std": f"{name}_std"}
    if not names.keys() & values.keys():
        return measurement
    renamed = {names.get(key, key): value for key, value in values.items()}
    return {**measurement, "values": cast("T", renamed)}
