"""UNIT, table 1 and figure 3: shared layers next to the latent do what the cycle does, and both together do it best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch.optim import Adam

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.claims.cycle_prevents_collapse import TranslationScores, digits_and_negatives, small, translation_scores
from ganvas.core import Run
from ganvas.engine.engine import Engine
from ganvas.methods import UNIT
from ganvas.nets import unit as nets

ARMS: dict[str, dict[str, Any]] = {
    "both": {},
    "sharing": {"cycle_weight": 0.0, "cycle_kl_weight": 0.0},
    "cycle": {"shared": 0},
    "neither": {"shared": 0, "cycle_weight": 0.0, "cycle_kl_weight": 0.0},
}


def _run(**arm: Any) -> Run:
    adam = partial(Adam, lr=1e-3, betas=(0.5, 0.999))
    return Run(
        method=partial(
            UNIT,
            E=partial(nets.Encoders, width=8, blocks=2),
            G=partial(nets.Decoders, blocks=2),
            D=partial(nets.MultiscaleDiscriminator, width=16, layers=2, scales=2),
            **arm,
        ),
        data=lambda: digits_and_negatives().feed,
        optim={"G": adam, "D": adam},
        batch=8,
        images=400 * 8,
    )


def experiment(seed: int) -> Finding:
    digits = digits_and_negatives()
    figures: dict[str, float] = {}
    series: dict[str, Any] = {"input": small(digits.a), "truth": small(digits.b)}
    for name, arm in ARMS.items():
        run = replace(_run(**arm), seed=seed)
        engine = Engine(run, digits.feed)
        while engine.clock.images < run.images:
            engine.step()
        model: Any = engine.model()
        with torch.no_grad():
            to_b, to_a = model.translate(digits.a, to="b"), model.translate(digits.b, to="a")
            back = model.translate(to_b, to="a")
        both = [translation_scores(to_b, digits.b), translation_scores(to_a, digits.a)]
        for figure in TranslationScores._fields:
            figures[f"{name}_{figure}"] = fmean(getattr(scores, figure) for scores in both)
        figures[f"{name}_returns"] = translation_scores(back, digits.a).matched
        series[name] = small(to_b)
    return Finding(figures, series)
