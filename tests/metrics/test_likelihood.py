"""Bits per dimension against closed forms."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toys import toy_images, toy_run

from ganvas.core import Shape
from ganvas.core.errors import UserError
from ganvas.data import images
from ganvas.evaluation.diagnostics import run_diagnostics
from ganvas.metrics.likelihood import bits_per_dim


def context(recipe: str, source: Path, side: int = 4) -> Any:
    feed = images(str(source), size=side, channels=3, flip=False)
    method: Any = toy_run(recipe, source).method(Shape(3, side, side)).eval()
    return SimpleNamespace(model=SimpleNamespace(method=method), feed=feed, n=4, seed=0)


def test_a_known_distribution_has_its_cross_entropy(tmp_path: Path) -> None:
    """Every value by itself: bits are the mean of -log2 p over all values of the data."""
    where = context("sparse_transformer_small", toy_images(tmp_path / "d", 19))
    p = torch.tensor([0.3, 0.05, 0.1, 0.05, 0.15, 0.05, 0.1, 0.2])
    method = where.model.method
    uniform = run_diagnostics(["bits-per-dimension"], where)["bits-per-dimension"]
    assert uniform["values"]["bits"] == pytest.approx(3)  # an untrained network: logits of 0
    assert uniform["protocol"] == {"images": 19, "levels": 8, "values": 48}
    method.T.forward = lambda values: p.log().expand(*values.shape, -1)
    found = run_diagnostics(["bits-per-dimension"], where)["bits-per-dimension"]
    raw = torch.from_numpy(where.feed.raw()["x"].copy())
    bits = -p.log2()[(raw.double() / 255 * 7).round().long()].flatten(1).mean(1)
    assert found["values"]["bits"] == pytest.approx(float(bits.mean()), rel=1e-5)
    mean, half = float(bits.mean()), 1.96 * float(bits.std()) / math.sqrt(19)
    low, high = found.get("intervals", {})["bits"]
    assert (low, high) == pytest.approx((mean - half, mean + half), rel=1e-4)


def test_what_has_no_likelihood_is_refused(tmp_path: Path) -> None:
    where = context("dcgan", toy_images(tmp_path / "d", 2), 16)
    with pytest.raises(UserError, match=r"DCGAN has no likelihood\. .*SparseTransformer"):
        run_diagnostics(["bits-per-dimension"], where)
    with pytest.raises(UserError, match=r"DCGAN cannot be shifted\. .*StyleGAN3"):
        run_diagnostics(["equivariance"], where)
    with pytest.raises(UserError, match="finite"):
        bits_per_dim([torch.tensor([math.inf])], 3)
