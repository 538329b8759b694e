"""Dual learning: translating there and back finds a mapping, up to symmetries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import permutations
from statistics import fmean

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.optim import SGD, Adam

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.claims.kit.training import Comparison, Trained
from ganvas.core import Run, rng
from ganvas.data import toy
from ganvas.engine.engine import Engine
from ganvas.methods import DualLearning
from ganvas.nets import toy_language

WORDS = 6  # of a language: few enough to search all 720 orders for symmetries
PRETRAIN, GAME = 10_000, 40_000  # sentences of each language
RATES = (2.0, 1.0, 4.0)
LAST = 100  # steps over which the reward is averaged


def run(kind: str, alpha: float, pair: int, rate: float) -> Run:
    """`dual_learning` on languages of `WORDS` words. pair: seed of their cipher."""
    return Run(
        method=partial(
            DualLearning,
            T=partial(toy_language.Translator),
            LM=partial(toy_language.Bigram),
            pretrain=PRETRAIN,
            alpha=alpha,
            anneal=GAME * 4 // 5,
        ),
        data=partial(toy.languages, kind, words=WORDS, seed=pair),
        optim={"T": partial(SGD, lr=rate), "LM": partial(Adam, lr=0.1)},
        batch=64,
        images=PRETRAIN + GAME,
    )


def reward(engine: Engine, logged: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean reward of the last steps; 0 before the game."""
    return {"reward": fmean(logged.get("T/reward", [0.0])[-LAST:])}


def automorphisms(chain: np.ndarray) -> np.ndarray:
    """Orders of words [k, words] that leave `chain`, P(next | word), unchanged."""
    every = np.array(list(permutations(range(len(chain)))))
    return every[[np.allclose(chain[np.ix_(p, p)], chain) for p in every]]


def scores(found: np.ndarray, truth: np.ndarray, symmetries: np.ndarray) -> dict[str, float]:
    """Shares of words that are translated correctly.

    found, truth: translation of each word [words]
    symmetries: of `automorphisms`

    Returns:
    true: share of the cipher's translations
    exact: 1 if all are the cipher's, else 0
    symmetric: as `true`, after the symmetry that makes the share largest
    """
    true = float((found == truth).mean())
    symmetric = float((found == truth[symmetries]).mean(1).max())
    return {"true": true, "exact": float(true == 1), "symmetric": symmetric}


def probabilities(trained: Trained) -> torch.Tensor:
    """P(word of b | word of a), [words, words]."""
    return trained.model.T_ab(torch.arange(WORDS)[None])[0].exp()


def comparison(seed: int) -> Comparison:
    """The experiment on the languages of a seed."""
    pair = rng.fold_in(seed, "pair")
    truth = toy.cipher(WORDS, pair)

    def measure(trained: Trained) -> dict[str, float]:
        symmetries = automorphisms(toy.bigrams(trained.feed.info.source, WORDS))
        found = scores(probabilities(trained).argmax(1).numpy(), truth, symmetries)
        return found | {"reward": trained.readings[-1]["reward"]}

    arms = {
        "distinct": ("distinct", 0.5),
        "ring": ("ring", 0.5),
        "cycle_alone": ("distinct", 0.0),
        "ring_cycle_alone": ("ring", 0.0),
    }
    return Comparison(
        arms={
            name: [run(kind, alpha, pair, rate) for rate in RATES]
            for name, (kind, alpha) in arms.items()
        },
        controls=["cycle_alone", "ring_cycle_alone"],
        measure=measure,
        chance={"true": 1 / WORDS, "symmetric": 2 / WORDS, "exact": 0.0},
        series=lambda trained: {"table": probabilities(trained)},
        rank=lambda scores: -scores["reward"],
        readings=1,
        read=reward,
    )


def experiment(seed: int) -> Finding:
    """Train and measure all arms on the languages of the seed."""
    return comparison(seed)(seed)


def plot(figure: Figure, seeds: Seeds) -> None:
    """Translation of each word for the first seed, and the shares of all seeds."""
    arms = ("distinct", "ring", "cycle_alone")
    for axes, arm in zip(figure.subplots(1, len(arms)), arms, strict=True):
        axes.imshow(seeds[0]["series"][arm]["table"], cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="word of b", ylabel="word of a", xticks=[], yticks=[])
        shares = [
            f"{name} {fmean(s['figures'][f'{arm}_{name}'] for s in seeds):.0%}"
            for name in ("true", "symmetric")
        ]
        axes.set_title(f"{arm.replace('_', ' ')}: {', '.join(shares)}", fontsize="small")


CLAIM = claim(__name__, experiment=experiment, plot=plot)
