"""pix2pix, figure 7: L1 leaves colors gray, a discriminator does not."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from ganvas.claims.claim import claim
from ganvas.claims.kit import facades, plots
from ganvas.claims.kit.pix2pix_arms import SIDE, generated, run
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.nets.patchgan import PixelDiscriminator


def measure(trained: Trained) -> dict[str, float]:
    """Agreement of the histograms of L, a and b with those of the photographs."""
    _, photos, made = generated(trained)
    return facades.color_agreement(made, photos)


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The agreements of all arms, and what discriminators gain over L1 alone.

    `gain` is the least of the three: noise of an untrained network may agree in one.
    """
    found = {f"{arm}_{name}": v for arm, scores in arms.items() for name, v in scores.items()}
    return found | {
        "gain": min(arms["both"][name] - arms["l1"][name] for name in "Lab"),
        "pixel_gain": fmean(arms["pixel"].values()) - fmean(arms["l1"].values()),
    }


ARMS = {"l1": "L1", "pixel": "L1 and\n1 px cGAN", "both": "L1 and\n16 px cGAN"}
CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"both": run(), "pixel": run(PixelDiscriminator), "l1": run(gan=0.0)},
        controls=["l1"],
        measure=measure,
        figures=figures,
    ),
    plot=plots.bars(
        *({f"{arm}_{name}": label for arm, label in ARMS.items()} for name in "Lab"),
        labels=[f"histogram agreement, {name}" for name in "Lab"],
    ),
    ready=lambda: facades.test_pairs(SIDE),
)
