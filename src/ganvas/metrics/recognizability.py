"""Recognizability: the share of samples that an independent classifier recognizes.

The classifier learns from half of the real images; its confidence on the other half is
the reference.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from ganvas.core.errors import UserError

CONFIDENT = 0.9
SIDE = 16  # pixels; larger images are reduced to this side
# Images to train on, and to test on, at most: the time of a support vector machine
# grows with the square of their number.
LIMIT = 5_000
PROTOCOL = f"SVC, isotonic calibration, shuffled, {SIDE} px, with a class of nothing"


class Recognizability(TypedDict):
    """A record, JSON-ready.

    real_confident, fake_confident: fractions of the held-out real images and of the
        samples that the classifier recognizes with a confidence above `confidence`
    ratio: fake_confident / real_confident
    class_shares: fractions of all samples, by the most probable class
    smallest_share, largest_share: of `class_shares`
    unrecognized_share: of the samples that are most probably nothing; 1 less the sum of
        `class_shares`
    accuracy, calibration_error: on the held-out real images; the latter is the expected
        error over 10 bins
    samples, trained_on, tested_on: numbers of images
    classifier: its protocol
    """

    real_confident: float
    fake_confident: float
    ratio: float
    confidence: float
    class_shares: dict[str, float]
    smallest_share: float
    largest_share: float
    unrecognized_share: float
    accuracy: float
    calibration_error: float
    samples: int
    trained_on: int
    tested_on: int
    classifier: str


class RecognitionClassifier:
    """Calibrated classifier of small labeled images, trained on half of them.

    A support vector machine with a Gaussian kernel, isotonic calibration over ten folds
    (Zadrozny and Elkan, 2002).

    A classifier that must name a class is easily fooled: on handwritten digits, without
    precaution, it was more than 90% sure of 59% of the averages of two digits and of
    98% of the averages of twenty. It therefore learns one more class, nothing: blends
    of two images of different classes, images with shuffled pixels or blocks, and flat
    ones, all derived from the training half. Over four splits those figures are then 6%
    to 9% and 0, and at most 0.1% for noise of any grain; flat images pass in 0 to 14%
    of cases, inverted ones in 0 to 1%. The price is less confidence in real images (81%
    to 88% instead of 96%). Images whose halves come from two digits still pass in 25%
    to 31% of cases: many do look like digits.

    images: uint8 [N, H, W, C]
    labels: integers [N]; at least 2 classes of at least 20 images
    seed: decides the halves (stratified), the images of nothing and their order

    Raises `UserError` for other input, and if the classifier is confident of no real
    image.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        images, labels = np.asarray(images), np.asarray(labels).reshape(-1)
        if images.ndim != 4 or images.dtype != np.uint8 or len(images) != len(labels):
            raise UserError(
                f"recognizability needs images uint8 [N, H, W, C] and as many labels; got "
                f"{images.dtype} {list(images.shape)} and {len(labels)} labels"
            )
        self.classes, counts = np.unique(labels, return_counts=True)
        if len(self.classes) < 2 or counts.min() < 20:
            raise UserError(
                f"recognizability needs at least 2 classes of at least 20 images; got "
                f"{len(self.classes)} classes, the smallest of {counts.min()} images"
            )
        self.shape = images.shape[1:]
        train, test = _halves(labels, seed)
        self._model = self._fitted(
            images[train], np.searchsorted(self.classes, labels[train]), seed
        )
        truth = np.searchsorted(self.classes, labels[test])
        p = self.probabilities(images[test])
        self.trained_on, self.tested_on = len(train), len(test)
        self.accuracy = float((p.argmax(1) == truth).mean())
        self.calibration_error = _calibration_error(p, truth)
        self.real_confident = float((p[:, :-1].max(1) > CONFIDENT).mean())
        if not self.real_confident:
            raise UserError(
                "the recognizability classifier is confident of none of the real images: these "
                "classes are too hard for it; leave this measure out"
            )

    def _fitted(self, images: np.ndarray, labels: np.ndarray, seed: int) -> CalibratedClassifierCV:
        rng = np.random.default_rng(seed)
        x = _pixels(images)
        nothing = _nothing(x, labels, round(len(x) / len(self.classes)), rng)
        x = np.concatenate([x, nothing]).reshape(len(x) + len(nothing), -1)
        y = np.concatenate([labels, np.full(len(nothing), len(self.classes))])
        # The folds are contiguous within a class, and images of nothing come sorted by
        # kind: unshuffled, each fold would calibrate on kinds that its machine has not
        # seen.
        order = rng.permutation(len(x))
        return CalibratedClassifierCV(SVC(C=10), method="isotonic", cv=10).fit(x[order], y[order])

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities [N, classes + 1] of images uint8 [N, H, W, C].

        The last column is nothing.
        """
        if images.shape[1:] != self.shape or images.dtype != np.uint8:
            raise UserError(
                f"this classifier takes uint8 images {list(self.shape)}; got {images.dtype} "
                f"{list(images.shape[1:])}"
            )
        x = _pixels(images)
        parts = np.split(x, range(1000, len(x), 1000))
        return np.concatenate(
            [self._model.predict_proba(part.reshape(len(part), -1)) for part in parts]
        )

    def report(self, samples: np.ndarray) -> Recognizability:
        """`RecognitionStats.report` of samples uint8 [N, H, W, C]."""
        stats = RecognitionStats(self)
        stats.add(np.asarray(samples))
        return stats.report()


class RecognitionStats:
    """Streaming recognizability statistics of samples, in constant memory."""

    def __init__(self, classifier: RecognitionClassifier) -> None:
        self.classifier, self.count, self._confident = classifier, 0, 0
        self._most_probable = np.zeros(len(classifier.classes) + 1, np.int64)

    def add(self, samples: np.ndarray) -> None:
        """Add samples uint8 [N, H, W, C]."""
        if not len(samples):
            return
        p = self.classifier.probabilities(samples)
        self._most_probable += np.bincount(p.argmax(1), minlength=len(self._most_probable))
        self._confident += int((p[:, :-1].max(1) > CONFIDENT).sum())
        self.count += len(p)

    def report(self) -> Recognizability:
        """The record of the samples so far. Raises `UserError` if there are none."""
        if not self.count:
            raise UserError("recognizability got no samples")
        classifier, fake = self.classifier, self._confident / self.count
        shares = self._most_probable / self.count
        return {
            "real_confident": classifier.real_confident,
            "fake_confident": fake,
            "ratio": fake / classifier.real_confident,
            "confidence": CONFIDENT,
            "class_shares": {
                str(c): float(s) for c, s in zip(classifier.classes, shares[:-1], strict=True)
            },
            "smallest_share": float(shares[:-1].min()),
            "largest_share": float(shares[:-1].max()),
            "unrecognized_share": float(shares[-1]),
            "accuracy": classifier.accuracy,
            "calibration_error": classifier.calibration_error,
            "samples": self.count,
            "trained_on": classifier.trained_on,
            "tested_on": classifier.tested_on,
            "classifier": PROTOCOL,
        }


def _halves(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stratified indices of the training and the test images, at most `LIMIT` each."""
    indices = np.arange(len(labels))
    halves = train_test_split(indices, test_size=0.5, stratify=labels, random_state=seed)
    for i, half in enumerate(halves):
        if len(half) > LIMIT:
            strata = labels[half]
            part, _ = train_test_split(half, train_size=LIMIT, stratify=strata, random_state=seed)
            halves[i] = part
    train, test = map(np.asarray, halves)
    return train, test


