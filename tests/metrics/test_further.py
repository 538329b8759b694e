"""Further diagnostics: models that copy, repeat, or generate the requested class."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toys import toy_images

from ganvas.core.errors import UserError
from ganvas.data import images
from ganvas.evaluation import diagnostics as further_module
from ganvas.evaluation.diagnostics import EvaluationContext, run_diagnostics
from ganvas.metrics.cas import AccuracyScore
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import extractor
from ganvas.metrics.suite import filled


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, with a test part of other images."""
    root = tmp_path_factory.mktemp("further")
    for part, count in (("train", 40), ("test", 24)):
        for i, name in enumerate(("gray", "colour")):
            toy_images(root / part / name, count, channels=3 if i else 1, seed=count + i)
    return root


class Made:
    """A model whose samples are the given images."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor | None = None) -> None:
        self.x, self.y = x, y
        self.method = SimpleNamespace(classes=0 if y is None else 2, latent=len, sample=len)

    def batches(self, n: int, **_: Any):
        yield self.x[:n]

    def sample(self, n: int, labels: list[int] | None = None, **_: Any) -> torch.Tensor:
        assert self.y is not None
        assert labels is not None
        pools = {c: self.x[self.y == c] for c in (0, 1)}
        return torch.stack([pools[c][i % len(pools[c])] for i, c in enumerate(labels)])


def subject(source: Path, model: Made, n: int = 40) -> EvaluationContext:
    feed, extract = images(str(source), size=16, channels=3), extractor("random-conv-v1")
    real = filled(FeatureSet(extract, "real"), (b.x for b in feed.batches(64)))
    return EvaluationContext(model, feed, real, str(source), extract, n, seed=0)  # type: ignore[arg-type]


def everything(source: Path, part: str = "train") -> Any:
    feed = images(str(source), size=16, channels=3, part=part)  # type: ignore[arg-type]
    return feed.draw(0, feed.info.count, seed=0)


def feed_class(source: Path, name: str) -> int:
    return images(str(source), size=16, channels=3).info.classes.index(name)


def test_copies_of_the_training_images_are_memorised_and_held_out_ones_are_not(
    source: Path,
) -> None:
    train, test = everything(source), everything(source, "test")
    copied = run_diagnostics(["memorisation"], subject(source, Made(train.x)))["memorisation"][
        "values"
    ]
    fresh = run_diagnostics(["memorisation"], subject(source, Made(test.x)))["memorisation"][
        "values"
    ]
    assert copied["ratio"] == pytest.approx(0, abs=1e-6)
    assert copied["z"] < -3
    assert fresh["ratio"] == pytest.approx(1, abs=0.2)


def test_a_model_of_four_images_has_a_small_support(source: Path) -> None:
    few = everything(source).x[:4].repeat(10, 1, 1, 1)
    found = run_diagnostics(["duplicates"], subject(source, Made(few)))["duplicates"]
    assert found["values"]["duplicates"] == 4 * 45  # pairs among ten copies of each
    assert found["values"]["support"] == pytest.approx(4.3, abs=0.5)  # n (n - 1) / 2 over 180


def test_the_classifier_trains_on_the_requested_classes(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests the inputs of the score; the score has tests of its own."""
    train, test = everything(source), everything(source, "test")
    given: list[torch.Tensor] = []

    def score(*sets: torch.Tensor, seed: int) -> AccuracyScore:
        given.extend(sets)
        return AccuracyScore(0.5, 1.0, (0.5, 0.5), (0, 1), len(sets[0]), len(sets[4]), "cnn-v1")

    monkeypatch.setattr(further_module, "classification_accuracy_score", score)
    found = run_diagnostics(["accuracy"], subject(source, Made(train.x, train.y)))["accuracy"]
    assert found["values"] == {"score": 0.5, "reference": 1.0, "trained_on": 40, "tested_on": 48}
    samples, labels, real, _, unseen, _ = given
    gray = (samples[:, 0] == samples[:, 1]).flatten(1).all(1)
    assert torch.equal(gray, labels == feed_class(source, "gray"))
    assert len(real) == 40
    assert torch.equal(unseen.sum(), test.x.sum())


def test_figures_that_cannot_be_computed_are_named(source: Path, tmp_path: Path) -> None:
    x = everything(source).x
    with pytest.raises(UserError, match="Did you mean 'duplicates'"):
        run_diagnostics(["duplicate"], subject(source, Made(x)))
    with pytest.raises(UserError, match="trained with labels"):
        run_diagnostics(["accuracy"], subject(source, Made(x)))
    alone = toy_images(tmp_path / "alone", 12)
    lonely = subject(alone, Made(x))
    with pytest.raises(UserError, match="test part"):
        run_diagnostics(["memorisation"], lonely)
