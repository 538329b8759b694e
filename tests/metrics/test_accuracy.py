"""The classification accuracy score on digits, for generators with known faults."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from ganvas.core.errors import UserError
from ganvas.metrics.cas import classification_accuracy_score

STEPS = 60


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = (torch.from_numpy(a) for a in load_digits(return_X_y=True))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order].float().view(-1, 1, 8, 8) / 8 - 1, y[order]


def test_faults_of_a_generator_lower_the_score_as_expected(digits) -> None:
    x, y = digits
    real, test = (x[:600], y[:600]), (x[1200:], y[1200:])
    state = torch.random.get_rng_state()
    new = classification_accuracy_score(x[600:1200], y[600:1200], *real, *test, steps=STEPS)
    assert torch.equal(state, torch.random.get_rng_state())
    assert new.reference > 0.9
    assert new.score == pytest.approx(
        new.reference, abs=0.03
    )  # real images do as well as real images
    assert (new.trained_on, new.tested_on, new.labels) == (600, 597, tuple(range(10)))
    # A generator that never makes a 7, an 8 or a 9: it is right about the other seven only.
    some = y[600:1200] < 7
    n = int(some.sum())
    dropped = classification_accuracy_score(
        x[600:1200][some], y[600:1200][some], *real, *test, steps=STEPS
    )
    share = float((test[1] < 7).float().mean())
    assert dropped.trained_on == n
    assert dropped.classes[7:] == (0, 0, 0)
    assert dropped.score == pytest.approx(share, abs=0.04)
    assert dropped.reference > 0.85
    # Labels that say nothing: chance.
    shuffled = y[600:1200][torch.randperm(600, generator=torch.Generator().manual_seed(1))]
    assert classification_accuracy_score(x[600:1200], shuffled, *real, *test, steps=20).score < 0.3


def test_the_same_seed_gives_the_same_score_on_larger_images_too(digits) -> None:
    x, y = digits
    big = torch.nn.functional.interpolate(x[:90], scale_factor=5, mode="nearest")
    parts = (big[:30], y[:30], big[30:60], y[30:60], big[60:90], y[60:90] % 10)
    keep = [i for i in range(30) if y[i] in y[30:60]]
    parts = (big[keep], y[keep], *parts[2:])
    test = [i for i in range(60, 90) if y[i] in y[30:60]]
    parts = (*parts[:4], big[test], y[test])
    first = classification_accuracy_score(*parts, steps=2)
    assert str(first) == str(classification_accuracy_score(*parts, steps=2))


def test_mistakes(digits) -> None:
    x, y = digits
    with pytest.raises(UserError, match="test: images"):
        classification_accuracy_score(x[:9], y[:9], x[:9], y[:9], x[:9, :, 1:], y[:9])
    with pytest.raises(UserError, match="samples: images"):
        classification_accuracy_score(x[:9], y[:8], x[:9], y[:9], x[:9], y[:9])
    with pytest.raises(UserError, match=r"the labels \[77\]"):
        classification_accuracy_score(x[:9], y[:9] * 0 + 77, x[:9], y[:9], x[:9], y[:9])
    with pytest.raises(UserError, match="draw fewer"):
        classification_accuracy_score(x[:19], y[:19] * 0, x[:9], y[:9] * 0, x[:9], y[:9] * 0)
    with pytest.raises(UserError, match="real: these images have NaN"):
        classification_accuracy_score(x[:9], y[:9], x[:9] * torch.nan, y[:9], x[:9], y[:9])
