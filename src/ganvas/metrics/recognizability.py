"""How many samples an independent judge recognises: a classifier that the generator has never met, trained on half of
the real images, compared with how many it recognises of the other half."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from ganvas.core.errors import UserError

CONFIDENT = 0.9
SIDE = 16  # pixels; larger images are reduced to it
LIMIT = 5_000  # images to train on, and to test on, at most: a support vector machine's time grows with their square
NOTHING = "nothing"


class RecognitionClassifier:
    """A calibrated classifier of small labelled images, trained on half of them (stratified, fixed by `seed`).

    `images`: uint8 [N, H, W, C]; `labels`: integers [N]. A support vector machine with a Gaussian kernel, isotonic
    calibration over ten folds (Zadrozny and Elkan, 2002).

    A classifier that must name a class is easily fooled: on handwritten digits, without precaution, it was more than
    90% sure of 59% of the averages of two digits and of 98% of the averages of twenty. It therefore learns one more
    class, nothing: blends of two unlike images, images with their pixels or blocks shuffled, and flat ones, all made
    from the training half. Over four splits those figures are then 6% to 9% and 0, and at most 0.1% for noise of any
    grain; flat pictures pass in 0 to 14% of cases, inverted ones in 0 to 1%. The price is to be less sure of real
    images (81% to 88% instead of 96%). Pictures whose halves come from two digits still pass in 25% to 31% of cases:
    many do look like digits."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        images, labels = np.asarray(images), np.asarray(labels).reshape(-1)
        if images.ndim != 4 or images.dtype != np.uint8 or len(images) != len(labels):
            raise UserError(
                f"a judge learns from images uint8 [N, H, W, C] and as many labels; got {images.dtype} "
                f"{list(images.shape)} and {len(labels)} labels"
            )
        self.classes, counts = np.unique(labels, return_counts=True)
        if len(self.classes) < 2 or counts.min() < 20:
            raise UserError(
                f"a judge needs at least 2 classes of at least 20 images; got {len(self.classes)}, the smallest of "
                f"{counts.min()}"
            )
        self.shape = images.shape[1:]
        train, test = train_test_split(np.arange(len(images)), test_size=0.5, stratify=labels, random_state=seed)
        train, test = (
            part
            if len(part) <= LIMIT
            else train_test_split(part, train_size=LIMIT, stratify=labels[part], random_state=seed)[0]
            for part in (train, test)
        )
        rng = np.random.default_rng(seed)
        x, y = self._pixels(images[train]), np.searchsorted(self.classes, labels[train])
        nothing = _nothing(x, y, round(len(x) / len(self.classes)), rng)
        self._model = CalibratedClassifierCV(SVC(C=10), method="isotonic", cv=10)
        self._model.fit(
            np.concatenate([x, nothing]).reshape(len(x) + len(nothing), -1),
            np.concatenate([y, np.full(len(nothing), len(self.classes))]),
        )
        truth = np.searchsorted(self.classes, labels[test])
        p = self.probabilities(images[test])
        self.trained_on, self.tested_on = len(train), len(test)
        self.accuracy = float((p.argmax(1) == truth).mean())
        self.calibration_error = _calibration_error(p, truth)
        self.real_confident = float((p[:, :-1].max(1) > CONFIDENT).mean())
        if not self.real_confident:
            raise UserError(
                "the judge is sure of none of the real images, so it can judge nothing: these classes are too hard"
            )

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] -> [N, classes + 1]; the last column is nothing."""
        if images.shape[1:] != self.shape or images.dtype != np.uint8:
            raise UserError(
                f"this judge knows uint8 images {list(self.shape)}; got {images.dtype} {list(images.shape[1:])}"
            )
        x = self._pixels(images)
        return np.concatenate(
            [self._model.predict_proba(part.reshape(len(part), -1)) for part in np.split(x, range(1000, len(x), 1000))]
        )

    def report(self, samples: np.ndarray) -> dict[str, Any]:
        """What the judge says of samples uint8 [N, H, W, C]: see `Verdict.report`."""
        verdict = RecognitionStats(self)
        verdict.add(np.asarray(samples))
        return verdict.report()

    def _pixels(self, images: np.ndarray) -> np.ndarray:
        """[N, H', W', C] in [0, 1], no side above SIDE."""
        x = torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, 1).float() / 255
        size = [min(side, SIDE) for side in x.shape[-2:]]
        return F.interpolate(x, size=size, mode="bilinear", antialias=True).movedim(1, -1).numpy()


class RecognitionStats:
    """What a judge says of a stream of samples, in memory that does not grow with it."""

    def __init__(self, judge: RecognitionClassifier) -> None:
        self.judge, self.count, self._confident = judge, 0, 0
        self._most_probable = np.zeros(len(judge.classes) + 1, np.int64)

    def add(self, samples: np.ndarray) -> None:
        """samples uint8 [N, H, W, C]."""
        if not len(samples):
            return
        p = self.judge.probabilities(samples)
        self._most_probable += np.bincount(p.argmax(1), minlength=len(self._most_probable))
        self._confident += int((p[:, :-1].max(1) > CONFIDENT).sum())
        self.count += len(p)

    def report(self) -> dict[str, Any]:
        """`real_confident`, `fake_confident`: shares of the real images that the judge was not trained on, and of the
        samples, that it recognises with a confidence above 0.9; `ratio`: fake / real. `class_shares`: of all samples, by
        the most probable class; `unrecognised_share`: the samples that are most probably nothing; together they make 1.
        `accuracy` and `calibration_error` (expected, 10 bins) on the real images that it was not trained on."""
        if not self.count:
            raise UserError("the judge got no samples")
        judge, shares, fake = self.judge, self._most_probable / self.count, self._confident / self.count
        return {
            "real_confident": judge.real_confident,
            "fake_confident": fake,
            "ratio": fake / judge.real_confident,
            "confidence": CONFIDENT,
            "class_shares": {str(c): float(s) for c, s in zip(judge.classes, shares[:-1], strict=True)},
            "smallest_share": float(shares[:-1].min()),
            "largest_share": float(shares[:-1].max()),
            "unrecognised_share": float(shares[-1]),
            "accuracy": judge.accuracy,
            "calibration_error": judge.calibration_error,
            "samples": self.count,
            "trained_on": judge.trained_on,
            "tested_on": judge.tested_on,
            "judge": f"SVC, isotonic calibration, {SIDE} px, with a class of nothing",
        }


def _nothing(x: np.ndarray, y: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Four times n images that show nothing, from images x [N, H, W, C] of classes y."""
    i, j = rng.integers(len(x), size=(2, 20 * n))
    unlike = np.flatnonzero(y[i] != y[j])[:n]
    weight = rng.uniform(0.35, 0.65, (len(unlike), 1, 1, 1)).astype(x.dtype)
    blends = weight * x[i[unlike]] + (1 - weight) * x[j[unlike]]
    # Blocks as large as the image: flat pictures of its mean.
    shuffled = [_shuffled(x[rng.integers(len(x), size=n)], block, rng) for block in (1, 2, SIDE)]
    return np.concatenate([blends, *shuffled])


def _shuffled(x: np.ndarray, block: int, rng: np.random.Generator) -> np.ndarray:
    """Each image's blocks of `block` pixels a side in random order, smoothed where they are larger than a pixel."""
    n, h, w, c = x.shape
    small = F.interpolate(
        torch.from_numpy(x).movedim(-1, 1), size=(max(h // block, 1), max(w // block, 1)), mode="area"
    )
    flat = small.movedim(1, -1).reshape(n, -1, c).numpy()
    mixed = np.stack([image[rng.permutation(flat.shape[1])] for image in flat]).reshape(n, *small.shape[-2:], c)
    return F.interpolate(torch.from_numpy(mixed).movedim(-1, 1), size=(h, w), mode="bilinear").movedim(1, -1).numpy()


def _calibration_error(p: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """The expected calibration error: |confidence - accuracy|, averaged over equal bins of confidence (Guo et al.,
    2017, arXiv:1706.04599, equation 3)."""
    confidence, right = p.max(1), p.argmax(1) == truth
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[bin_of == b].sum() - right[bin_of == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(p))
