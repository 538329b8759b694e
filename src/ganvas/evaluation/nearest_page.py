"""Pages of samples beside their nearest real images."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ganvas.core.files import require_outside, require_writable
from ganvas.data.pictures import Part
from ganvas.evaluation.real_features import RealFeatures, extractor_named
from ganvas.inference.load import load
from ganvas.inference.model import Model
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
    require_outside(out, against)
    require_writable(out)
    model = load(run, checkpoint=checkpoint, device=device)
    labels = None if label is None else [model.class_number(label)] * n
    made = model.sample(n, seed=seed, labels=labels, truncation=truncation, output="torch")
    page = nearest_page(model, run, against, made, features=features, weights=weights, part=part)
    facts = {**model.facts, "kind": "nearest real images", "seed": seed, "features": features}
    encode.save(page, out, composite=True, **facts)


def nearest_page(
    model: Model,
    run: Path,
    against: str,
    samples: Tensor,
    *,
    features: str = "random-conv-v1",
    weights: Path | None = None,
    part: Part = "train",
) -> Image.Image:
    """Samples [n, C, H, W] in [-1, 1], each beside its nearest real images."""
    real = RealFeatures(model, run, against, part, extractor_named(features, weights, None))
    return real.neighbors(samples, real.features("x"))
