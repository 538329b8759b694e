"""Claims on generators and classifiers seen from inside: each experiment at toy size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure

from ganvas.claims.claim import Finding
from ganvas.claims.experiments import units_match_concepts
from ganvas.claims.runner import judge
from ganvas.evaluation.dissection import LayerUnits
from ganvas.inference.units import Layer
from ganvas.metrics.concepts import rules
from ganvas.metrics.dissection import Matches


def seed_of(finding: Finding) -> dict[str, object]:
    """A finding as a record holds it."""
    return {
        "seed": 0,
        "figures": dict(finding.figures),
        "series": dict(finding.series),
        "nulls": {k: dict(v) for k, v in finding.nulls.items()},
    }


def test_scenes_are_letters_of_three_colors() -> None:
    feed = units_match_concepts.scenes()
    x = feed.draw(0, 64, seed=0).x
    assert x.shape == (64, 3, 32, 32)
    maps = rules(["red", "green", "blue", "yellow", "cyan", "magenta"]).maps(x)
    shares = maps.float().mean((0, 2, 3))
    assert bool((shares[:3] > 0.02).all())
    assert not maps[:, 3:].any()
    cells = maps[:, :3].unflatten(3, (2, 16)).unflatten(2, (2, 16)).any(5).any(3)
    assert bool((cells.sum(1) == 1).all())  # one color in each of four cells


def test_matches_of_other_images_are_the_null_of_matches() -> None:
    match = Matches(*(torch.tensor([[v], [0.0]]) for v in (0.5, 0.4, 0.3)))
    none = Matches(*(torch.zeros(2, 1) for _ in range(3)))
    of = LayerUnits(Layer("G", 2, 4, 4), match, none, torch.zeros(2, 1))
    assert units_match_concepts.share_matched(of) == 0.5
    assert units_match_concepts.share_matched(units_match_concepts.swapped(of)) == 0


def test_untrained_units_match_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = units_match_concepts
    monkeypatch.setattr(module, "RUN", replace(module.RUN, batch=8, images=8))
    monkeypatch.setattr(module, "SAMPLES", 32)
    monkeypatch.setattr(module, "EDITED", 32)
    found = seed_of(module.experiment(100))
    judged = judge(module.CLAIM, [found])
    assert not judged["holds"]
    assert not judged["void"]
    module.CLAIM.plot(Figure(), [found])
