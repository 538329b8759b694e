"""Counts of modes, duplicates and copies, against independent implementations."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import mannwhitneyu

from ganvas.core.errors import UserError
from ganvas.metrics.mode_coverage import (
    birthday,
    memorisation,
    score_modes,
    score_stacked_mnist,
    stacked_mnist,
)
from ganvas.metrics.precision_recall import duplicates, nearest

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def test_closed_form() -> None:
    samples = torch.tensor(
        [[0.0, 0.0], [0.0, 0.29], [9.71, 0.0], [10.0, 0.31], [0.0, 9.0], [6.0, 9.0]]
    )
    score = score_modes(samples, CENTRES, sigma=0.1)
    assert (score.found, score.total, score.counts) == (2, 4, (2, 1, 0, 0))
    assert score.good == 3 / 6
    shares = [2 / 6, 2 / 6, 1 / 6, 1 / 6]  # by the nearest center, good or not
    assert score.reverse_kl == pytest.approx(sum(p * math.log(p * 4) for p in shares))


def test_extremes() -> None:
    exact = score_modes(CENTRES, CENTRES, 0.1)
    assert exact == (4, 4, 1.0, 0.0, (1, 1, 1, 1))
    one = score_modes(CENTRES[:1].expand(9, 2), CENTRES, 0.1)
    assert (one.found, one.good) == (1, 1.0)
    assert one.reverse_kl == pytest.approx(math.log(4))
    none = score_modes(torch.full((3, 2), math.nan), CENTRES, 0.1)
    assert (none.found, none.good, none.reverse_kl) == (0, 0.0, math.inf)


def test_points_as_a_generator_gives_them() -> None:
    assert score_modes(CENTRES.view(4, 2, 1, 1), CENTRES, 0.1) == score_modes(CENTRES, CENTRES, 0.1)


def test_mistakes() -> None:
    with pytest.raises(UserError, match="one dimension"):
        score_modes(torch.zeros(5, 3), CENTRES, 0.1)
    with pytest.raises(UserError, match="above 0"):
        score_modes(CENTRES, CENTRES, 0.0)


# ---------------------------------------------------------------- stacked MNIST


def test_stacked_digits_match_their_mode() -> None:
    digits, labels = (
        torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 1, 4, 5),
        torch.arange(20) % 10,
    )
    images, modes = stacked_mnist(digits, labels, 500, seed=3)
    assert images.shape == (500, 3, 4, 5)
    assert images.dtype == torch.uint8
    spelled = images[:, :, 0, 0].long() % 10
    assert torch.equal(spelled[:, 0] * 100 + spelled[:, 1] * 10 + spelled[:, 2], modes)
    again, _ = stacked_mnist(digits[:, 0], labels, 500, seed=3)
    assert torch.equal(images, again)
    assert not torch.equal(images, stacked_mnist(digits, labels, 500, seed=4)[0])


def read(x: torch.Tensor) -> torch.Tensor:
    """A classifier of images whose gray value is their class."""
    return torch.nn.functional.one_hot(x[:, 0, 0, 0].long(), 10).float()


def test_stacked_score_closed_form() -> None:
    def images(*modes: int) -> torch.Tensor:
        spelled = torch.tensor([[m // 100, m // 10 % 10, m % 10] for m in modes])
        return spelled.float().view(-1, 3, 1, 1).expand(-1, -1, 2, 2)

    score = score_stacked_mnist([images(7, 7, 123), images(999)], read)
    assert (score.found, score.total, score.samples) == (3, 1000, 4)
    assert score.reverse_kl == pytest.approx(0.5 * math.log(500) + 2 * 0.25 * math.log(250))
    everything = score_stacked_mnist([images(*range(1000))], read)
    assert (everything.found, everything.reverse_kl) == (1000, pytest.approx(0, abs=1e-9))
    # Perfect data drawn at random: 999 / (2 n) on average.
    digits, labels = torch.arange(10.0).view(10, 1, 1), torch.arange(10)
    drawn = score_stacked_mnist([stacked_mnist(digits, labels, 26_000)[0]], read)
    assert drawn.found == 1000
    assert drawn.reverse_kl == pytest.approx(999 / 52_000, rel=0.15)


def test_stacked_mnist_read_by_lenet(shared: Path) -> None:
    from ganvas.data import images
    from ganvas.metrics.features import extractor

    lenet = extractor("lenet-mnist", shared / "data" / "weights")
    feed = images(str(shared / "data" / "mnist"), part="test")
    raw = feed.raw()
    digits, labels = torch.from_numpy(raw["x"][..., 0][:2000]), torch.from_numpy(raw["y"][:2000])
    stacked, modes = stacked_mnist(digits, labels, 300)
    score = score_stacked_mnist(
        [(x.float() / 127.5 - 1) for x in stacked.split(100)], lambda x: lenet.with_logits(x)[1]
    )
    assert abs(score.found - len(set(modes.tolist()))) <= 12  # it errs on 1% of digits


# ---------------------------------------------------------------- duplicates and copies


def test_birthday_counts_the_days_of_a_year() -> None:
    g = torch.Generator().manual_seed(0)
    year = torch.randn(365, 6, generator=g) * 100
    people = year[torch.randint(365, (2500,), generator=g)] + 0.01 * torch.randn(
        2500, 6, generator=g
    )
    found = birthday(people, threshold=1.0, shown=7)
    assert found.low < 365 < found.high
    assert found.support == pytest.approx(365, rel=0.05)
    assert found.support == pytest.approx(2500 * 2499 / 2 / found.duplicates)
    listed = duplicates(people, 1.0)
    assert found.duplicates == len(listed)
    assert [(i, j) for i, j, _ in found.pairs] == [(i, j) for i, j, _ in listed[:7]]
    assert [d for *_, d in found.pairs] == pytest.approx([d for *_, d in listed[:7]])


def test_birthday_without_duplicates_gives_a_bound() -> None:
    points = torch.arange(60.0)[:, None] ** 2
    found = birthday(points, threshold=0.5, shown=3)
    assert (found.duplicates, found.support, found.high) == (0, math.inf, math.inf)
    assert found.low == pytest.approx(
        60 * 59 / 2 / -math.log(0.025)
    )  # where no pair has a chance of 2.5%
    assert [(i, j, d) for i, j, d in found.pairs] == [(0, 1, 1.0), (1, 2, 3.0), (0, 2, 4.0)]
    collapsed = birthday(torch.ones(50, 2), 0.0)
    assert (collapsed.duplicates, collapsed.support) == (50 * 49 // 2, 1)
    with pytest.raises(UserError, match="at least 2 samples"):
        birthday(points[:1], 1.0)


def test_memorisation_closed_form() -> None:
    training = torch.tensor([[0.0], [100.0]])
    heldout, samples = (
        torch.tensor([[2.0], [104.0], [-6.0]]),
        torch.tensor([[1.0], [101.0], [97.0]]),
    )
    found = memorisation(samples, training, heldout)
    assert found.ratio == pytest.approx(1 / 4)
    # Distances 1, 1, 3 against 2, 4, 6: of 9 pairs the sample is the further one in 1.
    assert found.z == pytest.approx((1 - 4.5) / math.sqrt(9 * 7 / 12))


def test_memorization_distinguishes_copies_from_new_samples() -> None:
    g = torch.Generator().manual_seed(0)
    training, heldout, new = (torch.randn(400, 8, generator=g) for _ in range(3))
    copies = training[:200] + 0.05 * torch.randn(200, 8, generator=g)
    far = 2 * torch.randn(400, 8, generator=g)
    assert abs(memorisation(new, training, heldout).z) < 3
    assert memorisation(new, training, heldout).ratio == pytest.approx(1, abs=0.1)
    assert memorisation(copies, training, heldout).z < -10
    assert memorisation(copies, training, heldout).ratio < 0.2
    assert memorisation(far, training, heldout).z > 10
    u = mannwhitneyu(
        nearest(new, training, 1)[0].numpy().ravel(),
        nearest(heldout, training, 1)[0].numpy().ravel(),
    )
    expected = (u.statistic - 400 * 400 / 2) / math.sqrt(400 * 400 * 801 / 12)
    assert memorisation(new, training, heldout).z == pytest.approx(expected)
    with pytest.raises(UserError, match="at least 2"):
        memorisation(new[:1], training, heldout)
