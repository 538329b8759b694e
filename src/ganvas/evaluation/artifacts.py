"""Units that are most active in a generator's worst samples, and samples without them.

Bau et al., 2018, GAN Dissection, arXiv:1811.10597, section 4.3: people marked 20 units
of artifacts, and the FID fell from 43.2 to 27.1 when they were set to 0. Here the worst
samples are those farthest from all real images, over the features of an extractor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from ganvas.core import rng
from ganvas.evaluation.causal import counts_of, random_orders
from ganvas.inference.model import Model
from ganvas.inference.units import Change, Layer, changed, chosen, recorded
from ganvas.metrics.dissection import standardized_difference
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.frechet import frechet_distance
from ganvas.metrics.precision_recall import nearest
from ganvas.metrics.suite import filled

WORST = 0.1  # of the samples


@dataclass(frozen=True)
class Artifacts:
    """Units of artifacts, and the Fréchet distance to real images without them.

    layer: name of the layer; layer and number of units were the best on other samples
    units: the strongest first
    extractor: of the features
    before, after: Fréchet distance of samples as they are, and without the units
    random: without as many random units
    """

    layer: str
    units: list[int]
    extractor: str
    before: float
    after: float
    random: float


@torch.no_grad()
def find(
    model: Model,
    layers: Sequence[Layer],
    real: FeatureSet,
    *,
    n: int = 500,
    seed: int = 0,
    ranked: Mapping[str, Sequence[int]] | None = None,
) -> Artifacts:
    """Find units of artifacts.

    Layer and number of units are those of the least Fréchet distance to `real` over `n`
    samples, and are judged on `n` more.

    real: features of real images
    ranked: the units of each layer; None: `by_activation` over `n` other samples
    """
    ranked = ranked or by_activation(model, layers, real, n=n, seed=seed)
    trials = [
        (
            _distance(model, real, n, rng.fold_in(seed, "choice"), layer, ranked[layer.name][:k]),
            i,
            k,
        )
        for i, layer in enumerate(layers)
        for k in counts_of(layer.units)[1:]
    ]
    _, i, k = min(trials)
    layer, judged = layers[i], rng.fold_in(seed, "judged")
    units = ranked[layer.name][:k]
    others = [order[:k] for order in random_orders(layer.units, seed)]
    return Artifacts(
        layer.name,
        list(units),
        real.extractor.name,
        _distance(model, real, n, judged),
        _distance(model, real, n, judged, layer, units),
        fmean(_distance(model, real, n, judged, layer, order) for order in others),
    )


@torch.no_grad()
def by_activation(
    model: Model, layers: Sequence[Layer], real: FeatureSet, *, n: int, seed: int
) -> dict[str, list[int]]:
    """The units of each layer, from those that are more active in bad samples.

    Bad samples are the tenth that is farthest from its nearest real images.
    """
    training, _ = real.kept()
    distances: list[Tensor] = []
    means: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    with recorded(model, list(means)) as features:
        for images in model.batches(n, seed=seed):
            distances.append(nearest(real.extractor(images).cpu(), training)[0].mean(1))
            for name, f in features.items():
                means[name].append(f.mean((2, 3)).cpu())
    far = torch.cat(distances)
    worst = far >= far.topk(max(round(WORST * n), 2)).values[-1]
    return {
        name: standardized_difference(torch.cat(parts), worst).argsort(descending=True).tolist()
        for name, parts in means.items()
    }


def _distance(
    model: Model,
    real: FeatureSet,
    n: int,
    seed: int,
    layer: Layer | None = None,
    units: Sequence[int] = (),
) -> float:
    """The Fréchet distance of samples to the real images without some units."""
    changes = {} if layer is None else {layer.name: Change(chosen(units, layer.units))}
    with changed(model, changes):
        found = filled(FeatureSet(real.extractor, "generated"), model.batches(n, seed=seed))
    return frechet_distance(*real.moments.statistics(), *found.moments.statistics())
