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

from ganvas.claims.claim import Claim, Finding
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


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    """Rows of held-out digits: input, truth, and what each arm made of the input, for the first seed."""
    series = seeds[0]["series"]
    rows = ("input", "truth", *ARMS)
    for axes, name in zip(figure.subplots(len(rows), 1), rows, strict=True):
        axes.imshow(np.concatenate(series[name], axis=1), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        matched = [s["figures"][f"{name}_matched"] for s in seeds if name in ARMS]
        scores = ", matched: " + ", ".join(f"{m:.0%}" for m in matched) if matched else ""
        axes.set_title(name + scores, loc="left", fontsize="small")


CLAIM = Claim(
    name="shared-latent-translates",
    paper="Liu, Breuel and Kautz, 2017, Unsupervised Image-to-Image Translation Networks, arXiv:1703.00848",
    section="section 4, the ablation",
    sentence="Layers that both domains share next to the latent, like the cycle, tie a translation to its input, and both "
    "together do it best.",
    experiment=experiment,
    experiment_in_words="Digits (scikit-learn's 1,797) at 16 px into negatives: 800 digits on one side, the negatives of 800 "
    "others on the other, so that no pair exists; 197 held out, whose true translation is known.",
    checks=(),
    paper_figures={},
    plot=plot,
    minutes=8,
)
