"""Diagnostics that a Fréchet distance misses: duplicates, memorization, modes, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganvas.core import Batch, Likelihood, Moves, Samples, Styled
from ganvas.core.errors import UserError, did_you_mean
from ganvas.data import Feed, images
from ganvas.data.crops import in_unit
from ganvas.evaluation.records import Diagnostic
from ganvas.inference.latent.naming import latents
from ganvas.inference.model import Model
from ganvas.inference.runtime import methods_with
from ganvas.media.grid import to_uint8
from ganvas.metrics.cas import CLASSIFIER, classification_accuracy_score
from ganvas.metrics.equivariance import CUTOFF, equivariance
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import Extractor, extractor
from ganvas.metrics.likelihood import bits_per_dim
from ganvas.metrics.lpips import lpips
from ganvas.metrics.mode_coverage import (
    STACKED_SAMPLES,
    birthday,
    memorisation,
    score_stacked_mnist,
)
from ganvas.metrics.ppl import path_length
from ganvas.metrics.precision_recall import nearest
from ganvas.metrics.recognizability import PROTOCOL, RecognitionClassifier, RecognitionStats

LIMIT = 5_000  # images of each set, for comparisons of all pairs
PATHS = 2_000  # latent paths
LIKELIHOODS = 16  # images in one forward pass
MOVED, MOVED_TOGETHER = 1_000, 4  # images that are shifted and turned, and with one transform


@dataclass(frozen=True)
class EvaluationContext:
    """A model and the real images that it is measured against.

    feed: the training images; `real`: their features
    source: of the data, to open its test part
    n: number of samples
    weights: folder of further networks' weights
    distance: LPIPS's backbone, for path lengths
    white: of the data, see `ganvas.data.images`
    """

    model: Model
    feed: Feed
    real: FeatureSet
    source: str
    extractor: Extractor
    n: int
    seed: int
    weights: str | Path | None = None
    distance: str = "squeeze-caffe"
    white: int | None = None

    @cached_property
    def test(self) -> Feed:
        """The test images. Raises `UserError` if the data set has none."""
        try:
            info = self.feed.info
            size = info.height, info.width
            # Without a window, measurements would be read as photographs.
            values = info.values
            test = images(
                self.source,
                size=size,
                channels=info.channels,
                part="test",
                white=None if values else self.white,
                window=(values.low, values.high) if values else None,
            )
        except UserError as e:
            raise UserError(f"this diagnostic needs a test part of the real images: {e}") from None
        if test.info.fingerprint == self.feed.info.fingerprint:
            raise UserError(
                "this diagnostic needs a test part of the real images; here it equals the "
                "training part"
            )
        return test

    @cached_property
    def trained_on(self) -> Tensor:
        """Features of up to `LIMIT` training images."""
        return self.real.kept()[0][:LIMIT]

    @cached_property
    def heldout(self) -> Tensor:
        """Features of at most `LIMIT` shuffled test images (files are sorted)."""
        n = min(self.test.info.count, LIMIT)
        return self._features(
            self.test.draw(i, min(256, n - i), seed=self.seed).x for i in range(0, n, 256)
        )

    @cached_property
    def fakes(self) -> Tensor:
        """Features of up to `LIMIT` samples, shuffled: labels are drawn in turn."""
        features = self._features(self.model.batches(min(self.n, LIMIT), seed=self.seed))
        return features[
            torch.randperm(len(features), generator=torch.Generator().manual_seed(self.seed))
        ]

    def _features(self, batches: Iterable[Tensor]) -> Tensor:
        return torch.cat([self.extractor(x).cpu() for x in batches])


def _numbers(result: NamedTuple) -> dict[str, float]:
    """The numbers of a named tuple."""
    return {k: v for k, v in result._asdict().items() if isinstance(v, int | float)}


def duplicates(context: EvaluationContext) -> Diagnostic:
    """Birthday paradox test.

    A duplicate is a pair of samples closer than the closest pair of as many real
    images.
    """
    n = min(len(context.fakes), len(context.trained_on))
    fakes, real = context.fakes[:n], context.trained_on[:n]
    own = nearest(real, real, k=2)[0][:, 1]  # the first neighbor is the image itself
    threshold = float(own[own > 0].min()) if bool((own > 0).any()) else 0.0
    found = birthday(fakes, threshold)
    return {
        "values": {
            "duplicates": found.duplicates,
            "support": found.support if found.duplicates else None,
        },
        "intervals": {"support": [found.low, found.high if found.high != float("inf") else None]},
        "protocol": {"samples": n, "threshold": threshold, "extractor": context.extractor.name},
        "source": "arXiv:1706.08224",
    }


def memorization(context: EvaluationContext) -> Diagnostic:
    """Memorization: are samples closer to the training images than test images are?"""
    found = memorisation(context.fakes, context.trained_on, context.heldout)
    return {
        "values": {"ratio": found.ratio, "z": found.z},
        "protocol": {
            "samples": len(context.fakes),
            "training": len(context.trained_on),
            "heldout": len(context.heldout),
            "extractor": context.extractor.name,
        },
        "source": "arXiv:2004.05675",
    }


def accuracy(context: EvaluationContext) -> Diagnostic:
    """Classification accuracy score: trained on samples, tested on real images."""
    if not context.model.method.classes:
        raise UserError(
            "the classification accuracy score needs a model that was trained with labels"
        )
    real, test = (
        _labeled(feed.draw(0, min(most, feed.info.count, LIMIT), seed=context.seed))
        for feed, most in ((context.feed, context.n), (context.test, LIMIT))
    )
    n = len(real)
    labels = torch.arange(n) % context.model.method.classes
    made = context.model.sample(n, seed=context.seed, labels=labels.tolist(), output="torch").cpu()
    found = classification_accuracy_score(
        made, labels, real.x, real.y, test.x, test.y, seed=context.seed
    )
    return {
        "values": _numbers(found),
        "protocol": {"samples": n, "test": len(test), "classifier": CLASSIFIER},
        "source": "arXiv:1905.10887",
    }


def _labeled(batch: Batch) -> Batch:
    """The images that have a label."""
    return batch.map(lambda t: t[batch.y >= 0])


def path_lengths(context: EvaluationContext) -> Diagnostic:
    """Perceptual path length in z."""
    distance = lpips(context.distance, context.weights)
    found = path_length(context.model.method, distance, PATHS, seed=context.seed)
    return {
        "values": _numbers(found),
        "protocol": {"space": "z", "paths": PATHS, "distance": distance.name},
        "source": "arXiv:1812.04948, section 4.1",
    }


def stacked_mnist(context: EvaluationContext) -> Diagnostic:
    """Modes of stacked MNIST."""
    lenet = extractor("lenet-mnist", context.weights)
    found = score_stacked_mnist(
        context.model.batches(STACKED_SAMPLES, seed=context.seed), lambda x: lenet.with_logits(x)[1]
    )
    return {
        "values": _numbers(found),
        "protocol": {
            "samples": STACKED_SAMPLES,
            "classifier": lenet.name,
            "classifier_hash": lenet.hash,
        },
        "source": "arXiv:1712.04086, section 4.2",
    }


def recognizability(context: EvaluationContext) -> Diagnostic:
    """Fraction of samples that a classifier of the real images recognizes."""
    if not context.feed.info.classes:
        raise UserError("recognizability needs real images with labels")
    raw, size = context.feed.raw(), (context.feed.info.height, context.feed.info.width)
    has = raw["y"] >= 0
    x, y = (raw["x"], raw["y"]) if has.all() else (raw["x"][has], raw["y"][has])
    if x.dtype != np.uint8:  # measurements
        x = to_uint8(in_unit(torch.from_numpy(np.array(x)).movedim(-1, 1)))
    stats = RecognitionStats(RecognitionClassifier(x, y))
    for x in context.model.batches(context.n, seed=context.seed):
        # Progressive networks: upscaled by repeating pixels, as for the other measures.
        stats.add(to_uint8(x if x.shape[-2:] == size else interpolate(x, size, mode="nearest")))
    found: dict[str, Any] = {**stats.report()}
    sizes = {k: found.pop(k) for k in ("samples", "trained_on", "tested_on", "confidence")}
    return {
        "values": {k: v for k, v in found.items() if isinstance(v, float)},
        "class_shares": found["class_shares"],
        "protocol": {**sizes, "classifier": PROTOCOL},
        "source": "calibration: Zadrozny and Elkan, 2002",
    }


@torch.no_grad()
def bits_per_dimension(context: EvaluationContext) -> Diagnostic:
    """Bits per dimension of all real images, for methods with a likelihood."""
    method, shape = context.model.method, context.feed.info.shape
    if not isinstance(method, Likelihood):
        raise UserError(f"{type(method).__name__} has no likelihood. {methods_with(Likelihood)}")
    batches = context.feed.batches(LIKELIHOODS, device=method.device)
    values = shape.channels * shape.height * shape.width
    found = bits_per_dim((method.nats(batch.x) for batch in batches), values)
    return {
        "values": {"bits": found.value},
        "intervals": {"bits": [found.low, found.high]},
        "protocol": {"images": found.images, "levels": method.levels, "values": values},
        "source": "arXiv:1904.10509",
    }


def moving(context: EvaluationContext) -> Diagnostic:
    """EQ-T and EQ-R of generators whose input can be shifted and turned."""
    method, n = context.model.method, min(context.n, MOVED)
    if not (
        isinstance(method, Moves) and isinstance(method, Samples) and isinstance(method, Styled)
    ):
        raise UserError(
            f"the input of {type(method).__name__} cannot be shifted. {methods_with(Moves)}"
        )
    y = torch.arange(n, device=method.device) % method.classes if method.classes else None
    z = latents(method, [(context.seed, i) for i in range(n)])
    w = method.styles(z, y).split(MOVED_TOGETHER)
    found = equivariance(method.moved, w, seed=context.seed)
    return {
        "values": {"EQ-T": found.translation, "EQ-R": found.rotation},
        "protocol": {"samples": found.images, "cutoff": CUTOFF, "together": MOVED_TOGETHER},
        "source": "arXiv:2106.12423, appendix E.3",
    }


DIAGNOSTICS: dict[str, Callable[[EvaluationContext], Diagnostic]] = {
    "duplicates": duplicates,
    "memorisation": memorization,
    "accuracy": accuracy,
    "path-length": path_lengths,
    "stacked-mnist": stacked_mnist,
    "recognizability": recognizability,
    "bits-per-dimension": bits_per_dimension,
    "equivariance": moving,
}


def check_names(names: Sequence[str]) -> None:
    """Raise `UserError` for a name that is no diagnostic."""
    for name in names:
        if name not in DIAGNOSTICS:
            raise UserError(
                f"there is no diagnostic {name!r} (--also). {did_you_mean(name, DIAGNOSTICS)}"
            )


def run_diagnostics(names: Sequence[str], context: EvaluationContext) -> dict[str, Diagnostic]:
    """Run diagnostics: name -> values, protocol and source.

    Raises `UserError` for an unknown name, and if the model or the images exclude
    one.
    """
    check_names(names)
    return {name: DIAGNOSTICS[name](context) for name in names}