def _pixels(images: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, C] -> [N, H', W', C] in [0, 1], no side above `SIDE`."""
    x = torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, 1).float() / 255
    size = [min(side, SIDE) for side in x.shape[-2:]]
    return F.interpolate(x, size=size, mode="bilinear", antialias=True).movedim(1, -1).numpy()


def _nothing(x: np.ndarray, y: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """4 n images of no class, derived from images x [N, H, W, C] of classes y."""
    i, j = rng.integers(len(x), size=(2, 20 * n))
    different = np.flatnonzero(y[i] != y[j])[:n]
    weight = rng.uniform(0.35, 0.65, (len(different), 1, 1, 1)).astype(x.dtype)
    blends = weight * x[i[different]] + (1 - weight) * x[j[different]]
    # Blocks as large as the image: flat images of its mean.
    shuffled = [_shuffled(x[rng.integers(len(x), size=n)], block, rng) for block in (1, 2, SIDE)]
    return np.concatenate([blends, *shuffled])


def _shuffled(x: np.ndarray, block: int, rng: np.random.Generator) -> np.ndarray:
    """Shuffle each image's blocks of `block` pixels a side.

    Blocks above a pixel are smoothed.
    """
    n, h, w, c = x.shape
    small = F.interpolate(
        torch.from_numpy(x).movedim(-1, 1),
        size=(max(h // block, 1), max(w // block, 1)),
        mode="area",
    )
    flat = small.movedim(1, -1).reshape(n, -1, c).numpy()
    mixed = np.stack([image[rng.permutation(flat.shape[1])] for image in flat]).reshape(
        n, *small.shape[-2:], c
    )
    return (
        F.interpolate(torch.from_numpy(mixed).movedim(-1, 1), size=(h, w), mode="bilinear")
        .movedim(1, -1)
        .numpy()
    )


def _calibration_error(p: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: the mean |confidence - accuracy| over equal bins.

    Guo et al., 2017, arXiv:1706.04599, equation 3.
    """
    confidence, right = p.max(1), p.argmax(1) == truth
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[bin_of == b].sum() - right[bin_of == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(p))
