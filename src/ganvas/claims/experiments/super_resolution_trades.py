"""SRGAN, tables 1 and 2: a discriminator trades PSNR for appearance."""

from __future__ import annotations

from collections.abc import Mapping

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit import super_resolution as kit
from ganvas.claims.kit.training import Comparison, Figures, Trained


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The scores of both arms and of bicubic enlargement, and their differences."""
    found = {f"{arm}_{name}": v for arm, scores in arms.items() for name, v in scores.items()}
    found |= {f"bicubic_{name}": v for name, v in kit.by_bicubic().items()}
    return found | {
        "psnr_gain": found["srresnet_psnr"] - found["bicubic_psnr"],
        "psnr_given_up": found["srresnet_psnr"] - found["srgan_psnr"],
        "lpips_gained": found["srresnet_lpips"] - found["srgan_lpips"],
    }


def series(trained: Trained) -> dict[str, object]:
    """Parts of an image, gray: enlarged and true."""
    name, part = "butterfly", (..., slice(80, 124), slice(100, 144))
    made, (_, truth) = kit.enlarged(trained, kit.set5())[name], kit.set5()[name]
    return {
        k: plots.pixels(x.mean(1, True)[part]) for k, x in {"made": made, "truth": truth}.items()
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "srgan": [kit.run(features=False, adversarial_weight=w / 4) for w in kit.WEIGHTS],
            "srresnet": kit.run(features=False, adversarial_weight=0.0),
        },
        controls=["srresnet"],
        measure=kit.measure,
        figures=figures,
        series=series,
        rank=lambda scores: scores["training_lpips"],
    ),
    plot=plots.bars(
        {"bicubic_psnr": "bicubic", "srresnet_psnr": "SRResNet", "srgan_psnr": "SRGAN"},
        {"bicubic_lpips": "bicubic", "srresnet_lpips": "SRResNet", "srgan_lpips": "SRGAN"},
        labels=("PSNR of luma, dB", "LPIPS, lower is more alike"),
    ),
    ready=kit.ready,
)
