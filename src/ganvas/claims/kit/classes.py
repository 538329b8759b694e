"""Samples of each class, and how those of a class differ."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.claims.kit.training import Trained
from ganvas.core import rng


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
