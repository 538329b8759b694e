"""UNIT, table 1 b: the shared latent space and the cycle, alone and together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import fmean

from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.domains import bold, both_ways, translated
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run
from ganvas.methods import UNIT
from ganvas.nets import unit as nets

TOLERANCE = 2 * 16 / 255  # the paper's 16 gray levels, in units of [-1, 1]
ARMS: dict[str, dict[str, float]] = {
    "both": {},
    "sharing": {"cycle_weight": 0.0, "cycle_kl_weight": 0.0},
    "cycle": {"shared": 0},
    "neither": {"shared": 0, "cycle_weight": 0.0, "cycle_kl_weight": 0.0},
}


def run(**arm: float) -> Run:
    """UNIT at an eighth of its width, with a discriminator of one scale."""
    adam = partial(Adam, lr=1e-3, betas=(0.5, 0.999))
    return Run(
        method=partial(
            UNIT,
            E=partial(nets.Encoders, width=8, blocks=2),
            G=partial(nets.Decoders, blocks=2),
            D=partial(nets.MultiscaleDiscriminator, width=16, layers=2, scales=1),
            **{"shared": 2, **arm},
        ),
        data=lambda: bold().feed,
        optim={"G": adam, "D": adam},
        batch=8,
        images=1500 * 8,
    )


def accuracy(output: Tensor, truth: Tensor, source: Tensor) -> float:
    """Share of pixels within `TOLERANCE` of the truth, of those that have to change.

    output, truth, source: [N, C, H, W] in [-1, 1]. A pixel has to change if the input
    is not within the tolerance of the truth, so that the identity has 0.
    """
    change = (source - truth).abs() > TOLERANCE
    return float(((output - truth).abs() <= TOLERANCE)[change].float().mean())


def measure(trained: Trained) -> dict[str, float]:
    """Accuracy and matched pairs, means of both directions."""
    domains = bold()
    made = translated(trained, domains)
    ways = (made["b"], domains.b, domains.a), (made["a"], domains.a, domains.b)
    return {
        "accuracy": fmean(accuracy(*way) for way in ways),
        "matched": both_ways(trained, domains)["matched"],
    }


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The figures of all arms, and the gain of both ties over the better one alone."""
    found = {f"{arm}_{name}": v for arm, scores in arms.items() for name, v in scores.items()}
    others = max(arms[alone]["accuracy"] for alone in ("sharing", "cycle", "neither"))
    return found | {"gain": arms["both"]["accuracy"] - others}


NAMES = {"both": "both", "sharing": "sharing alone", "cycle": "cycle alone", "neither": "neither"}
CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={name: run(**arm) for name, arm in ARMS.items()},
        controls=["sharing", "cycle", "neither"],
        measure=measure,
        figures=figures,
    ),
    plot=plots.bars(
        {f"{arm}_accuracy": name for arm, name in NAMES.items()},
        {f"{arm}_matched": name for arm, name in NAMES.items()},
        labels=("accuracy of changed pixels", "pairs matched"),
    ),
    ready=bold,
)
