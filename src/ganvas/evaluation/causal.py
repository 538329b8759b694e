"""Causal effects of units: what removing and inserting them does to a concept.

Bau et al., 2018, GAN Dissection, arXiv:1811.10597, sections 3.2 and 4.4. Units are
removed everywhere, and the remaining pixels of the concept are counted; they are
inserted at one place without the concept, and the concept is looked for there. The
control of both is the same number of random units.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean
from typing import TypedDict

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.evaluation.dissection import LayerUnits
from ganvas.inference.model import Model
from ganvas.inference.units import Change, Layer, changed, chosen
from ganvas.metrics.concepts import Concepts

PART = 32  # samples of a forward pass; each part has its own seed
RANDOM = 3  # random orders of the units, whose mean is the control
TOP = 20  # units of a concept, at most, as in the paper's section 4.4
# Of `optimized`. The rate and the decay are those of the authors' code, which takes 500
# steps.
STEPS, RATE, DECAY = 200, 0.01, 0.005
SHARPNESS = 8.0  # of the sigmoid that makes a probability of a rule's score


class NoGradient(UserError):
    """The maps of a concept cannot be differentiated."""


class _How(TypedDict):
    n: int
    seed: int


def counts_of(units: int) -> list[int]:
    """Numbers of units to remove: 0, 1, 2, 5, 10, 20, at most half of a layer's."""
    return [k for k in (0, 1, 2, 5, 10, TOP) if k <= max(units // 2, 1)]


def random_orders(units: int, seed: int, orders: int = RANDOM) -> list[list[int]]:
    """Random orders of a layer's units."""
    generator = torch.Generator().manual_seed(rng.fold_in(seed, "random units"))
    return [torch.randperm(units, generator=generator).tolist() for _ in range(orders)]


def _parts(n: int, seed: int) -> list[int]:
    """The seeds of parts of `PART` samples, `n` together or a few more."""
    return [rng.fold_in(seed, "causal", part) for part in range(-(-n // PART))]


def _samples(model: Model, seed: int) -> Tensor:
    """`PART` samples in one forward pass, so that a change can differ by sample."""
    (images,) = model.batches(PART, seed=seed, batch=PART)
    return images


@torch.no_grad()
def removal(
    model: Model,
    layer: Layer,
    orders: Sequence[Sequence[int]],
    counts: Sequence[int],
    concepts: Concepts,
    *,
    n: int = 64,
    seed: int = 0,
) -> Tensor:
    """The share of pixels that have each concept after the first units are removed.

    orders: of the layer's units; of each the first `counts` are set to 0 everywhere

    Returns [orders, counts, concepts].
    """
    left: dict[frozenset[int], Tensor] = {}  # orders share sets of units: none, at least
    for removed in {frozenset(order[:k]) for order in orders for k in counts}:
        with changed(model, {layer.name: Change(chosen(list(removed), layer.units))}):
            parts = [concepts.maps(_samples(model, part)) for part in _parts(n, seed)]
        left[removed] = torch.cat(parts).float().mean((0, 2, 3)).cpu()
    return torch.stack(
        [torch.stack([left[frozenset(order[:k])] for k in counts]) for order in orders]
    )


@dataclass(frozen=True)
class Insertion:
    """The share of a place that has a concept; means over samples.

    before: of the sample as it is
    inserted: with the units at the values of the concept
    removed: with the units at 0
    """

    before: float
    inserted: float
    removed: float

    @property
    def effect(self) -> float:
        """Average causal effect (equation 4)."""
        return self.inserted - self.removed


@torch.no_grad()
def insertion(
    model: Model,
    of: LayerUnits,
    concept: int,
    order: Sequence[int],
    concepts: Concepts,
    *,
    n: int = 64,
    seed: int = 0,
) -> Insertion:
    """Insert units at a place per sample that has least of the concept; look there.

    A place is one of the layer's; of several without the concept, one is drawn.

    order: the units, all of which are set to their value where the concept is present
    """
    layer = of.layer
    weight, value = chosen(order, layer.units), of.present[:, concept]
    found: list[Tensor] = []
    for part in _parts(n, seed):
        before = _shares(concepts, _samples(model, part), concept, layer)
        generator = torch.Generator().manual_seed(rng.fold_in(part, "places"))
        place = _one_place(-before, generator)
        row = [before]
        for to in (value, None):
            with changed(model, {layer.name: Change(weight, to, place)}):
                row.append(_shares(concepts, _samples(model, part), concept, layer))
        found.append(torch.stack([(share * place).sum((1, 2)) for share in row]))
    return Insertion(*torch.cat(found, 1).mean(1).tolist())


def _shares(concepts: Concepts, images: Tensor, concept: int, layer: Layer) -> Tensor:
    """The share of each place of a layer that has a concept [N, h, w]."""
    maps = concepts.maps(images)[:, concept : concept + 1].float()
    return adaptive_avg_pool2d(maps, (layer.height, layer.width))[:, 0].cpu()


def _one_place(shares: Tensor, generator: torch.Generator) -> Tensor:
    """1 at the place of each image with the largest share, 0 elsewhere [N, h, w]."""
    flat = shares.flatten(1)
    flat = flat + 1e-6 * torch.rand(flat.shape, generator=generator)  # draws between equal ones
    return torch.zeros_like(flat).scatter(1, flat.argmax(1, keepdim=True), 1.0).view_as(shares)


def optimized(
    model: Model,
    of: LayerUnits,
    concept: int,
    concepts: Concepts,
    *,
    steps: int = STEPS,
    rate: float = RATE,
    seed: int = 0,
) -> Tensor:
    """Weights of a layer's units that change a concept most, 0 to 1 (section 3.2).

    Minimizes -(concept after insertion - concept after removal) + decay |weights|^2
    (equations 5 and 6) by Adam, from the units' IoU. The concept is inserted at a place
    that has least of it and removed at the one that has most; each effect is read where
    its change was made. (The authors' code reads insertions at the places of removals.)

    Returns [units]. Raises `NoGradient` for concepts without a gradient, such as holes,
    a classifier's maps, and functions that return bool.
    """
    layer = of.layer
    iou = of.found.iou[:, concept].float()
    alpha = (iou / iou.max().clamp(min=1e-9)).clamp(0, 1).requires_grad_()
    adam = torch.optim.Adam([alpha], rate)
    for step in range(steps):
        part = rng.fold_in(seed, "optimized", step)
        generator = torch.Generator().manual_seed(part)
        with torch.no_grad():
            before = _shares(concepts, _samples(model, part), concept, layer)
        effect = torch.zeros(())
        for sign, to, shares in ((1, of.present[:, concept], -before), (-1, None, before)):
            place = _one_place(shares, generator)
            with torch.enable_grad(), changed(model, {layer.name: Change(alpha, to, place)}):
                scores = concepts.scores(_samples(model, part))[:, concept : concept + 1]
                likely = (SHARPNESS * scores).sigmoid()
                pooled = adaptive_avg_pool2d(likely, (layer.height, layer.width))[:, 0]
                effect = effect + sign * (pooled.cpu() * place).sum((1, 2)).mean()
        effective = effect.requires_grad
        if effective:
            (-effect).backward()
            effective = alpha.grad is not None and bool(alpha.grad.any())
        if step == 0 and not effective:
            raise NoGradient(
                f"the concept {concepts.names[concept]!r} has no gradient: its units can be "
                "ranked by IoU only"
            )
        (DECAY * alpha.square().sum()).backward()
        adam.step()
        adam.zero_grad()
        with torch.no_grad():
            alpha.clamp_(0, 1)
    return alpha.detach()


@dataclass(frozen=True)
class Effect:
    """What the units of a concept do in a layer.

    name: of the concept
    layer: name of the layer
    counts: numbers of units that were removed, from 0
    left, random: share of pixels with the concept after that, and after as many random
        units were removed
    specific: the share of the concept that goes beyond random units, at most
    units: the fewest of `counts` with nine tenths of that effect, the strongest first
    values: their activations where the concept is present
    added, random_added: insertion of `units`, and of as many random units
    ranking: "iou", or "optimized" (`optimized`)
    """

    name: str
    layer: str
    counts: list[int]
    left: list[float]
    random: list[float]
    specific: float
    units: list[int]
    values: list[float]
    added: Insertion
    random_added: Insertion
    ranking: str


def specific(left: Sequence[float], random: Sequence[float]) -> tuple[float, int]:
    """The largest effect beyond random units, and the first index with 0.9 of it.

    left, random: share of a concept after removals, from none
    """
    lead = [(r - x) / max(left[0], 1e-9) for x, r in zip(left, random, strict=True)][1:]
    most = max(lead)
    return most, 1 + next(i for i, x in enumerate(lead) if x >= min(0.9 * most, most))


def effects(
    model: Model,
    of: LayerUnits,
    concepts: Concepts,
    *,
    n: int = 64,
    seed: int = 0,
    optimize: bool = False,
) -> list[Effect]:
    """The effects of a layer's units on every concept that any of them matches.

    Only concepts count that a unit matches beyond chance.

    optimize: rank units by `optimized`, not by IoU, for concepts that have a gradient
    """
    matched = [c for c in range(len(concepts.names)) if bool(of.beyond_chance()[:, c].any())]
    if not matched:
        return []
    layer, how = of.layer, _How(n=n, seed=seed)
    counts = counts_of(layer.units)
    ranked = {c: (of.ranked(c), "iou") for c in matched}
    for c in matched if optimize else ():
        with suppress(NoGradient):
            weights = optimized(model, of, c, concepts, steps=STEPS, seed=seed)
            ranked[c] = weights.argsort(descending=True, stable=True).tolist(), "optimized"
    control = random_orders(layer.units, seed)
    orders = [*control, *(order for order, _ in ranked.values())]
    after = removal(model, layer, orders, counts, concepts, **how)
    random = after[: len(control)].mean(0)
    found = []
    for left, (c, (order, ranking)) in zip(after[len(control) :], ranked.items(), strict=True):
        largest, i = specific(left[:, c].tolist(), random[:, c].tolist())
        units = order[: counts[i]]
        others = [insertion(model, of, c, o[: counts[i]], concepts, **how) for o in control]
        found.append(
            Effect(
                name=concepts.names[c],
                layer=layer.name,
                counts=counts,
                left=left[:, c].tolist(),
                random=random[:, c].tolist(),
                specific=largest,
                units=units,
                values=of.present[units, c].tolist(),
                added=insertion(model, of, c, units, concepts, **how),
                random_added=Insertion(
                    fmean(other.before for other in others),
                    fmean(other.inserted for other in others),
                    fmean(other.removed for other in others),
                ),
                ranking=ranking,
            )
        )
    return found
