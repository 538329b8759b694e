"""A claim: a statement of a paper, an experiment that could refute it, and its bounds.

What a claim says stands in `experiments/NAME.toml`, what it does in
`experiments/NAME.py`. The bounds are committed before the experiment is run.
"""

from __future__ import annotations

import math
import operator
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from statistics import fmean, median
from typing import Annotated, Any, Literal

import pydantic
from matplotlib.figure import Figure

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
CONFIDENCE = 0.95  # of the interval of a mean

Series = Mapping[str, Any]  # of a finding: numbers, lists and dicts
Record = Mapping[str, Any]  # of a claim, as in its JSON file
Seeds = Sequence[Mapping[str, Any]]  # of a record
Text = Annotated[str, pydantic.AfterValidator(lambda text: " ".join(text.split()))]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Check(_Strict):
    """A bound on one figure of the experiment.

    figure: a name in `Finding.figures`
    over: what is compared: the worst seed; the far end of the mean's 95% interval
        (Student's t); the median; or, of a figure that is 0 or 1, the share of seeds
    why: the reason for this bound; says so if it was changed after a result
    role: "claim": a part of the statement; no guess and no untrained model may pass it.
        "gate": without it the comparison means nothing, for example that the control
        has learned, too
    """

    figure: str
    op: Literal[">=", "<=", ">", "<"]
    bound: float
    why: Text
    over: Literal["every", "mean", "median", "share"] = "every"
    role: Literal["claim", "gate"] = "claim"

    def judged(self, values: Sequence[float]) -> float:
        """The value that is compared with the bound.

        values: the figure of each seed

        Returns NaN if there is no seed or any value is NaN.
        """
        if not values or any(math.isnan(v) for v in values):
            return math.nan
        at_least = self.op in (">=", ">")
        match self.over:
            case "every":
                return (min if at_least else max)(values)
            case "mean":
                return interval(values)[0 if at_least else 1]
            case "median":
                return median(values)
            case "share":
                return fmean(values)

    def holds(self, values: Sequence[float]) -> bool:
        """Whether the bound holds for the figures of all seeds; false if one is NaN."""
        return OPERATORS[self.op](self.judged(values), self.bound)

    def judged_null(self, values: Sequence[float]) -> float:
        """The value of a null that is compared with the bound, which it must fail.

        As `judged`, but stricter where every seed counts: the best one in place of the
        worst.

        values: the figure of each seed with the null in place of the trained model

        Returns NaN if there is no seed or any value is NaN.
        """
        value = self.judged(values)
        if math.isnan(value) or self.over != "every":
            return value
        return (max if self.op in (">=", ">") else min)(values)

    def passed_by_null(self, values: Sequence[float]) -> bool:
        """Whether a null passes the bound; false if a value is NaN."""
        return OPERATORS[self.op](self.judged_null(values), self.bound)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of a mean by Student's t; infinite for a single value."""
    from scipy.stats import sem, t

    if len(values) < 2:
        return (-math.inf, math.inf)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * sem(values))
    return fmean(values) - half, fmean(values) + half


@dataclass(frozen=True)
class Finding:
    """Result of an experiment with one seed.

    figures: scalars for checks and readers
    series: data of the plot: numbers, lists, nested dicts; JSON, a few thousand numbers
    nulls: the same figures where the trained model is replaced: by an untrained one, by
        a guess ("chance"), or by a control; a figure that compares with that control
        is left out
    """

    figures: Mapping[str, float]
    series: Series = field(default_factory=dict)
    nulls: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Words(_Strict):
    """The texts and bounds of a claim, `experiments/NAME.toml`.

    kind: "theory" compares with a closed form, with perceptrons on the line or in the
        plane at most, and is counted apart; "accelerator" means nothing
        at the size of two cores and is not run there
    paper: authors, year, title, arXiv number
    section: where the paper says it
    sentence: the statement, in our words
    experiment: what is done, and its size
    outcome: what came out and why, written after the run; its figures are the record's
    changes: removed or moved bounds, and redesigns after a result
    minutes: approximate duration of all seeds on one core
    seeds: number of seeds
    first: the first of them; not 0 after a redesign whose trials had seeds from 0 on
    arms: description of each trained arm
    figures: description of each figure
    paper_figures: figures of the paper for comparison
    """

    kind: Literal["theory", "trained", "accelerator"]
    paper: Text
    section: Text
    sentence: Text
    experiment: Text
    outcome: Text = ""
    changes: Text = ""
    minutes: float
    seeds: int = 3
    first: int = 0
    arms: dict[str, Text] = {}
    figures: dict[str, Text]
    checks: list[Check] = pydantic.Field(min_length=1)
    paper_figures: dict[str, Text] = {}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a paper with its experiment.

    name: as on the command line: "optimal-discriminator"
    words: its texts and bounds
    experiment: depends only on its seed, and on the data and weights that `ready`
        requires
    plot: draws a record's seeds on a matplotlib Figure of 10 by 4 inches; each is
        {"seed", "figures", "series", "nulls", "seconds", "cpu_seconds"}
    ready: raises `UserError` if data or weights for the experiment are missing
    """

    name: str
    words: Words
    experiment: Callable[[int], Finding]
    plot: Callable[[Figure, Seeds], None]
    ready: Callable[[], object] = lambda: None


def claim(
    module: str,
    *,
    experiment: Callable[[int], Finding],
    plot: Callable[[Figure, Seeds], None],
    ready: Callable[[], object] = lambda: None,
) -> Claim:
    """The claim of an experiment's module, with the texts of the TOML file beside it.

    module: `__name__` of the experiment
    """
    package, _, name = module.rpartition(".")
    text = files(package).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return Claim(
        name=name.replace("_", "-"),
        words=Words.model_validate(tomllib.loads(text)),
        experiment=experiment,
        plot=plot,
        ready=ready,
    )
