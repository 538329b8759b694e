"""The claims of SNGAN, SAGAN and BigGAN: their scores in closed form, and every experiment once at a small size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.figure import Figure

from ganvas.claims import Claim
from ganvas.claims.experiments import (
    attention_helps,
    singular_values_tell,
    spectral_norm_is_stable,
    truncation_trades,
)
from ganvas.claims.kit import quality
from ganvas.nets.attention import SelfAttention


def test_stability_scores() -> None:
    sn = dict(zip("ABCDEF", (1, 2, 1, 2, 3, 2), strict=True))
    gp = dict(zip("ABCDEF", (2, 2, 2, 4, 6, 32), strict=True))
    found = spectral_norm_is_stable.scores({"sn": sn, "wgan_gp": gp})
    assert found["gain"] == pytest.approx((2 * 2 * 16) ** (1 / 3))
    assert (found["slack"], found["wgan_gp_slack"]) == (3, 16)


def test_truncation_scores() -> None:
    found = truncation_trades.scores(
        {
            "truncation": [2, 1, 0.5],
            "precision": [0.5, 0.7, 0.9],
            "recall": [0.9, 0.4, 0.1],
            "diversity": [3, 2, 1],
        }
    )
    assert (found["precision_spearman"], found["recall_spearman"]) == pytest.approx((-1, 1))
    assert (found["precision_gain"], found["recall_loss"]) == pytest.approx((0.4, 0.8))


def test_collapse_scores() -> None:
    fast = {
        "images": [1, 2, 3, 4],
        "frechet": [9, 3, 20, 30],
        "sigma0": {"input": [1, 2, 4, 6], "output": [1, 1, 1, 1]},
    }
    calm = {
        "images": [1, 2, 3, 4],
        "frechet": [9, 8, 7, 6],
        "sigma0": {"input": [1, 2, 2, 2.2], "output": [1, 1, 1, 1]},
    }
    found = singular_values_tell.scores(calm, fast)
    assert found["collapse"] == pytest.approx(
        20 / 3
    )  # the median of the last three, which is the middle one
    assert (found["growth"], found["calm_growth"], found["before"]) == pytest.approx((3, 1.1, 2))


def test_the_residual_block_has_the_weights_of_attention() -> None:
    for channels in (24, 32, 64):
        ours, theirs = (
            sum(p.numel() for p in m.parameters())
            for m in (attention_helps.Residual(channels), SelfAttention(channels))
        )
        assert ours == pytest.approx(theirs, rel=0.1)


def small_stable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(spectral_norm_is_stable, "BATCHES", 5)
    patch.setattr(spectral_norm_is_stable, "COUNT", quality.PART)
    patch.setattr(
        spectral_norm_is_stable, "SETTINGS", {k: spectral_norm_is_stable.SETTINGS[k] for k in "AD"}
    )
    patch.setattr(spectral_norm_is_stable, "AGGRESSIVE", "D")


def small_attention(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attention_helps, "READINGS", 3)
    patch.setattr(attention_helps, "COUNT", quality.PART)
    _shorter(patch, attention_helps)


def small_truncation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(truncation_trades, "RUN", replace(truncation_trades.RUN, batch=4, images=8))
    patch.setattr(truncation_trades, "COUNT", 40)
    patch.setattr(truncation_trades, "PART", 20)
    patch.setattr(truncation_trades, "THRESHOLDS", (2.0, 0.5))


def small_singular(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(singular_values_tell, "READINGS", 3)
    patch.setattr(singular_values_tell, "COUNT", quality.PART)
    _shorter(patch, singular_values_tell)


def _shorter(patch: pytest.MonkeyPatch, claim: Any) -> None:
    make = claim._run
    patch.setattr(claim, "_run", lambda *args: replace(make(*args), batch=4, images=12))


@pytest.mark.parametrize(
    ("claim", "small"),
    [
        (spectral_norm_is_stable.CLAIM, small_stable),
        (attention_helps.CLAIM, small_attention),
        (truncation_trades.CLAIM, small_truncation),
        (singular_values_tell.CLAIM, small_singular),
    ],
    ids=lambda x: x.name if isinstance(x, Claim) else "",
)
def test_experiment(
    claim: Claim, small: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every figure that a check looks at is there, the same seed gives the same figures, and the plot is drawn."""
    small(monkeypatch)
    one, two = claim.experiment(7), claim.experiment(7)
    assert {check.figure for check in claim.checks} <= one.figures.keys()
    assert one == two
    claim.plot(
        Figure(), [{"seed": 7, "figures": one.figures, "series": one.series, "seconds": 1.0}]
    )
