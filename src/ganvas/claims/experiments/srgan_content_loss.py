"""SRGAN, table 1: content in VGG19's features, with and without a discriminator."""

from __future__ import annotations

from collections.abc import Mapping

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit import super_resolution as kit
from ganvas.claims.kit.training import Comparison, Figures


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The scores of both arms and of bicubic enlargement, and their differences."""
    found = {f"{arm}_{name}": v for arm, scores in arms.items() for name, v in scores.items()}
    found |= {f"bicubic_{name}": v for name, v in kit.by_bicubic().items()}
    return found | {
        "psnr_gain": found["srgan_psnr"] - found["bicubic_psnr"],
        "lpips_gained": found["srresnet_lpips"] - found["srgan_lpips"],
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "srgan": [kit.run(features=True, adversarial_weight=w) for w in kit.WEIGHTS],
            "srresnet": kit.run(features=True, adversarial_weight=0.0),
        },
        controls=["srresnet"],
        measure=kit.measure,
        figures=figures,
        rank=lambda scores: scores["training_lpips"],
    ),
    plot=plots.bars(
        {"bicubic_psnr": "bicubic", "srresnet_psnr": "SRResNet-VGG22", "srgan_psnr": "SRGAN-VGG22"},
        {
            "bicubic_lpips": "bicubic",
            "srresnet_lpips": "SRResNet-VGG22",
            "srgan_lpips": "SRGAN-VGG22",
        },
        labels=("PSNR of luma, dB", "LPIPS, lower is more alike"),
    ),
    ready=lambda: kit.ready(features=True),
)
