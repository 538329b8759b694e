"""Pages of samples beside their nearest real images."""

from __future__ import annotations

from pathlib import Path

import torch

from ganvas.data.pictures import Part
from ganvas.evaluation.real_features import RealFeatures, extractor_named
from ganvas.inference.load import load
from ganvas.media import encode


@torch.no_grad()
def neighbours(
    run: Path,
    against: str,
    out: Path,
    *,
    n: int = 8,
    features: str = "random-conv-v1",
    weights: Path | None = None,
    part: Part = "train",
    seed: int = 0,
    label: str | None = None,
    truncation: float | None = None,
    checkpoint: str = "last",
    device: str = "cpu",
) -> None:
    """Write a page of samples, each beside its nearest real images over `features`."""
    model = load(run, checkpoint=checkpoint, device=device)
    labels = None if label is None else [model.class_number(label)] * n
    made = model.sample(n, seed=seed, labels=labels, truncation=truncation, output="torch")
    real = RealFeatures(model, run, against, part, extractor_named(features, weights, None))
    page = real.neighbors(made, real.features("x"))
    facts = {**model.facts, "kind": "nearest real images", "seed": seed, "features": features}
    encode.save(page, out, composite=True, **facts)
