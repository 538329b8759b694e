"""A uniform variable through the inverse CDF has the density's law: the oldest generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import kstest

from ganvas.claims.claim import Check, Claim, Finding

SAMPLES = 10_000
STEPS = np.array([1, 2, 3, 4]) / 15  # heights of a staircase of width 3/4 each: mass 1/2 on [-3, 0)
EDGES = np.linspace(-3, 3, 61)  # of the histogram


def density(x: np.ndarray) -> np.ndarray:
    """Half of the mass is a staircase on [-3, 0), half a raised cosine on [0, 3]."""
    stairs = STEPS[np.clip((x + 3) // 0.75, 0, 3).astype(int)]
    return np.where(x < 0, stairs, (1 + np.cos(np.pi * (x - 1.5) / 1.5)) / 6)


def flattened(x: np.ndarray) -> np.ndarray:
    """The same without its steps: what a generator that missed them would draw."""
    return np.where(x < 0, 1 / 6, density(x))


def cdf(x: np.ndarray) -> np.ndarray:
    """The CDF of `density` in closed form: the judge, of which the sampler knows nothing."""
    rises = np.interp(x, np.linspace(-3, 0, 5), np.concatenate([[0], np.cumsum(STEPS * 0.75)]))
    t = (np.clip(x, 0, 3) - 1.5) / 1.5
    return np.where(x < 0, rises, 0.5 + (1 + t + np.sin(np.pi * t) / np.pi) / 4)


def through_inverse(u: np.ndarray, of: Any) -> np.ndarray:
    """Uniform variables -> samples of any density on [-3, 3], from its values at 60,000 places alone: its running sum is
    the CDF, and reading that table backwards is the inverse.
    """
    edges = np.linspace(-3, 3, 60_001)
    mass = np.concatenate([[0], np.cumsum(of((edges[1:] + edges[:-1]) / 2))])
    return np.interp(u, mass / mass[-1], edges)


def experiment(seed: int) -> Finding:
    u = np.random.default_rng(seed).random(SAMPLES)
    samples, missed = through_inverse(u, density), through_inverse(u, flattened)
    test = kstest(samples, cdf)
    return Finding(
        figures={
            "ks_p": float(test.pvalue),
            "ks_distance": float(test.statistic),
            "ks_p_flattened": float(kstest(missed, cdf).pvalue),
        },
        series={"histogram": np.histogram(samples, EDGES)[0]},
    )


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    x = np.linspace(-3, 3, 1201)
    left, middle, right = figure.subplots(1, 3)
    left.fill_between(x, density(x), color="tab:blue", alpha=0.35, linewidth=0)
    left.plot(x, density(x), color="tab:blue")
    left.set(title="the density", xlabel="x", ylabel="density")
    middle.plot(cdf(x), x, color="tab:blue")
    middle.set(title="its inverse CDF", xlabel="u, uniform in [0, 1]", ylabel="x")
    for u in (0.1, 0.3, 0.75):
        at = float(np.interp(u, cdf(x), x))
        middle.plot([u, u, 0], [-3, at, at], color="0.5", linewidth=0.8, linestyle=":")
    middle.margins(0)
    counts = np.array(seeds[0]["series"]["histogram"])
    right.stairs(
        counts / counts.sum() / np.diff(EDGES), EDGES, fill=True, color="0.7", label="samples"
    )
    right.plot(x, density(x), color="tab:blue", label="the density")
    right.set(
        title=f"{counts.sum():,} samples (seed {seeds[0]['seed']})", xlabel="x", ylabel="density"
    )
    right.sharey(left)
    right.legend(frameon=False)


CLAIM = Claim(
    name="inverse-cdf",
    paper="Devroye, 1986, Non-Uniform Random Variate Generation",
    section="Chapter II, theorem 2.1 (the inversion method)",
    sentence="A uniform variable through the inverse of a distribution function has that distribution: noise and the right "
    "deterministic map are a generator of anything.",
    experiment=experiment,
    experiment_in_words="A density on [-3, 3], half staircase and half raised cosine, is tabulated, summed and read "
    f"backwards. {SAMPLES:,} uniform variables go through the table; a Kolmogorov-Smirnov test holds the samples against the "
    "CDF in closed form, which the table was not made from. The same test must refuse samples of the density without its "
    "steps.",
    checks=[
        Check(
            "ks_p",
            ">",
            0.01,
            "the usual level of the test. Samples of exactly the right law fail it in one seed of a hundred, by chance, and so "
            "three seeds of a perfect generator fail in 3 runs of 100.",
        ),
        Check(
            "ks_p_flattened",
            "<",
            1e-6,
            "a test that lets everything pass shows nothing. The flattened density's CDF is off by 0.1 at most, where the "
            "formula 2 exp(-2 n D^2) gives 1e-86; 1e-6 leaves room and no chance.",
        ),
    ],
    paper_figures={},
    plot=plot,
    figures_in_words={
        "ks_p": f"p of the Kolmogorov-Smirnov test, {SAMPLES:,} samples against the CDF in closed form",
        "ks_distance": "its statistic: the largest distance between the samples' CDF and the right one",
        "ks_p_flattened": "p of the same test for samples of the density without its steps",
    },
    minutes=0.1,
)
