"""Dual learning's gradient against every translation enumerated, and its tables."""

from __future__ import annotations

import json
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.core import Batch, Shape
from ganvas.core.errors import UserError
from ganvas.methods import DualLearning
from ganvas.nets import toy_language

WORDS, LENGTH = 3, 2


def game(alpha: float = 0.5, k: int = 2) -> DualLearning:
    torch.manual_seed(0)
    shape = Shape(1, 1, LENGTH, WORDS)
    T, LM = partial(toy_language.Translator, std=1.0), partial(toy_language.Bigram, std=1.0)
    return DualLearning(shape, T, LM, pretrain=0, alpha=alpha, k=k)


def expected_reward(method: DualLearning, s: Tensor) -> Tensor:
    """E r of one sentence [T], over all translations."""
    total = torch.zeros(())
    for t in product(range(WORDS), repeat=LENGTH):
        said = torch.tensor(t)[None]
        p = torch.stack([method.T_ab(s[None])[0, i, w] for i, w in enumerate(t)]).sum().exp()
        back = torch.stack([method.T_ba(said)[0, i, w] for i, w in enumerate(s.tolist())]).mean()
        total = total + p * (method.alpha * method.LM_b(said).mean() + (1 - method.alpha) * back)
    return total


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_loss_descends_the_expected_reward(alpha: float) -> None:
    s = torch.tensor([0, 2])
    method: Any = game(alpha)
    tables: list[Tensor] = [method.T_ab.table.weight, method.T_ba.table.weight]
    exact = torch.autograd.grad(
        -expected_reward(method, s), tables, allow_unused=True, materialize_grads=True
    )
    pixels = (s.float() / (WORDS - 1) * 2 - 1).view(1, 1, 1, LENGTH).expand(40_000, -1, -1, -1)
    got = torch.autograd.grad(
        method.a_loss(Batch(a=pixels)).loss, tables, allow_unused=True, materialize_grads=True
    )
    for found, wanted in zip(got, exact, strict=True):
        torch.testing.assert_close(found, wanted, atol=0.01, rtol=0)
    assert exact[0].abs().max() > 0.05


def test_language_models_are_distributions() -> None:
    LM = toy_language.Bigram(WORDS, std=1.0)
    every = torch.tensor(list(product(range(WORDS), repeat=LENGTH)))
    assert LM(every).sum(1).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_sentences_invert_the_images() -> None:
    method = game()
    said = torch.tensor([[0, 1], [2, 0]])
    assert torch.equal(method.sentences((said / (WORDS - 1) * 2 - 1).view(2, 1, 1, 2)), said)


def test_a_run_from_end_to_end(tmp_path: Path) -> None:
    """A sentence is encoded as a row of gray pixels, so that the feed fits."""
    settings = ["pretrain=32", "data.words=4", "data.count=50"]
    model = ganvas.train(
        "dual_learning",
        "ring",
        out=tmp_path,
        size=5,
        batch=16,
        images=64,
        set=settings,
        device="cpu",
    )
    said = torch.tensor([[-1, -1 / 3, 1 / 3, 1, -1]])[None, None]
    made = model.translate(said, to="a", output="torch")
    assert made.shape == said.shape
    assert made[..., 0] == made[..., 4]
    assert {round(float(v) * 3) for v in made.flatten()} <= {-3, -1, 1, 3}
    assert "images" in json.loads((tmp_path / "measures.jsonl").read_text())
    with pytest.raises(UserError, match="Did you mean 'ring'"):
        ganvas.train("dual_learning", "rings", out=tmp_path / "other")


def test_mistakes() -> None:
    T, LM = toy_language.Translator, toy_language.Bigram
    with pytest.raises(UserError, match="toy languages, not images"):
        DualLearning(Shape(3, 16, 16), T, LM, pretrain=0)
    with pytest.raises(UserError, match="k must be at least 2"):
        DualLearning(Shape(1, 1, 4, 4), T, LM, pretrain=0, k=1)
