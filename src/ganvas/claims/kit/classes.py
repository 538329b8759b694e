"""Samples of each class, how those of a class differ, and a classifier of digits."""

from __future__ import annotations

from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.claims.kit.training import Trained
from ganvas.core import rng
from ganvas.data import images
from ganvas.metrics.recognizability import RecognitionClassifier


@torch.no_grad()
def samples_of_classes(trained: Trained, each: int, classes: int = 10) -> tuple[Tensor, Tensor]:
    """Labels [N], `each` of every class in order, and samples [N, C, H, W] of them.

    A model without classes is not told the labels: its samples are a control.
    """
    asked = torch.arange(classes).repeat_interleave(each)
    model: Any = trained.model
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        told = getattr(model, "classes", 0) > 0
        parts = [model.sample(len(y), y=y if told else None) for y in asked.split(each)]
    return asked, torch.cat(parts)


def confusion(asked: Tensor, said: Tensor, columns: int) -> list[list[int]]:
    """Counts, a row for each label asked for, a column for each label that was seen."""
    table = np.zeros((int(asked.max()) + 1, columns), int)
    np.add.at(table, (asked.numpy(), said.numpy()), 1)
    return table.tolist()


def spread(x: Tensor, y: Tensor) -> float:
    """The standard deviation of a pixel within a class, mean over pixels and classes.

    x: images [N, C, H, W]
    y: their classes [N]
    """
    return fmean(float(x[y == c].std(0).mean()) for c in y.unique())


def as_bytes(x: Tensor) -> np.ndarray:
    """[N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C]."""
    return ((x + 1) * 127.5).round().clamp(0, 255).byte().movedim(1, -1).numpy()


@cache
def judge_of_digits(seed: int) -> RecognitionClassifier:
    """A classifier of digits at 16 px, trained on half of scikit-learn's."""
    feed = images("digits", size=16)
    real = feed.fixed(feed.info.count)
    return RecognitionClassifier(as_bytes(real.x), real.y.numpy(), seed=seed)


def digits_seen(x: Tensor, seed: int) -> Tensor:
    """The digits [N] that the classifier sees in images x [N, 1, H, W]; 10: none."""
    return torch.from_numpy(judge_of_digits(seed).probabilities(as_bytes(x)).argmax(1))
