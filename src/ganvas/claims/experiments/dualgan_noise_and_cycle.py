"""DualGAN, sections 3.1 and 3.2: with dropout as its noise, left on, one input has many translations, and each leads back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import RMSprop

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.claims.kit.unpaired_digits import digits_and_negatives, gray_levels, translation_scores
from ganvas.core import Run, Translates, rng
from ganvas.engine.engine import Engine
from ganvas.methods import DualGAN
from ganvas.nets import dualgan, image_to_image, patchgan

DRAWS = 4  # translations of each held-out digit
GRAY = 127.5  # gray levels of 255 in a difference of 1


def _run(method: Any, images: int) -> Run:
    rmsprop = partial(RMSprop, alpha=0.9)
    return Run(
        method=method,
        data=lambda: digits_and_negatives().feed,
        optim={"G": partial(rmsprop, lr=1e-3), "D": partial(rmsprop, lr=5e-4)},
        batch=4,
        images=images,
    )


PAPER = partial(
    DualGAN,
    G=partial(image_to_image.UNetGenerator, width=8, depth=4, dropout=3),
    D=partial(patchgan.PatchDiscriminator, width=16, layers=2, norm="batch"),
)
CODE = partial(
    DualGAN,
    G=partial(
        image_to_image.UNetGenerator, width=8, depth=4, norm="affine", kernel=3, ends=5, dropout=3
    ),
    D=partial(dualgan.Critic, width=16, layers=3),
    n_critic=1,
    clip=None,
    gp_weight=10.0,
)
STEPS = 400  # of the generators
RUNS = {"clipped": _run(PAPER, STEPS * 3 * 4), "penalised": _run(CODE, STEPS * 4)}


def experiment(seed: int) -> Finding:
    digits = digits_and_negatives()
    figures: dict[str, float] = {}
    series: dict[str, Any] = {"input": gray_levels(digits.a), "truth": gray_levels(digits.b)}
    for name, run in RUNS.items():
        engine = Engine(replace(run, seed=seed), digits.feed)
        while engine.clock.images < run.images:
            engine.step()
        model: Any = engine.model()
        assert isinstance(model, Translates)
        torch.manual_seed(rng.fold_in(seed, "noise"))
        with torch.no_grad():
            there = {
                to: torch.stack([model.translate(x, to=to) for _ in range(DRAWS)])
                for to, x in (("b", digits.a), ("a", digits.b))
            }
            back = {
                "a": model.translate(there["b"][0], to="a"),
                "b": model.translate(there["a"][0], to="b"),
            }
        both = [
            noise_and_cycle(digits.a, there["b"], back["a"], digits.b),
            noise_and_cycle(digits.b, there["a"], back["b"], digits.a),
        ]
        figures |= {f"{name}_{figure}": fmean(one[figure] for one in both) for figure in both[0]}
        series[name] = [gray_levels(one) for one in there["b"][:2]] + [gray_levels(back["a"])]
    return Finding(figures, series)


def noise_and_cycle(x: Tensor, there: Tensor, back: Tensor, truth: Tensor) -> dict[str, float]:
    """Inputs x [N, C, H, W], their translations [draws, N, C, H, W], the way back from the first of these, and the true
    translations. Distances are mean absolute differences of pixels.

    `noise`: between two translations of one input, in gray levels of 255. `noise_share`: the same over the distance of two
    inputs' translations. `cycle_share`: from the input to the way back, over the distance of two inputs. `matched`: as
    `translation_scores` has it, and `returned` the same of the way back and the inputs.
    """
    noise = fmean(
        float((there[i] - there[j]).abs().mean()) for i in range(len(there)) for j in range(i)
    )
    content = float((there[0] - there[0].roll(1, 0)).abs().mean())
    inputs = float((x - x.roll(1, 0)).abs().mean())
    return {
        "noise": noise * GRAY,
        "noise_share": noise / content if content else 1.0,
        "cycle_share": float((back - x).abs().mean()) / inputs,
        "matched": translation_scores(there[0], truth).matched,
        "returned": translation_scores(back, x).matched,
    }


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    """Rows of held-out digits: input, truth, and of either preset two translations and the way back from the first."""
    series = seeds[0]["series"]
    rows = {"input": series["input"], "truth": series["truth"]}
    for name in RUNS:
        for which, row in zip(
            ("one draw", "another", "back from the first"), series[name], strict=True
        ):
            rows[f"{name}, {which}"] = row
    for axes, (name, row) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        axes.imshow(np.concatenate(row, axis=1), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize="x-small")


SEEN = "a shorter exploratory run, with a seed that is not among those reported, had been seen when the bound was set: "


def _checks(name: str, noise: str, cycle: str, matched: str) -> list[Check]:
    return [
        Check(
            f"{name}_noise",
            ">=",
            1,
            f"less than a gray level would not show in a picture of 8 bits; {SEEN}{noise}",
        ),
        Check(
            f"{name}_noise_share",
            "<=",
            0.5,
            "above a half, the noise would decide nearly as much as the input",
        ),
        Check(
            f"{name}_cycle_share",
            "<=",
            0.5,
            f"one picture for all inputs has at least a half, by the triangle inequality; {SEEN}{cycle}",
        ),
        Check(
            f"{name}_returned",
            ">=",
            0.9,
            "the cycle holds where the way back is nearest to its own input; chance is 1 in 197",
        ),
        Check(
            f"{name}_matched",
            ">=",
            0.8,
            f"without it, noise on the input itself would pass; {SEEN}{matched}",
        ),
    ]


CLAIM = Claim(
    name="dualgan-noise-and-cycle",
    paper="Yi, Zhang, Tan and Gong, 2017, DualGAN, arXiv:1704.02510",
    section="sections 3.1 and 3.2",
    sentence="With no noise but dropout, on in training and in use, the translations of one input vary; each is a "
    "picture of the other domain, and leads back to the input.",
    experiment=experiment,
    experiment_in_words="Digits (scikit-learn's 1,797) at 16 px into negatives: 800 digits on one side, the "
    "negatives of 800 others on the other, so that no pair exists; 197 held out, whose true translation is known. "
    f"Small U-Nets (width 8, depth 4) with dropout on the three innermost levels, {STEPS} steps of 4, RMSprop 1e-3 "
    "for G and 5e-4 for D, cycle weights 500: with the paper's clipped patch critics (3 steps for each of G's), and "
    "with the penalised critics and the networks of the authors' code (1 step), which has no dropout by itself. "
    f"Held-out digits are translated {DRAWS} times in both directions; figures are means of both.",
    checks=(*_checks("clipped", "13", "0.48", "0.88"), *_checks("penalised", "7", "0.30", "1.00")),
    paper_figures={},
    figures_in_words={
        f"{name}_{figure}": f"{critics}: {words}"
        for name, critics in (
            ("clipped", "the paper's critics"),
            ("penalised", "the code's critics"),
        )
        for figure, words in (
            ("noise", "mean difference of two translations of one input, gray levels of 255"),
            ("noise_share", "the same over the difference of two inputs' translations"),
            ("cycle_share", "difference of the input and the way back over that of two inputs"),
            ("returned", "share of ways back that are nearest to their own input"),
            ("matched", "share of translations that are nearest to their own input's true one"),
        )
    },
    plot=plot,
    minutes=4,
)
