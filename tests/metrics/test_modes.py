"""Modes counted: closed forms, and what the protocol calls good."""

from __future__ import annotations

import math

import pytest
import torch

from ganvas.errors import UserError
from ganvas.metrics.modes import score_modes

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def test_closed_form() -> None:
    samples = torch.tensor([[0.0, 0.0], [0.0, 0.29], [9.71, 0.0], [10.0, 0.31], [0.0, 9.0], [6.0, 9.0]])
    score = score_modes(samples, CENTRES, sigma=0.1)
    assert (score.found, score.total, score.counts) == (2, 4, (2, 1, 0, 0))
    assert score.good == 3 / 6
    shares = [2 / 6, 2 / 6, 1 / 6, 1 / 6]  # by the nearest centre, good or not
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
