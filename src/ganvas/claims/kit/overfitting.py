"""Readings of runs on few images: quality, and how far the discriminator overfits."""

from __future__ import annotations

import torch

from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Figures, Trained
from ganvas.data import Feed
from ganvas.engine.engine import Engine

LABELS = ("Fréchet distance from unseen letters", "AUC, trained against unseen letters")


@torch.no_grad()
def read(engine: Engine, feeds: tuple[Feed, Feed], quality: Quality, count: int) -> Figures:
    """The Fréchet distance, and the AUC of D's scores of training images.

    feeds: images that are trained on, and others of the same kind, which D scores lower
        if it overfits
    quality: measures the distance
    count: images of each whose scores are compared
    """
    D = engine.method.eval().get_submodule("D")
    scores = [D.forward(feed.fixed(count).x) for feed in feeds]
    seen, unseen = (s.reshape(len(s), -1).mean(1) for s in scores)
    return {
        "frechet": quality(engine.model()),
        "overfitting": float((seen[:, None] > unseen).float().mean()),
    }


def series(trained: Trained) -> dict[str, object]:
    """The readings of a run, in order."""
    return {name: trained.curve(name) for name in ("images", "frechet", "overfitting")}
