"""Claims on translation: their scores in closed form, and small experiments."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganvas.claims.experiments import (
    discogan_covers_modes,
    mapping_up_to_symmetry,
    ten_percent_of_pairs,
)
from ganvas.claims.kit import domains
from ganvas.data import toy


def test_translation_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(10, 1, 4, 4, generator=generator)
    source = -torch.rand(10, 1, 4, 4, generator=generator)
    found = domains.translation_scores(truth + 0.001, truth, source)
    assert found == pytest.approx({"matched": 1, "distinct": 1, "spread": 1})
    assert domains.translation_scores(source, truth, source)["matched"] == 0, "the identity"
    one = domains.translation_scores(truth[3:4].expand_as(truth), truth, source)
    assert one == pytest.approx({"matched": 0.1, "distinct": 0, "spread": 0})
    other = domains.translation_scores(truth.roll(1, 0), truth, source)
    assert other == pytest.approx({"matched": 0, "distinct": 1, "spread": 1}), "diverse and wrong"
    twos = domains.translation_scores(truth[[0, 0, 2, 2, 4, 4, 6, 6, 8, 8]], truth, source)
    assert twos["matched"] == 0.5
    assert twos["distinct"] == 0


def test_bold_strokes_are_two_pixels_wider() -> None:
    x = np.zeros((1, 9, 9, 1), np.uint8)
    x[0, 2:7, 4] = 200
    wider = domains.dilated(x)[0, ..., 0]
    assert (wider[1:8, 3:6] == 200).all()
    assert (wider > 0).sum() == 7 * 3


def test_domains_share_no_image_and_the_truth_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = np.random.default_rng(0).integers(0, 256, (60, 28, 28, 1), dtype=np.uint8)
    parts = {"train": digits[:40], "test": digits[40:]}
    monkeypatch.setattr(
        domains, "mnist", lambda part="train": (parts[part], np.arange(len(parts[part])), "")
    )
    monkeypatch.setattr(domains, "TRAINING", 20)
    monkeypatch.setattr(domains, "HELD_OUT", 10)
    found = domains.negatives.__wrapped__()
    raw = found.feed.raw()
    a, b = ({p.tobytes() for p in x} for x in (raw["a"], 255 - raw["b"]))
    assert not a & b
    torch.testing.assert_close(found.a, -found.b)
    assert len(found.a) == len(found.y) == 10
    strokes = domains.bold.__wrapped__()
    assert (strokes.b >= strokes.a).all()


def test_coverage_of_modes() -> None:
    clusters = torch.arange(100) // 20
    ten = discogan_covers_modes.B[torch.arange(100) // 10]  # each cluster in two modes of its own
    assert discogan_covers_modes.coverage(ten, clusters) == pytest.approx(
        {"modes": 10, "own_modes": 10, "good": 1}
    )
    mixed = discogan_covers_modes.B[torch.arange(100) % 10]  # each cluster in all ten
    assert discogan_covers_modes.coverage(mixed, clusters)["own_modes"] == 0
    one = discogan_covers_modes.B[:1].expand(100, 2) + 1.0
    assert discogan_covers_modes.coverage(one, clusters) == pytest.approx(
        {"modes": 1, "own_modes": 0, "good": 0}
    )


def test_symmetries_of_languages() -> None:
    """No other order, every rotation of the circle, every order."""
    found = {
        kind: mapping_up_to_symmetry.automorphisms(toy.bigrams(kind, 5)) for kind in toy.LANGUAGES
    }
    assert [len(found[kind]) for kind in ("distinct", "ring", "uniform")] == [1, 5, 120]
    assert {tuple(p) for p in found["ring"]} == {tuple((np.arange(5) + k) % 5) for k in range(5)}


def test_scores_of_a_mapping() -> None:
    truth = toy.cipher(5, seed=3)
    none, ring = (
        mapping_up_to_symmetry.automorphisms(toy.bigrams(kind, 5)) for kind in ("distinct", "ring")
    )
    rotated = truth[(np.arange(5) + 2) % 5]
    scores = mapping_up_to_symmetry.scores
    assert scores(truth, truth, none) == {"true": 1, "exact": 1, "symmetric": 1}
    assert scores(rotated, truth, none) == {"true": 0, "exact": 0, "symmetric": 0}
    assert scores(rotated, truth, ring) == {"true": 0, "exact": 0, "symmetric": 1}


def test_a_warm_start_knows_the_words_of_its_pairs() -> None:
    a, b = ten_percent_of_pairs.sentence_pairs(pair=5)
    truth = toy.cipher(ten_percent_of_pairs.WORDS, 5)
    assert (truth[a] == b).all()
    found = ten_percent_of_pairs.table(a[:1], b[:1]).argmax(1).numpy()
    known = np.unique(a[0])
    assert (found[known] == truth[known]).all()
    assert (found == truth).mean() < 0.5


@pytest.mark.parametrize("module", [mapping_up_to_symmetry, ten_percent_of_pairs])
def test_experiments_on_languages(module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRETRAIN", 64)
    monkeypatch.setattr(module, "GAME", 64)
    found = module.comparison(7).shortened(128)(7)
    named = {check.figure for check in module.CLAIM.words.checks}
    assert named <= found.figures.keys()
    assert all(named <= null.keys() for null in found.nulls.values())
