"""Dual learning: translating there and back finds the mapping, up to the symmetries of the language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import permutations
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.optim import Adam

from ganvas import draw
from ganvas.claims.claim import Check, Claim, Finding
from ganvas.core import Run
from ganvas.data import toy
from ganvas.engine.engine import Engine
from ganvas.methods import DualLearning
from ganvas.nets import words as nets

WORDS = 6  # of a language: few enough to look for its symmetries among all 720 orders
PAIRS = 4  # pairs of languages of each kind, each under a cipher of its own
STARTS = 2  # runs for each pair; the one of the largest reward counts, which asks for no truth
PRETRAIN, PLAYED = 10_000, 100_000  # sentences of each language
LAST = 100  # steps over which the reward is averaged

KINDS = {  # figures' prefix -> (language, alpha)
    "distinct": ("distinct", 0.5),
    "ring": ("ring", 0.5),
    "uniform": ("uniform", 0.5),
    "without_cycle": ("distinct", 1.0),
    "without_language_model": ("distinct", 0.0),
}


def _run(kind: str, alpha: float, pair: int, start: int) -> Run:
    return Run(
        method=partial(
            DualLearning,
            T=partial(nets.Translator),
            LM=partial(nets.Bigram),
            pretrain=PRETRAIN,
            alpha=alpha,
            anneal=PLAYED * 3 // 4,
        ),
        data=partial(toy.languages, kind, words=WORDS, seed=pair),
        optim={"T": partial(Adam, lr=0.02), "LM": partial(Adam, lr=0.1)},
        batch=64,
        images=PRETRAIN + PLAYED,
        seed=start,
    )


def experiment(seed: int) -> Finding:
    figures: dict[str, float] = {}
    series: dict[str, Any] = {}
    for name, (kind, alpha) in KINDS.items():
        found = [_deciphered(kind, alpha, draw.mix(seed, name, i)) for i in range(PAIRS)]
        for figure in Scores._fields:
            figures[f"{name}_{figure}"] = fmean(getattr(scores, figure) for _, scores in found)
        series[name] = found[0][0]
    return Finding(figures, series)


class Scores(NamedTuple):
    """Of a mapping, as shares of the words. `true`: translated as the cipher has it. `symmetric`: the same, after that exchange
    of words under which the language stays the same that makes the share largest. `distinct`: how many different translations
    there are."""

    true: float
    symmetric: float
    distinct: float


def _deciphered(kind: str, alpha: float, pair: int) -> tuple[Any, Scores]:
    """(P(word of b | word of a), its scores) of the run with the largest reward."""
    truth = toy.cipher(WORDS, pair)
    symmetries = automorphisms(toy.bigrams(kind, WORDS, pair))
    model = max((_played(_run(kind, alpha, pair, start)) for start in range(STARTS)), key=lambda found: found[1])[0]
    table = model.T_ab(torch.arange(WORDS)[None])[0].exp()
    return table.tolist(), scores(table.argmax(1).numpy(), truth, symmetries)


def _played(run: Run) -> tuple[Any, float]:
    """(the model, its mean reward at the end)"""
    engine, rewards = Engine(run, run.data()), []
    while engine.clock.images < run.images:
        rewards.append(float(engine.step().get("T/reward", 0.0)))
    return engine.model(), fmean(rewards[-LAST:])


def automorphisms(chain: np.ndarray) -> np.ndarray:
    """All orders of the words [k, words] under which a language with P(next | word) `chain` stays the same."""
    every = np.array(list(permutations(range(len(chain)))))
    return every[[np.allclose(chain[np.ix_(p, p)], chain) for p in every]]


def scores(found: np.ndarray, truth: np.ndarray, symmetries: np.ndarray) -> Scores:
    """`found`, `truth`: what each word is translated to, [words]."""
    return Scores(
        true=float((found == truth).mean()),
        symmetric=float((found == truth[symmetries]).mean(1).max()),
        distinct=len(np.unique(found)) / len(found),
    )


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    """What the first pair's words are translated to, for the first seed; the means of all in the titles."""
    series = seeds[0]["series"]
    for axes, name in zip(figure.subplots(1, len(KINDS)), KINDS, strict=True):
        axes.imshow(series[name], cmap="Blues", vmin=0, vmax=1)
        means = (fmean(s["figures"][f"{name}_{f}"] for s in seeds) for f in Scores._fields)
        axes.set(xlabel="word of b", ylabel="word of a", xticks=[], yticks=[])
        text = "\n".join(f"{f} {m:.0%}" for f, m in zip(Scores._fields, means, strict=True))
        axes.set_title(f"{name.replace('_', ' ')}\n{text}", fontsize="small")
