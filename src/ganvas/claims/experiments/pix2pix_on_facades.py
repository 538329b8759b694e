"""pix2pix, tables 1 and 2: L1 blurs, a cGAN does not, and skips help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganvas.claims.claim import claim
from ganvas.claims.kit import facades, plots
from ganvas.claims.kit.pix2pix_arms import SIDE, generated, run
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.metrics.fcn_score import confusion, segmentation

CROP = slice(10, 54)  # what the record shows of an image


@torch.no_grad()
def read(labels: Tensor, photos: Tensor) -> dict[str, float]:
    """Pixel accuracy and mean intersection over union of what the segmenter reads."""
    classes = facades.segmenter(SIDE)(photos).argmax(1)
    found = segmentation(confusion(facades.classes(labels), classes, len(facades.PALETTE)))
    return {"accuracy": found.pixel_accuracy, "iou": found.mean_iou}


def measure(trained: Trained) -> dict[str, float]:
    """Fine energy over that of photographs, and what the segmenter reads."""
    labels, photos, output = generated(trained)
    fine = facades.energy(output) / facades.energy(photos)
    return {"fine": fine, **read(labels, output)}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The figures of all arms, and the leads of L1 and cGAN together."""
    found = {f"{arm}_{name}": v for arm, scores in arms.items() for name, v in scores.items()}
    both = arms["both"]
    found["sharper"] = both["fine"] / arms["l1"]["fine"]
    others = max(arms[arm]["accuracy"] for arm in ("l1", "cgan", "no_skips"))
    found["accuracy_lead"] = both["accuracy"] - others
    photos = read(*facades.test_pairs(SIDE))
    return found | {f"photos_{name}": value for name, value in photos.items()}


def series(trained: Trained) -> dict[str, object]:
    """Gray middles of test images: labels, photographs and generated photographs."""
    rows = zip(("labels", "truth", "made"), generated(trained), strict=True)
    gray = {name: x[:12, :, CROP, CROP].mean(1, keepdim=True) for name, x in rows}
    return {name: plots.pixels(x) for name, x in gray.items()}


def _row(arm: str, name: str = "made") -> Any:
    return lambda series: series[arm][name]


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "both": run(),
            "l1": run(gan=0.0),
            "cgan": run(l1=0.0),
            "no_skips": run(skip=False),
        },
        controls=["l1"],
        measure=measure,
        figures=figures,
        series=series,
    ),
    plot=plots.pictures(
        {
            "labels": _row("both", "labels"),
            "photographs": _row("both", "truth"),
            "L1 and cGAN; pixels read correctly": _row("both"),
            "L1; pixels read correctly": _row("l1"),
            "cGAN; pixels read correctly": _row("cgan"),
            "no skips; pixels read correctly": _row("no_skips"),
        },
        {
            "L1 and cGAN; pixels read correctly": "both_accuracy",
            "L1; pixels read correctly": "l1_accuracy",
            "cGAN; pixels read correctly": "cgan_accuracy",
            "no skips; pixels read correctly": "no_skips_accuracy",
        },
    ),
    ready=lambda: facades.test_pairs(SIDE),
)
