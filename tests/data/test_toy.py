"""Toy points: positions and the contract of feeds. Toy languages: statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.data import toy


def test_centers() -> None:
    grid, ring = toy.gaussian_grid(), toy.gaussian_ring()
    assert sorted(grid.tolist()) == [
        [float(i), float(j)] for i in (-4, -2, 0, 2, 4) for j in (-4, -2, 0, 2, 4)
    ]
    torch.testing.assert_close(ring.norm(dim=1), torch.ones(8))
    assert ring[0].tolist() == [1.0, 0.0]
    sides = (ring - ring.roll(1, 0)).norm(dim=1)
    torch.testing.assert_close(
        sides, torch.full((8,), 2 * torch.sin(torch.tensor(torch.pi / 8)).item())
    )


def test_a_mixture_has_its_moments_and_its_seed() -> None:
    n, sigma = 50_000, 0.05
    x = toy.draw_mixture(toy.gaussian_grid(), sigma, n, seed=1)
    distance, mode = torch.cdist(x, toy.gaussian_grid()).min(1)
    shares = torch.bincount(mode, minlength=25) / n
    assert (shares - 1 / 25).abs().max() < 5 * (0.04 * 0.96 / n) ** 0.5
    assert distance.square().mean() == pytest.approx(
        2 * sigma**2, rel=0.03
    )  # variance sigma^2 on each axis
    assert (distance < 3 * sigma).float().mean() == pytest.approx(
        1 - torch.e**-4.5, abs=0.002
    )  # Rayleigh
    assert torch.equal(x, toy.draw_mixture(toy.gaussian_grid(), sigma, n, seed=1))
    assert not torch.equal(x, toy.draw_mixture(toy.gaussian_grid(), sigma, n, seed=2))


def test_draws_are_a_pure_function_of_the_cursor() -> None:
    feed = toy.gaussian_ring_feed(count=50)
    assert (feed.info.count, feed.info.shape.channels, feed.info.shape.size) == (50, 2, (1, 1))
    whole = feed.draw(30, 40, seed=3).x
    assert whole.shape == (40, 2, 1, 1)
    assert torch.equal(whole, feed.draw(30, 40, seed=3).x)
    parts = [feed.draw(30, 40, seed=3, rows=rng.Rows(a, b, 40)).x for a, b in ((0, 10), (10, 40))]
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(whole, torch.cat([feed.draw(30, 15, seed=3).x, feed.draw(45, 25, seed=3).x]))


def test_an_epoch_holds_every_point_once_in_an_order_of_its_own() -> None:
    feed = toy.gaussian_grid_feed(count=60)
    points = {tuple(p) for p in feed.raw()["x"].tolist()}
    epochs = [feed.draw(start, 60, seed=0).x.flatten(1) for start in (0, 60)]
    assert all({tuple(p) for p in e.tolist()} == points for e in epochs)
    assert not torch.equal(*epochs)
    assert torch.equal(
        torch.cat([b.x.flatten(1) for b in feed.batches(7)]), torch.from_numpy(feed.raw()["x"])
    )
    assert len(feed.fixed(1000)) == 60
    assert len(next(feed.batches(100, limit=9))) == 9


def test_the_fingerprint_is_the_points() -> None:
    a, b, c = (
        toy.gaussian_grid_feed(9),
        toy.gaussian_grid_feed(9),
        toy.gaussian_grid_feed(9, seed=1),
    )
    assert a.info.fingerprint == b.info.fingerprint != c.info.fingerprint


@pytest.mark.parametrize("kind", toy.LANGUAGES)
def test_a_language_is_its_chain_and_the_other_is_its_cipher(kind: str) -> None:
    words = 5
    chain, truth = toy.bigrams(kind, words), toy.cipher(words, seed=1)
    assert np.allclose(chain.sum(1), 1)
    feed = toy.languages(kind, size=6, words=words, count=20_000, seed=1)
    assert (feed.info.shape.channels, feed.info.shape.size, feed.info.shape.classes) == (
        1,
        (1, 6),
        words,
    )
    words_of = {
        k: np.round(v[:, 0, :, 0] / 255 * (words - 1)).astype(int) for k, v in feed.raw().items()
    }
    words_of["b"] = np.argsort(truth)[words_of["b"]]
    for sentences in words_of.values():
        pairs = np.zeros((words, words))
        np.add.at(pairs, (sentences[:, :-1].ravel(), sentences[:, 1:].ravel()), 1)
        assert np.abs(pairs / pairs.sum(1, keepdims=True) - chain).max() < 0.03
        first = np.bincount(sentences[:, 0], minlength=words) / len(sentences)
        assert np.abs(first - first @ chain).max() < 0.03, "stationary from the first word"
    assert not (words_of["a"] == words_of["b"]).all(1).mean() > 0.1, "sentences are drawn apart"


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: toy.draw_mixture(torch.zeros(3), 0.1, 5, 0),
        lambda: toy.draw_mixture(torch.zeros(3, 2), -1, 5, 0),
        lambda: toy.gaussian_grid_feed(0),
        lambda: toy.Points(torch.zeros(4, 3), "mine"),
        lambda: toy.languages("rings"),
        lambda: toy.languages(words=1),
        lambda: toy.languages(size=1),
    ],
)
def test_mistakes(mistake) -> None:
    with pytest.raises(UserError):
        mistake()
