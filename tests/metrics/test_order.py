"""No figure depends on the order of the images.

Folders are sorted by class, and conditional generators sample their classes in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import toy_images

from ganvas.data import images
from ganvas.evaluation import diagnostics
from ganvas.evaluation.diagnostics import DIAGNOSTICS, EvaluationContext, run_diagnostics
from ganvas.metrics import feature_set, suite
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import Extractor, extractor
from ganvas.metrics.inception_score import InceptionScore
from ganvas.metrics.ppl import path_length
from ganvas.metrics.suite import filled, measure_samples

CLASSES, EACH = 10, 60


class Blobs(torch.nn.Module):
    """Images are their own features; the logits favor the class of the lightest pixel."""

    classes = CLASSES

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1).flatten(1)

    def with_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self(x)
        return features, 12 * features[:, :CLASSES]


def blobs_extractor() -> Extractor:
    return Extractor("blobs", Blobs(), dim=16, hash="0", side=lambda longer: 4)


def blobs(seed: int) -> Tensor:
    """Images [CLASSES * EACH, 1, 4, 4] of ten classes, sorted by class."""
    noise = torch.rand(CLASSES * EACH, 16, generator=torch.Generator().manual_seed(seed)) * 0.6 - 1
    noise[torch.arange(len(noise)), torch.arange(len(noise)) // EACH] += 1.3
    return noise.view(-1, 1, 4, 4)


def shuffled(seed: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]


def in_turn(x: Tensor) -> Tensor:
    """0, 1, ..., 9, 0, 1, ..."""
    return x.unflatten(0, (CLASSES, EACH)).transpose(0, 1).flatten(0, 1)


def figures(fake: Tensor, real: Tensor) -> dict[str, float]:
    record: dict[str, Any] = measure_samples(
        fake.split(50), real.split(64), blobs_extractor(), extrapolate=True
    )
    low, high = record["intervals"]["kernel"]
    return {**record["values"], "kernel_interval": high - low}


@pytest.mark.parametrize("limit", [10_000, 200])
def test_any_order_of_the_classes_gives_the_shuffled_figures(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all features kept, when most figures are exact, and with a third of them."""
    monkeypatch.setattr(feature_set, "KEPT", limit)
    monkeypatch.setattr(suite, "PAIRS", limit // 2)
    fake, real = blobs(0), blobs(1)
    random = [figures(shuffled(i)(fake), shuffled(i + 50)(real)) for i in range(8)]
    exact = [
        "frechet",
        *(
            ["precision", "recall", "density", "coverage", "kernel", "diversity"]
            if limit > 600
            else []
        ),
    ]
    by_class: Callable[[Tensor], Tensor] = torch.clone  # as they are
    backwards: Callable[[Tensor], Tensor] = lambda x: x.flip(0)  # noqa: E731
    for order, other in (
        (in_turn, in_turn),
        (by_class, by_class),
        (in_turn, by_class),
        (by_class, backwards),
    ):
        found = figures(order(fake), other(real))
        for name, value in found.items():
            values = [r[name] for r in random]
            if name in exact:
                assert value == pytest.approx(values[0], rel=1e-6, abs=1e-12), name
            else:
                spread = max(float(np.std(values, ddof=1)), 1e-9 * abs(values[0]))
                assert abs(value - np.mean(values)) < 6 * spread, (name, value, values)


def test_an_inception_score_sees_all_classes_in_every_part() -> None:
    """If images went to the parts in turn, each would hold one class: a score of 1."""
    logits = blobs_extractor().with_logits(in_turn(blobs(0)))[1]
    score = InceptionScore(CLASSES)
    score.add(logits)
    assert score.score()[0] > 5


# ---------------------------------------------------------------- the further measures


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, one after the other, with a test part of other images."""
    root = tmp_path_factory.mktemp("order")
    for part, count in (("train", 60), ("test", 60)):
        for i, name in enumerate(("gray", "colour")):
            toy_images(
                root / part / name,
                count,
                channels=3 if i else 1,
                seed=count + i + 10 * (part == "test"),
            )
    return root


class Sorted:
    """A model whose images come class by class, in the order of the training part."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        order = y.argsort(stable=True)
        self.x, self.y = x[order], y[order]
        self.method = SimpleNamespace(classes=2, latent=len, sample=len, device="cpu")

    def batches(self, n: int, **_: Any):
        yield from self.x[:n].split(16)

    def sample(self, n: int, labels: list[int], **_: Any) -> Tensor:
        pools = {c: self.x[self.y == c] for c in (0, 1)}
        return torch.stack([pools[c][i % len(pools[c])] for i, c in enumerate(labels)])


def subject(source: Path) -> EvaluationContext:
    feed, extract = images(str(source), size=16, channels=3), extractor("random-conv-v1")
    whole = feed.draw(0, feed.info.count, seed=0)
    assert whole.y is not None
    real = filled(FeatureSet(extract, "real"), (b.x for b in feed.batches(64)))
    model: Any = Sorted(whole.x, whole.y)
    return EvaluationContext(model, feed, real, str(source), extract, 120, seed=0)


def shares_of_gray(features: Tensor, source: Path) -> float:
    """The fraction of features whose nearest real feature is that of a gray image."""
    known, gray = [], []
    for part in ("train", "test"):
        feed = images(str(source), size=16, channels=3, part=part)  # type: ignore[arg-type]
        for b in feed.batches(64):
            known.append(extractor("random-conv-v1")(b.x))
            gray.append(b.y == feed.info.classes.index("gray"))
    nearest = torch.cdist(features.double(), torch.cat(known).double()).argmin(1)
    return float(torch.cat(gray)[nearest].double().mean())


@pytest.mark.parametrize("name", ["trained_on", "heldout", "fakes"])
def test_a_limit_leaves_images_of_every_class(
    name: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "LIMIT", 40)
    s = subject(source)
    if name == "fakes":  # the number of samples depends on the model; their choice does not
        monkeypatch.setattr(diagnostics, "LIMIT", 120)
    features = getattr(s, name)[:40]
    assert len(features) == 40
    assert 0.25 < shares_of_gray(features, source) < 0.75


def test_held_out_images_of_both_classes_are_compared(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples from half of the held-out images count as new, whatever the limit."""
    s = subject(source)
    test = images(str(source), size=16, channels=3, part="test").draw(0, 120, seed=1)
    assert test.y is not None
    s.model.x = test.x  # type: ignore[attr-defined]
    whole = run_diagnostics(["memorisation"], s)["memorisation"]["values"]
    monkeypatch.setattr(diagnostics, "LIMIT", 60)
    part = subject(source)
    part.model.x = test.x  # type: ignore[attr-defined]
    limited = run_diagnostics(["memorisation"], part)["memorisation"]["values"]
    assert whole["z"] == pytest.approx(0, abs=1e-9)
    assert abs(limited["z"]) < 2.5


def test_paths_are_taken_in_every_class(source: Path) -> None:
    """Classes go on from batch to batch: there may be more of them than paths in a batch."""
    seen: list[Tensor] = []

    def sample(n: int, z: Tensor, y: Tensor) -> Tensor:
        seen.append(y)
        return z.view(n, 1, 1, 2)

    model = SimpleNamespace(classes=70, latent=lambda n: torch.rand(n, 2), sample=sample)
    path_length(model, lambda a, b: (a - b).square().mean((1, 2, 3)), n=150, batch=50)
    assert set(torch.cat(seen).tolist()) == set(range(70))
    assert all(torch.equal(*y.chunk(2)) for y in seen)


def test_every_further_measure_was_looked_at() -> None:
    """A new figure must state here why it does not depend on the order."""
    assert set(DIAGNOSTICS) == {
        "duplicates",  # random subsets of both sides
        "memorisation",  # the same
        "accuracy",  # `Feed.draw`, whose order is random
        "path-length",  # independent draws
        "stacked-mnist",  # counts
        "bits-per-dimension",  # a mean over all images
        "equivariance",  # latents and transformations are drawn independently
        "recognizability",  # stratified random halves, shuffled; the rest are counts
    }
