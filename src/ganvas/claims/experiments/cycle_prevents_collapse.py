"""CycleGAN, sections 3.2 and 5.1.4: without the cycle, many inputs give one output."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.domains import both_ways, negatives, translated
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run
from ganvas.methods import CycleGAN
from ganvas.nets import image_to_image, patchgan

RATES = (1e-3, 3e-4, 2e-3)


def run(cycle_weight: float, rate: float = RATES[0]) -> Run:
    """CycleGAN with small networks and without the identity loss."""
    adam = partial(Adam, lr=rate, betas=(0.5, 0.999))
    return Run(
        method=partial(
            CycleGAN,
            G=partial(image_to_image.ResNetGenerator, width=8, blocks=2),
            D=partial(patchgan.PatchDiscriminator, width=16, layers=2),
            cycle_weight=cycle_weight,
            identity_weight=0.0,
        ),
        data=lambda: negatives().feed,
        optim={"G": adam, "D": adam},
        batch=16,
        images=400 * 16,
    )


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The scores of both arms, and how many more outputs differ with the cycle."""
    found = {f"{arm}_{name}": v for arm, scores in arms.items() for name, v in scores.items()}
    gain = arms["cycle"]["distinct"] - arms["no_cycle"]["distinct"]
    return found | {"distinct_gain": gain}


def series(trained: Trained) -> dict[str, object]:
    """The first held-out digits and their translations."""
    made = translated(trained, negatives())["b"]
    return {"input": plots.pixels(negatives().a), "images": plots.pixels(made)}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"cycle": run(10.0), "no_cycle": [run(0.0, rate) for rate in RATES]},
        controls=["no_cycle"],
        measure=lambda trained: both_ways(trained, negatives()),
        figures=figures,
        series=series,
        rank=lambda scores: -scores["matched"],
    ),
    plot=plots.pictures(
        {
            "input": lambda s: s["cycle"]["input"],
            "with the cycle: matched": lambda s: s["cycle"]["images"],
            "without the cycle: matched": lambda s: s["no_cycle"]["images"],
        },
        {
            "with the cycle: matched": "cycle_matched",
            "without the cycle: matched": "no_cycle_matched",
        },
    ),
    ready=negatives,
)
