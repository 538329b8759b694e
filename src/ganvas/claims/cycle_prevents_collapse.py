"""CycleGAN, sections 3.2 and 5.1.4: without the cycle, many inputs give the same output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.core import Run, Translates
from ganvas.data import images
from ganvas.data.feed import Feed, Info
from ganvas.engine.engine import Engine
from ganvas.methods import CycleGAN
from ganvas.nets import patch, translate

SIDE = 16  # pixels
TRAINING = 800  # digits on either side; the other 197 are the test
SHOWN = 12  # test images of the plot


class Digits(NamedTuple):
    """Digits and negatives. Of no digit that is trained on are both there. `a` [N, 1, H, W] in [-1, 1] were held out,
    and the true translation of the i-th is the i-th of `b`."""

    feed: Feed
    a: Tensor
    b: Tensor


def digits_and_negatives() -> Digits:
    """The same split for every seed."""
    everything = images("digits", size=SIDE)
    pixels = everything.raw()["x"]
    pixels = pixels[np.random.default_rng(0).permutation(len(pixels))]
    sides = {"a": pixels[:TRAINING], "b": 255 - pixels[TRAINING : 2 * TRAINING]}
    info = Info(
        task="domains",
        source="digits and negatives of other digits",
        layout="two arrays",
        part="train",
        channels=1,
        height=SIDE,
        width=SIDE,
        count=TRAINING,
        fingerprint=everything.info.fingerprint,
        counts={k: len(p) for k, p in sides.items()},
    )
    held_out = pixels[2 * TRAINING :]
    a, b = (torch.from_numpy(p).movedim(-1, 1).float() / 127.5 - 1 for p in (held_out, 255 - held_out))
    return Digits(Feed(info, sides), a, b)


def _run(cycle_weight: float) -> Run:
    adam = partial(Adam, lr=1e-3, betas=(0.5, 0.999))
    return Run(
        method=partial(
            CycleGAN,
            G=partial(translate.ResNetGenerator, width=8, blocks=2),
            D=partial(patch.PatchDiscriminator, width=16, layers=2),
            cycle_weight=cycle_weight,
            identity_weight=0.0,
        ),
        data=lambda: digits_and_negatives().feed,
        optim={"G": adam, "D": adam},
        batch=16,
        images=400 * 16,
    )


def experiment(seed: int) -> Finding:
    digits = digits_and_negatives()
    figures: dict[str, float] = {}
    series: dict[str, Any] = {"input": small(digits.a), "truth": small(digits.b)}
    for name, cycle_weight in {"with_cycle": 10.0, "without_cycle": 0.0}.items():
        run = replace(_run(cycle_weight), seed=seed)
        engine = Engine(run, digits.feed)
        while engine.clock.images < run.images:
            engine.step()
        model: Any = engine.model()
        assert isinstance(model, Translates)
        with torch.no_grad():
            to_b, to_a = model.translate(digits.a, to="b"), model.translate(digits.b, to="a")
        both = [translation_scores(to_b, digits.b), translation_scores(to_a, digits.a)]
        for figure in TranslationScores._fields:
            figures[f"{name}_{figure}"] = fmean(getattr(scores, figure) for scores in both)
        series[name] = small(to_b)
    return Finding(figures, series)


class TranslationScores(NamedTuple):
    """`matched`: the share of outputs whose nearest true translation (of all test images) is their own input's. `distinct`:
    how many different true translations are some output's nearest, as a share. `spread`: the mean distance between two
    outputs over that between two true translations. All 1 for the true translation; all but 0 where every input gives one
    output (1/N, 1/N and 0)."""

    matched: float
    distinct: float
    spread: float


def translation_scores(output: Tensor, truth: Tensor) -> TranslationScores:
    """`output`, `truth`: [N, C, H, W], the i-th of both from one input. Distances are Euclidean, over pixels."""
    out, true = output.flatten(1).double(), truth.flatten(1).double()
    nearest = torch.cdist(out, true).argmin(1)
    return TranslationScores(
        matched=float((nearest == torch.arange(len(true))).double().mean()),
        distinct=len(nearest.unique()) / len(true),
        spread=float(torch.pdist(out).mean() / torch.pdist(true).mean()),
    )


def small(x: Tensor) -> list[Any]:
    """The first images [N, 1, H, W] as lists of gray values 0 to 255."""
    return ((x[:SHOWN, 0].clamp(-1, 1) + 1) * 127.5).round().int().tolist()


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    """Rows of held-out digits: input, truth, and both translations, for the first seed."""
    series = seeds[0]["series"]
    rows = ("input", "truth", "with_cycle", "without_cycle")
    for axes, name in zip(figure.subplots(len(rows), 1), rows, strict=True):
        axes.imshow(np.concatenate(series[name], axis=1), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        matched = [s["figures"].get(f"{name}_matched") for s in seeds]
        scores = "" if None in matched else ", matched: " + ", ".join(f"{m:.0%}" for m in matched)
        axes.set_title(name.replace("_", " ") + scores, loc="left", fontsize="medium")


SEEN = "one exploratory run, with a seed that is not among those reported, had been seen when the bound was set: "

CLAIM = Claim(
    name="cycle-prevents-collapse",
    paper="Zhu, Park, Isola and Efros, 2017, CycleGAN, arXiv:1703.10593",
    section="sections 3.2 and 5.1.4, tables 4 and 5, figure 7",
    sentence="With unpaired images the adversarial losses alone leave the translation undetermined, and training collapses: "
    "many inputs give one output. Cycle consistency ties each output to its input.",
    experiment=experiment,
    experiment_in_words="Digits (scikit-learn's 1,797) at 16 px into negatives: 800 digits on one side, the negatives of 800 "
    "others on the other, so that no pair exists; 197 held out, whose true translation is known. CycleGAN with a small ResNet "
    "(width 8, 2 blocks) and a small patch discriminator, 400 steps of 16, Adam 1e-3; the identity loss off; cycle_weight 10 "
    "and 0, all else equal. Matched, distinct and spread are means of both directions over the held-out digits. This was the "
    "first setting that was tried. Not the paper's: it translates street scenes and measures by a segmenter.",
    checks=(
        Check("with_cycle_matched", ">=", 0.8, SEEN + "0.99. Chance is 1 in 197"),
        Check("without_cycle_matched", "<=", 0.3, SEEN + "0.04. Above 0.3 the inputs' identity would plainly survive"),
        Check("with_cycle_distinct", ">=", 0.8, SEEN + "0.99. The held-out digits are all different"),
        Check(
            "without_cycle_distinct",
            "<=",
            0.5,
            SEEN + "0.14. At 0.5 two inputs share an output on average, which one may still call collapse",
        ),
    ),
    paper_figures={
        "GAN alone": "Cityscapes, labels to photos: per-pixel accuracy 0.51, per-class 0.11, class IOU 0.08 (table 4, quoted "
        "from memory)",
        "CycleGAN": "per-pixel accuracy 0.52, per-class 0.17, class IOU 0.11 (table 4, quoted from memory)",
    },
    plot=plot,
    minutes=5,
)
