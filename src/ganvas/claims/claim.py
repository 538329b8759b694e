"""A claim: a statement of a paper, an experiment that could refute it, and its bounds.

The bounds are set before the experiment is run.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Check:
    """A bound on one figure of the experiment."""

    figure: str  # a name in Finding.figures
    op: Literal[">=", "<=", ">", "<"]
    bound: float
    why: str  # reason for this bound; says so if it was changed after a result
    over: Literal["every", "mean", "median"] = "every"  # seeds, or statistic over them

    def judged(self, values: Sequence[float]) -> float:
        """The value that is compared with the bound: the worst seed, the mean or the median.

        `values`: the figure of each seed.

        Returns NaN if there is no seed or any value is NaN.
        """
        if not values or any(math.isnan(v) for v in values):
            return math.nan
        worst = min if self.op in (">=", ">") else max
        return {"every": worst, "mean": fmean, "median": median}[self.over](values)

    def holds(self, values: Sequence[float]) -> bool:
        """Whether the bound holds for the figures of all seeds; false if one is NaN."""
        return OPERATORS[self.op](self.judged(values), self.bound)


@dataclass(frozen=True)
class Finding:
    """Result of an experiment with one seed."""

    figures: Mapping[str, float]  # scalars for checks and readers
    # Data of the plot: numbers, lists, nested dicts; JSON, a few thousand numbers at most.
    series: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a paper with its experiment and bounds.

    `experiment(seed) -> Finding`: depends only on its seed and on the data and weights that
        `ready` requires; runs on two CPU cores.
    `ready()`: raises `UserError` if data or weights for the experiment are missing.
    `plot(figure, seeds)`: draws a record's findings on a matplotlib Figure of 10 by 4 inches.
        `seeds`: those of the record, at least one, each {"seed", "figures", "series",
        "seconds", "cpu_seconds"}.
    """

    name: str  # as on the command line: "optimal-discriminator"
    paper: str  # authors, year, arXiv id
    section: str  # where the paper says it
    sentence: str  # the statement, in our words
    experiment: Callable[[int], Finding]
    experiment_in_words: str  # description of the experiment and its size
    checks: Sequence[Check]
    paper_figures: Mapping[str, str]  # figures of the paper for comparison; {} if none
    plot: Callable[[Any, Sequence[Mapping[str, Any]]], None]
    figures_in_words: Mapping[str, str] = field(default_factory=dict)  # description of each figure
    ready: Callable[[], object] = lambda: None
    seeds: int = 3  # default number of seeds of `ganvas claim run`
    minutes: float  # approximate duration of all seeds on two cores
