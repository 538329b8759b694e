"""Dual learning, abstract: 10% of the pairs do as well as all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from ganvas.claims.claim import Finding, claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run, Shape, rng
from ganvas.data import toy
from ganvas.engine.engine import Engine
from ganvas.methods import DualLearning
from ganvas.nets import toy_language

WORDS = 20  # of a language
PAIRS = 10  # of sentences; 10% of them are one
PRETRAIN, GAME = 20_000, 80_000  # sentences of each language
RATES = (2.0, 1.0, 4.0)
LAST = 100  # steps over which the reward is averaged
UNSEEN = 0.05  # count of a translation that no pair has


def sentence_pairs(pair: int) -> tuple[np.ndarray, np.ndarray]:
    """`PAIRS` sentences and their translations, words [PAIRS, 8] each."""
    feed = toy.languages("ring", words=WORDS, count=PAIRS, seed=rng.fold_in(pair, "pairs"))
    levels = feed.raw()["a"].reshape(PAIRS, -1).astype(float)
    sentences = (levels * (WORDS - 1) / 255).round().astype(int)
    return sentences, toy.cipher(WORDS, pair)[sentences]


def table(sources: np.ndarray, targets: np.ndarray) -> Tensor:
    """Maximum likelihood of a translator on pairs, smoothed: log P [words, words]."""
    counts = np.full((WORDS, WORDS), UNSEEN)
    np.add.at(counts, (sources, targets), 1)
    return torch.from_numpy(np.log(counts / counts.sum(1, keepdims=True))).float()


def warm_started(
    shape: Shape,
    *,
    pairs: int,
    pair: int,
    T: Callable[..., nn.Module],
    LM: Callable[..., nn.Module],
    pretrain: int,
    temperature: float,
    anneal: int,
) -> DualLearning:
    """`DualLearning` whose translators start from the first sentence pairs."""
    method = DualLearning(shape, T, LM, pretrain=pretrain, temperature=temperature, anneal=anneal)
    a, b = (sentences[:pairs] for sentences in sentence_pairs(pair))
    warm: Any = method
    with torch.no_grad():
        warm.T_ab.table.weight += table(a, b)
        warm.T_ba.table.weight += table(b, a)
    return method


def run(pairs: int, pair: int, rate: float) -> Run:
    """`dual_learning` from `pairs` sentence pairs. pair: seed of the cipher."""
    return Run(
        method=partial(
            warm_started,
            pairs=pairs,
            pair=pair,
            T=partial(toy_language.Translator),
            LM=partial(toy_language.Bigram),
            pretrain=PRETRAIN,
            temperature=0.2,
            anneal=GAME * 4 // 5,
        ),
        data=partial(toy.languages, "ring", words=WORDS, seed=pair),
        optim={"T": partial(SGD, lr=rate), "LM": partial(Adam, lr=0.1)},
        batch=64,
        images=PRETRAIN + GAME,
    )


def reward(engine: Engine, logged: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean reward of the last steps; 0 before the game."""
    return {"reward": fmean(logged.get("T/reward", [0.0])[-LAST:])}


def comparison(seed: int) -> Comparison:
    """The experiment on the languages of a seed."""
    pair = rng.fold_in(seed, "pair")
    truth = torch.from_numpy(toy.cipher(WORDS, pair))
    supervised = float((table(*sentence_pairs(pair)).argmax(1) == truth).float().mean())

    def measure(trained: Trained) -> dict[str, float]:
        found = trained.model.T_ab(torch.arange(WORDS)[None])[0].argmax(1)
        true = float((found == truth).float().mean())
        return {"true": true, "reward": trained.readings[-1]["reward"]}

    def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
        return {
            "all_pairs": supervised,
            "no_pairs": arms["no_pairs"]["true"],
            "ten_percent": arms["ten_percent"]["true"],
            "left_behind": supervised - arms["ten_percent"]["true"],
        }

    return Comparison(
        arms={
            "ten_percent": [run(PAIRS // 10, pair, rate) for rate in RATES],
            "no_pairs": [run(0, pair, rate) for rate in RATES],
        },
        controls=["no_pairs"],
        measure=measure,
        chance={"true": 1 / WORDS},
        figures=figures,
        rank=lambda scores: -scores["reward"],
        readings=1,
        read=reward,
    )


def experiment(seed: int) -> Finding:
    """Train and measure all arms on the languages of the seed."""
    return comparison(seed)(seed)


CLAIM = claim(
    __name__,
    experiment=experiment,
    plot=plots.bars(
        {
            "no_pairs": "no pairs,\ndual learning",
            "ten_percent": "10% of the pairs,\ndual learning",
            "all_pairs": "all pairs,\nno dual learning",
        },
        labels=["words translated correctly"],
    ),
)
