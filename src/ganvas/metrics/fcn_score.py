"""FCN score: does a segmenter find a label map in the image generated from it?

The segmenter was trained on photographs. Isola et al., 2016 (pix2pix),
arXiv:1611.07004, section 4.1, with the figures of Long et al., 2015 (FCN),
arXiv:1411.4038, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas.core.errors import UserError

IGNORED = 255  # the label of pixels that do not count, as Cityscapes has it


class Segmentation(NamedTuple):
    """`pixel_accuracy`: the share of pixels that have the right class.

    class_accuracy: the same within each class, averaged over the classes that occur.
    mean_iou: right pixels of a class over those that have it or are given it,
    averaged likewise. `class_iou`: that of every class, NaN for those that do not
    occur.
    """

    pixel_accuracy: float
    class_accuracy: float
    mean_iou: float
    class_iou: tuple[float, ...]


def confusion(truth: Tensor, predicted: Tensor, classes: int, ignored: int = IGNORED) -> Tensor:
    """Confusion matrix [classes, classes] (int64): pixels of class i predicted as j.

    truth and predicted: integers of one shape; pixels whose truth is `ignored` do not
    count. Raises `UserError` for other labels outside 0..classes-1.
    """
    if truth.shape != predicted.shape or truth.is_floating_point() or predicted.is_floating_point():
        raise UserError(
            f"label maps are integers of one shape; got {truth.dtype} {list(truth.shape)} and "
            f"{predicted.dtype} "
            f"{list(predicted.shape)}"
        )
    t, p = truth.flatten().cpu().long(), predicted.flatten().cpu().long()
    counted = t != ignored
    t, p = t[counted], p[counted]
    for what, labels in (("the truth", t), ("the segmenter", p)):
        if len(labels) and (labels.min() < 0 or labels.max() >= classes):
            raise UserError(
                f"{what} has labels from {int(labels.min())} to {int(labels.max())}; expected 0 "
                f"to {classes - 1}, or "
                f"{ignored} for pixels of the truth that do not count"
            )
    return torch.bincount(t * classes + p, minlength=classes**2).view(classes, classes)


def segmentation(counts: Tensor) -> Segmentation:
    """The figures of a confusion matrix [classes, classes] (rows: truth)."""
    n = counts.double()
    right, have, given = n.diagonal(), n.sum(1), n.sum(0)
    occurs = have > 0
    if not bool(occurs.any()):
        raise UserError("no pixel of these label maps counts, so there is nothing to score")
    iou = right / (have + given - right)
    return Segmentation(
        pixel_accuracy=float(right.sum() / n.sum()),
        class_accuracy=float((right / have)[occurs].mean()),
        mean_iou=float(iou[occurs].mean()),
        class_iou=tuple(torch.where(occurs, iou, torch.nan).tolist()),
    )


@torch.no_grad()
def fcn_score(
    pictures: Iterable[Tensor],
    truth: Iterable[Tensor],
    segmenter: Callable[[Tensor], Tensor],
    classes: int,
    ignored: int = IGNORED,
) -> Segmentation:
    """FCN score of generated images, batch by batch.

    pictures: [N, C, H, W] in [-1, 1], generated from the label maps `truth` [N, H, W]
    (integers). `segmenter`: pictures -> scores [N, classes, H, W], or labels [N, H, W].
    Of one segmenter, figures compare; real pictures give the figure that can be
    reached.
    """
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    for x, labels in zip(pictures, truth, strict=True):
        found = segmenter(x)
        if found.ndim == 4:
            if found.shape[1] != classes:
                raise UserError(
                    f"this segmenter scores {found.shape[1]} classes; expected {classes}"
                )
            found = found.argmax(1)
        counts += confusion(labels, found, classes, ignored)
    return segmentation(counts)
