"""Inversion: uniform noise through the inverse CDF has the distribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import kstest

from ganvas.claims.claim import Finding, Seeds, claim

SAMPLES = 10_000
STEPS = np.array([1, 2, 3, 4]) / 15  # heights of the staircase; each step is 3/4 wide
EDGES = np.linspace(-3, 3, 61)  # of the histogram

Density = Callable[[np.ndarray], np.ndarray]


def density(x: np.ndarray) -> np.ndarray:
    """A staircase on [-3, 0) and a raised cosine on [0, 3], each with mass 1/2."""
    stairs = STEPS[np.clip((x + 3) // 0.75, 0, 3).astype(int)]
    return np.where(x < 0, stairs, (1 + np.cos(np.pi * (x - 1.5) / 1.5)) / 6)


def flattened(x: np.ndarray) -> np.ndarray:
    """`density` without its steps: the control."""
    return np.where(x < 0, 1 / 6, density(x))


def cdf(x: np.ndarray) -> np.ndarray:
    """The CDF of `density` in closed form, which the sampler does not use."""
    rises = np.interp(x, np.linspace(-3, 0, 5), np.concatenate([[0], np.cumsum(STEPS * 0.75)]))
    t = (np.clip(x, 0, 3) - 1.5) / 1.5
    return np.where(x < 0, rises, 0.5 + (1 + t + np.sin(np.pi * t) / np.pi) / 4)


def through_inverse(u: np.ndarray, of: Density) -> np.ndarray:
    """Samples of a density on [-3, 3] from uniform variables.

    The density's values at 60,000 points, summed, are a table of the CDF; interpolation
    with its columns exchanged is the inverse.
    """
    edges = np.linspace(-3, 3, 60_001)
    mass = np.concatenate([[0], np.cumsum(of((edges[1:] + edges[:-1]) / 2))])
    return np.interp(u, mass / mass[-1], edges)


def experiment(seed: int) -> Finding:
    """Test samples of the density, and of the one without steps, against the CDF."""
    u = np.random.default_rng(seed).random(SAMPLES)
    samples = through_inverse(u, density)
    test = kstest(samples, cdf)
    flat = float(kstest(through_inverse(u, flattened), cdf).pvalue)
    return Finding(
        figures={
            "ks_p": float(test.pvalue),
            "ks_distance": float(test.statistic),
            "ks_p_flattened": flat,
        },
        series={"histogram": np.histogram(samples, EDGES)[0]},
        nulls={
            "unmapped": {"ks_p": float(kstest(6 * u - 3, cdf).pvalue)},
            "flattened": {"ks_p": flat},
        },
    )


def plot(figure: Figure, seeds: Seeds) -> None:
    """The density, its inverse CDF, and the histogram of the first seed."""
    x = np.linspace(-3, 3, 1201)
    left, middle, right = figure.subplots(1, 3)
    left.fill_between(x, density(x), alpha=0.35)
    left.set(title="the density", xlabel="x", ylabel="density")
    middle.plot(cdf(x), x)
    middle.set(title="its inverse CDF", xlabel="u, uniform in [0, 1]", ylabel="x")
    counts = np.array(seeds[0]["series"]["histogram"])
    heights = counts / counts.sum() / np.diff(EDGES)
    right.stairs(heights, EDGES, fill=True, color="0.7", label="samples")
    right.plot(x, density(x), label="the density")
    right.set(title=f"{counts.sum():,} samples", xlabel="x", ylabel="density")
    right.sharey(left)
    right.legend(fontsize="small")


CLAIM = claim(__name__, experiment=experiment, plot=plot)
