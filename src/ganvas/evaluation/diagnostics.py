"""What a distance between distributions does not tell: repetition, copies of the training images, use, smoothness, modes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganvas.core.errors import UserError, did_you_mean
from ganvas.data import Feed, images
from ganvas.inference.model import Model
from ganvas.media.grid import to_uint8
from ganvas.metrics.cas import CLASSIFIER, classification_accuracy_score
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import Extractor, extractor
from ganvas.metrics.lpips import lpips
from ganvas.metrics.mode_coverage import STACKED_SAMPLES, birthday, memorisation, score_stacked_mnist
from ganvas.metrics.ppl import path_length
from ganvas.metrics.precision_recall import nearest
from ganvas.metrics.recognizability import PROTOCOL, RecognitionClassifier, RecognitionStats

LIMIT = 5_000  # images of either side for what compares all pairs
PATHS = 2_000


@dataclass(frozen=True)
class EvaluationContext:
    """A model beside the real images that it is measured against. `feed`: their training part; `real`: its features."""

    model: Model
    feed: Feed
    real: FeatureSet
    source: str
    extractor: Extractor
    n: int
    seed: int
    weights: str | Path | None = None
    distance: str = "squeeze-caffe"  # LPIPS' backbone, for path lengths

    @cached_property
    def test(self) -> Feed:
        """The real images that the model has not seen. Raises `UserError` where the set keeps none apart."""
        try:
            info = self.feed.info
            test = images(self.source, size=(info.height, info.width), channels=info.channels, part="test")
        except UserError as e:
            raise UserError(f"this measure needs real images that were not trained on, a test part: {e}") from None
        if test.info.fingerprint == self.feed.info.fingerprint:
            raise UserError(
                "this measure needs real images that were not trained on, and the test part is the training part"
            )
        return test

    @cached_property
    def trained_on(self) -> Tensor:
        """Features of at most `LIMIT` of the training images."""
        return self.real.kept()[0][:LIMIT]

    @cached_property
    def heldout(self) -> Tensor:
        """Features of at most `LIMIT` of the test images, chosen at random: their order is often that of their classes."""
        n = min(self.test.info.count, LIMIT)
        return self._features(self.test.draw(i, min(256, n - i), seed=self.seed).x for i in range(0, n, 256))

    @cached_property
    def fakes(self) -> Tensor:
        """Features of at most `LIMIT` samples, in random order: a generator that is given labels draws them in turn."""
        found = self._features(self.model.batches(min(self.n, LIMIT), seed=self.seed))
        return found[torch.randperm(len(found), generator=torch.Generator().manual_seed(self.seed))]

    def _features(self, batches: Iterable[Tensor]) -> Tensor:
        return torch.cat([self.extractor(x).cpu() for x in batches])


def _numbers(found: Any) -> dict[str, float]:
    """The figures of a named tuple, without what else it holds."""
    return {k: v for k, v in found._asdict().items() if isinstance(v, int | float)}


def duplicates(s: EvaluationContext) -> dict[str, Any]:
    """The birthday paradox test; a duplicate is a pair of samples closer than the closest pair of as many real images."""
    n = min(len(s.fakes), len(s.trained_on))
    fakes, real = s.fakes[:n], s.trained_on[:n]
    own = nearest(real, real, k=2)[0][:, 1]  # the first is the image itself
    threshold = float(own[own > 0].min()) if bool((own > 0).any()) else 0.0
    found = birthday(fakes, threshold)
    return {
        "values": {"duplicates": found.duplicates, "support": found.support if found.duplicates else None},
        "intervals": {"support": [found.low, found.high if found.high != float("inf") else None]},
        "protocol": {"samples": n, "threshold": threshold, "extractor": s.extractor.name},
        "source": "arXiv:1706.08224",
    }


def copies(s: EvaluationContext) -> dict[str, Any]:
    """Memorisation: are samples nearer to the training images than held-out real ones are?"""
    found = memorisation(s.fakes, s.trained_on, s.heldout)
    return {
        "values": {"ratio": found.ratio, "z": found.z},
        "protocol": {
            "samples": len(s.fakes),
            "training": len(s.trained_on),
            "heldout": len(s.heldout),
            "extractor": s.extractor.name,
        },
        "source": "arXiv:2004.05675",
    }


def accuracy(s: EvaluationContext) -> dict[str, Any]:
    """Classification accuracy score: a classifier that learned from samples, on real test images."""
    if not s.model.method.classes:
        raise UserError("the classification accuracy score needs a model that was trained with labels")
    n = min(s.n, s.feed.info.count, LIMIT)
    labels = torch.arange(n) % s.model.method.classes
    made = s.model.sample(n, seed=s.seed, labels=labels.tolist(), output="torch").cpu()
    real, test = s.feed.draw(0, n, seed=s.seed), s.test.draw(0, min(s.test.info.count, LIMIT), seed=s.seed)
    found = classification_accuracy_score(made, labels, real.x, real.y, test.x, test.y, seed=s.seed)
    return {
        "values": _numbers(found),
        "protocol": {"samples": n, "test": len(test), "classifier": CLASSIFIER},
        "source": "arXiv:1905.10887",
    }


def smoothness(s: EvaluationContext) -> dict[str, Any]:
    """Perceptual path length in z."""
    distance = lpips(s.distance, s.weights)
    found = path_length(s.model.method, distance, PATHS, seed=s.seed)
    return {
        "values": _numbers(found),
        "protocol": {"space": "z", "paths": PATHS, "distance": distance.name},
        "source": "arXiv:1812.04948, section 4.1",
    }


def stacked(s: EvaluationContext) -> dict[str, Any]:
    """Modes of stacked MNIST."""
    lenet = extractor("lenet-mnist", s.weights)
    found = score_stacked_mnist(s.model.batches(STACKED_SAMPLES, seed=s.seed), lambda x: lenet.with_logits(x)[1])
    return {
        "values": _numbers(found),
        "protocol": {"samples": STACKED_SAMPLES, "classifier": lenet.name, "classifier_hash": lenet.hash},
        "source": "arXiv:1712.04086, section 4.2",
    }


def recognizability(s: EvaluationContext) -> dict[str, Any]:
    """Fraction of samples that a classifier trained on half of the real images recognizes."""
    if not s.feed.info.classes:
        raise UserError("recognizability needs real images with labels")
    raw, size = s.feed.raw(), (s.feed.info.height, s.feed.info.width)
    stats = RecognitionStats(RecognitionClassifier(raw["x"], raw["y"]))
    for x in s.model.batches(s.n, seed=s.seed):
        # A network that has yet to grow: enlarged by repeated pixels, as for the other measures.
        stats.add(to_uint8(x if x.shape[-2:] == size else interpolate(x, size, mode="nearest")))
    found = stats.report()
    sizes = {k: found.pop(k) for k in ("samples", "trained_on", "tested_on", "confidence")}
    return {
        "values": {k: v for k, v in found.items() if isinstance(v, float)},
        "class_shares": found["class_shares"],
        "protocol": {**sizes, "classifier": PROTOCOL},
        "source": "calibration: Zadrozny and Elkan, 2002",
    }


DIAGNOSTICS: dict[str, Callable[[EvaluationContext], dict[str, Any]]] = {
    "duplicates": duplicates,
    "memorisation": copies,
    "accuracy": accuracy,
    "path-length": smoothness,
    "stacked-mnist": stacked,
    "recognizability": recognizability,
}


def check_names(names: Sequence[str]) -> None:
    """Raises `UserError` for a name that is no further measure."""
    for name in names:
        if name not in DIAGNOSTICS:
            raise UserError(f"there is no further measure {name!r}. {did_you_mean(name, DIAGNOSTICS)}")


def run_diagnostics(names: Sequence[str], subject: EvaluationContext) -> dict[str, Any]:
    """The further measures of these names, each with its values, protocol and source. Raises `UserError` for an unknown name
    and for what this model or these images do not allow."""
    check_names(names)
    return {name: DIAGNOSTICS[name](subject) for name in names}
