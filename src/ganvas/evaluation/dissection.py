"""Dissect a generator: which units of which layer match which concept.

Bau et al., 2018, GAN Dissection: Visualizing and Understanding Generative Adversarial
Networks, arXiv:1811.10597, section 3.1. Unlike the paper, every unit is also compared
with the concepts of another image, drawn at random. These matches are the chance level:
they also include what the usual place of a concept explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.inference.model import Model
from ganvas.inference.units import Layer, layers, layers_named, recorded
from ganvas.metrics.concepts import Concepts
from ganvas.metrics.dissection import (
    LEAST_INFORMATION,
    LEAST_IOU,
    Matches,
    UnitCounts,
    unit_thresholds,
)

GRID = 32  # pixels of an image that are counted, at most, down and across
PLACES = 2**14  # activations of a unit that give its thresholds
MIN_SAMPLES = 16


class LayerUnits(NamedTuple):
    """The units of a layer; tensors are [units, concepts].

    found: each unit with each concept
    chance: the same, with the concepts of other images
    present: mean activation at places that have the concept, weighted by its share
    """

    layer: Layer
    found: Matches
    chance: Matches
    present: Tensor

    def beyond_chance(self) -> Tensor:
        """Whether a unit exceeds its own chance level by the two bounds of a match."""
        return (self.found.iou - self.chance.iou > LEAST_IOU) & (
            self.found.information - self.chance.information > LEAST_INFORMATION
        )

    def counts(self) -> tuple[int, int, int]:
        """Units that match any concept: found, by chance, beyond chance."""
        tables = (self.found.matched(), self.chance.matched(), self.beyond_chance())
        found, chance, beyond = (int(table.any(1).sum()) for table in tables)
        return found, chance, beyond

    def ranked(self, concept: int) -> list[int]:
        """All units, from the largest IoU with a concept."""
        return self.found.iou[:, concept].argsort(descending=True, stable=True).tolist()


@dataclass(frozen=True)
class Dissection:
    """The units of a generator against concepts.

    names: of the concepts
    shares: of the pixels that have each concept [concepts]
    layers: in the order of computation
    n, seed: the samples
    """

    names: Sequence[str]
    shares: Tensor
    layers: Sequence[LayerUnits]
    n: int
    seed: int


@torch.no_grad()
def dissect(
    model: Model,
    concepts: Concepts,
    *,
    n: int = 500,
    seed: int = 0,
    only: Sequence[str] = (),
) -> Dissection:
    """Compare every unit of a generator with every concept on `n` samples.

    A unit is active above the threshold that tells most of a concept
    (`UnitCounts.matches`). Pixels are taken from a grid of at most 32x32 per image.

    only: names of layers; all of `units.layers` by default

    Raises `CapabilityError` for a model without layers of feature maps, and `UserError`
    for an unknown layer and for fewer than 16 samples.
    """
    if n < MIN_SAMPLES:
        raise UserError(f"a dissection needs at least {MIN_SAMPLES} samples; got {n}")
    chosen = layers_named(model, only) if only else layers(model)
    maps, values = _first_pass(model, concepts, chosen, n, seed)
    generator = torch.Generator().manual_seed(rng.fold_in(seed, "other images"))
    others = torch.randperm(n, generator=generator)
    counters = {
        layer.name: UnitCounts(unit_thresholds(values[layer.name]), 2 * len(concepts.names))
        for layer in chosen
    }
    sums = {layer.name: torch.zeros(layer.units, len(concepts.names)) for layer in chosen}
    weights = {layer.name: torch.zeros(len(concepts.names)) for layer in chosen}
    done = 0
    with recorded(model, [layer.name for layer in chosen]) as features:
        for images in model.batches(n, seed=seed):
            part = slice(done, done + len(images))
            done += len(images)
            both = torch.cat([maps[part], maps[others[part]]], 1)
            for name, f in features.items():
                counters[name].add(f, both)
                shares = adaptive_avg_pool2d(maps[part].float(), (f.shape[2], f.shape[3]))
                sums[name] += torch.einsum("nuhw,nchw->uc", f.cpu(), shares)
                weights[name] += shares.sum((0, 2, 3))
    found = [
        LayerUnits(
            layer,
            *_split(counters[layer.name].matches(), len(concepts.names)),
            sums[layer.name] / weights[layer.name].clamp(min=1e-9),
        )
        for layer in chosen
    ]
    return Dissection(concepts.names, maps.float().mean((0, 2, 3)), found, n, seed)


def _first_pass(
    model: Model, concepts: Concepts, chosen: Sequence[Layer], n: int, seed: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Concepts on the grid, bool [n, concepts, H, W]; some activations per layer."""
    generator = torch.Generator().manual_seed(rng.fold_in(seed, "places"))
    maps: list[Tensor] = []
    values: dict[str, list[Tensor]] = {layer.name: [] for layer in chosen}
    with recorded(model, [layer.name for layer in chosen]) as features:
        for images in model.batches(n, seed=seed):
            maps.append(on_grid(concepts.maps(images)).cpu())
            for name, f in features.items():
                flat = f.movedim(1, 0).flatten(1).cpu()
                count = min(-(-PLACES * len(images) // n), flat.shape[1])
                places = torch.randperm(flat.shape[1], generator=generator)[:count]
                values[name].append(flat[:, places])
    return torch.cat(maps), {name: torch.cat(parts, 1) for name, parts in values.items()}


def on_grid(maps: Tensor) -> Tensor:
    """Every k-th row and column of maps [N, C, H, W], for at most `GRID` of either."""
    down, across = (-(-side // GRID) for side in maps.shape[2:])
    return maps[:, :, down // 2 :: down, across // 2 :: across]


def _split(matches: Matches, concepts: int) -> tuple[Matches, Matches]:
    """Matches with the concepts, and with those of other images."""
    parts = [x.split(concepts, 1) for x in matches]
    return Matches(*(p[0] for p in parts)), Matches(*(p[1] for p in parts))
