"""What a claim is: a paper's sentence, an experiment that could refute it, and the bounds that decide, set beforehand."""

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
    """One bound on one figure of the experiment. `over`: whether it must hold in every seed, for the mean over the seeds or
    for their median. `why`: why the bound is that and not another; a bound that was moved after a result says so here."""

    figure: str  # a name in Finding.figures
    op: Literal[">=", "<=", ">", "<"]
    bound: float
    why: str
    over: Literal["every", "mean", "median"] = "every"

    def judged(self, values: Sequence[float]) -> float:
        """What the bound is laid on, of the figure of each seed: the seed that is worst off, the mean or the median. NaN
        where there is no seed, or where one's figure is NaN."""
        if not values or any(math.isnan(v) for v in values):
            return math.nan
        worst = min if self.op in (">=", ">") else max
        return {"every": worst, "mean": fmean, "median": median}[self.over](values)

    def holds(self, values: Sequence[float]) -> bool:
        """`values`: the figure of each seed. A figure that is NaN holds no bound."""
        return OPERATORS[self.op](self.judged(values), self.bound)


@dataclass(frozen=True)
class Finding:
    """What the experiment saw with one seed. `figures`: scalars that checks and readers look at. `series`: whatever the
    plot draws (numbers, lists, nested dicts of them): JSON-ready, a few thousand numbers at most."""

    figures: Mapping[str, float]
    series: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One file of this folder defines one, as `CLAIM`.

    `experiment(seed) -> Finding` depends on nothing but its seed (and on what `ready` asks for), and runs on two CPU cores.
    `ready()` raises `UserError` where data or weights that the experiment needs are not there. `plot(figure, seeds)` draws a
    record's findings on a matplotlib Figure of 10 by 4 inches; `seeds` are the record's, each {"seed", "figures",
    "series", "seconds", "cpu_seconds"}, at least one."""

    name: str  # as on the command line: "optimal-discriminator"
    paper: str  # authors, year, arXiv id
    section: str  # where the paper says it
    sentence: str  # what it says, in our words
    experiment: Callable[[int], Finding]
    experiment_in_words: str  # what is done, at what size
    checks: Sequence[Check]
    paper_figures: Mapping[str, str]  # the paper's own figures beside ours; {} where it gives none
    plot: Callable[[Any, Sequence[Mapping[str, Any]]], None]
    figures_in_words: Mapping[str, str] = field(default_factory=dict)  # figure -> what it is, of what and of how many
    ready: Callable[[], object] = lambda: None
    seeds: int = 3  # how many `ganvas claim run` takes when not told
    minutes: float  # about how long all these seeds take on two cores
