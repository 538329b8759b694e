"""UNIT, the ablation of section 4: shared layers next to the latent and the cycle, each alone and both together."""

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
from ganvas.claims.kit.unpaired_digits import (
    TranslationScores,
    digits_and_negatives,
    gray_levels,
    translation_scores,
)
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
    adam = partial(Adam, lr=2e-3, betas=(0.5, 0.999))
    return Run(
        method=partial(
            UNIT,
            E=partial(nets.Encoders, width=8, blocks=2),
            G=partial(nets.Decoders, blocks=2),
            D=partial(nets.MultiscaleDiscriminator, width=16, layers=2, scales=2),
            **{"shared": 2, **arm},
        ),
        data=lambda: digits_and_negatives().feed,
        optim={"G": adam, "D": adam},
        batch=8,
        images=500 * 8,
    )


def experiment(seed: int) -> Finding:
    digits = digits_and_negatives()
    figures: dict[str, float] = {}
    series: dict[str, Any] = {"input": gray_levels(digits.a), "truth": gray_levels(digits.b)}
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
        series[name] = gray_levels(to_b)
    for alone in ("sharing", "cycle"):
        figures[f"gain_over_{alone}"] = figures["both_matched"] - figures[f"{alone}_matched"]
    figures["gain_of_sharing"] = figures["sharing_matched"] - figures["neither_matched"]
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


SEEN = "one exploratory run, with a seed that is not among those reported, had been seen when the bound was set: "

CLAIM = Claim(
    name="shared-latent-translates",
    paper="Liu, Breuel and Kautz, 2017, Unsupervised Image-to-Image Translation Networks, arXiv:1703.00848",
    section="section 4, the ablation",
    sentence="An encoder and a decoder for each domain translate without pairs, there and back. Shared layers next to the "
    "latent and cycle consistency together do it better than either alone.",
    experiment=experiment,
    experiment_in_words="Digits (scikit-learn's 1,797) at 16 px into negatives: 800 digits on one side, the negatives of 800 "
    "others on the other, so that no pair exists; 197 held out, whose true translation is known. UNIT with the paper's weights "
    "and small networks (width 8, two residual blocks in each encoder and decoder, both of which are shared or none; a "
    "discriminator of two scales, width 16), 500 steps of 8, Adam 2e-3: with both ties, with each alone, with neither. "
    "Matched, distinct and spread are means of both directions over the held-out digits. Not the paper's: it translates maps "
    "and measures by pixels. Tried, with a seed that is not among those reported: at a rate of 1e-3 little was matched after "
    "200 steps; at 2e-3, after 400, 0.91 with both ties and one shared block, 0.26 with neither, by sharing alone 0.12 with "
    "one block and 0.33 with two, so that two are shared here.",
    checks=(
        Check("both_matched", ">=", 0.8, SEEN + "0.91 with one shared block. Chance is 1 in 197"),
        Check("both_returns", ">=", 0.6, SEEN + "0.78 with one shared block. Chance is 1 in 197"),
        Check(
            "gain_over_sharing",
            ">=",
            0.2,
            SEEN + "about 0.6. A gain within what seeds differ by would show nothing",
        ),
        Check(
            "gain_over_cycle",
            ">=",
            0.0,
            "the paper sees 0.60 against 0.57; nothing had been seen here, and the mean is judged as its tables are",
            over="mean",
        ),
    ),
    figures_in_words={
        "both_matched": "share of outputs whose nearest true translation is their own input's, with both ties",
        "both_returns": "share of digits that, translated there and back, are nearest to themselves",
        "gain_over_sharing": "matched with both ties, less with shared layers alone",
        "gain_over_cycle": "matched with both ties, less with the cycle alone",
        "gain_of_sharing": "matched with shared layers alone, less with neither",
    },
    paper_figures={
        "maps": "translation accuracy: sharing alone 0.569, the cycle alone 0.568, both 0.600 (quoted from memory)",
    },
    plot=plot,
    minutes=6,
)
