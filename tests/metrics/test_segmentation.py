"""The FCN score: closed forms, an independent implementation, and mistakes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score, recall_score

from ganvas.core.errors import UserError
from ganvas.metrics.fcn_score import confusion, fcn_score, segmentation


def test_closed_form() -> None:
    truth = torch.tensor([[0, 0, 0, 1], [1, 2, 2, 255]])
    predicted = torch.tensor([[0, 0, 1, 1], [2, 2, 3, 0]])
    counts = confusion(truth, predicted, 4)
    assert counts.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]]
    score = segmentation(counts)
    assert score.pixel_accuracy == pytest.approx(4 / 7)
    assert score.class_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1 / 2) / 3)
    assert score.mean_iou == pytest.approx((2 / 3 + 1 / 3 + 1 / 3) / 3)
    assert score.class_iou[:3] == pytest.approx((2 / 3, 1 / 3, 1 / 3))
    assert math.isnan(score.class_iou[3])


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    t, p = rng.integers(0, 5, (2, 3, 40, 30))
    p = np.where(rng.random(t.shape) < 0.6, t, p)
    counts = confusion(torch.from_numpy(t), torch.from_numpy(p), 5)
    assert np.array_equal(counts.numpy(), confusion_matrix(t.ravel(), p.ravel()))
    score = segmentation(counts)
    assert score.class_accuracy == pytest.approx(
        recall_score(t.ravel(), p.ravel(), average="macro")
    )
    assert score.mean_iou == pytest.approx(jaccard_score(t.ravel(), p.ravel(), average="macro"))


def test_a_segmenter_over_batches() -> None:
    """Images whose gray value is their label, as the segmenter returns it."""
    truth = torch.randint(0, 3, (6, 5, 7), generator=torch.Generator().manual_seed(0))
    pictures = (truth[:, None] - 1).float().expand(-1, 3, -1, -1)

    def scores(x: torch.Tensor) -> torch.Tensor:
        return -(x[:, :1] - torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1)).abs()

    perfect = fcn_score(pictures.split(4), truth.split(4), scores, 3)
    assert perfect[:3] == (1, 1, 1)
    labels = fcn_score(pictures.split(2), truth.split(2), lambda x: (x[:, 0] + 1).long(), 3)
    assert labels == perfect
    flat = fcn_score([torch.zeros(6, 3, 5, 7)], [truth], scores, 3)
    share = float((truth == 1).float().mean())
    assert flat.pixel_accuracy == pytest.approx(share)
    assert flat.class_accuracy == pytest.approx(1 / 3)
    assert flat.mean_iou == pytest.approx(share / 3)


def test_mistakes() -> None:
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    with pytest.raises(UserError, match="of one shape"):
        confusion(labels, labels[:, :1], 2)
    with pytest.raises(UserError, match="integers"):
        confusion(labels.float(), labels, 2)
    with pytest.raises(UserError, match="the segmenter has labels from 2 to 2"):
        confusion(labels, labels + 2, 2)
    with pytest.raises(UserError, match="the truth has labels"):
        confusion(labels - 1, labels, 2)
    with pytest.raises(UserError, match="nothing to score"):
        segmentation(confusion(labels + 255, labels, 2))
    with pytest.raises(UserError, match="scores 5 classes"):
        fcn_score([torch.zeros(1, 3, 2, 2)], [labels], lambda x: torch.zeros(1, 5, 2, 2), 2)
