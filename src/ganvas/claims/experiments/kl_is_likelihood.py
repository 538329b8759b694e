"""GAN tutorial, section 2.1: minimizing KL(data || model) is maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ganvas.claims.claim import Finding, Seeds, claim

SAMPLES = 10_000
BIN = 0.01  # width; what it adds to a variance is BIN^2 / 12 = 8e-6
STEPS, RATE = 3000, 0.3  # of gradient descent
START_GAUSSIAN, START_MIXTURE = [0.0, 0.0], [0.0, -1.0, 0.0, 0.5, 0.0]  # of gradient descent
TRUE_GAUSSIAN = np.array([1.3, 0.7])  # mean, standard deviation
# Weight, mean and deviation of the first Gaussian, mean and deviation of the second.
TRUE_MIXTURE = np.array([0.3, -2.0, 0.5, 1.0, 1.0])

# The parameters w of a model are unconstrained.


def gaussian_cdf(w: Tensor, x: Tensor) -> Tensor:
    """w: mean and log deviation."""
    return torch.special.ndtr((x - w[0]) / w[1].exp())


def gaussian(w: Tensor) -> np.ndarray:
    """Mean and standard deviation."""
    return np.array([float(w[0]), float(w[1].exp())])


def mixture_cdf(w: Tensor, x: Tensor) -> Tensor:
    """w: logit of the first Gaussian's weight, and the parameters of both."""
    first, second = gaussian_cdf(w[1:3], x), gaussian_cdf(w[3:5], x)
    return second + w[0].sigmoid() * (first - second)


def mixture(w: Tensor) -> np.ndarray:
    """As TRUE_MIXTURE."""
    return np.array([float(w[0].sigmoid()), *gaussian(w[1:3]), *gaussian(w[3:5])])


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(P || Q) in nats of two distributions on the same bins."""
    return torch.special.xlogy(p, p.clamp_min(1e-300) / q.clamp_min(1e-300)).sum()


def descend(
    divergence: Callable[[Tensor, Tensor], Tensor],
    cdf: Callable[[Tensor, Tensor], Tensor],
    start: Sequence[float],
    p: Tensor,
    edges: Tensor,
) -> tuple[Tensor, list[float]]:
    """Gradient descent on divergence(P, Q_w): w, and the divergence of each step."""
    w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    path = []
    for _ in range(STEPS):
        loss = divergence(p, cdf(w, edges).diff())
        (gradient,) = torch.autograd.grad(loss, w)
        with torch.no_grad():
            w -= RATE * gradient
        path.append(float(loss.detach()))
    return w.detach(), path


def binned(samples: np.ndarray) -> tuple[Tensor, Tensor]:
    """The fraction of the samples in each bin, and the bins' edges."""
    edges = np.arange(samples.min() - BIN, samples.max() + 2 * BIN, BIN)
    p = torch.from_numpy(np.histogram(samples, edges)[0] / len(samples))
    edges = torch.from_numpy(edges)
    edges[0], edges[-1] = -1e3, 1e3  # so that Q sums to 1
    return p, edges


def expectation_maximization(x: np.ndarray, rounds: int = 2000) -> np.ndarray:
    """The mixture of maximum likelihood, without gradients.

    Dempster, Laird and Rubin, 1977.
    """
    weight, means, deviations = 0.5, np.array([-1.0, 0.5]), np.array([1.0, 1.0])
    for _ in range(rounds):
        heights = (
            np.exp(-(((x[:, None] - means) / deviations) ** 2) / 2)
            / deviations
            * [weight, 1 - weight]
        )
        share = heights / heights.sum(1, keepdims=True)
        means_before, counts = means, share.sum(0)
        weight, means = counts[0] / len(x), (share * x[:, None]).sum(0) / counts
        deviations = np.sqrt((share * (x[:, None] - means) ** 2).sum(0) / counts)
        if np.abs(means - means_before).max() < 1e-10:
            break
    return np.array([weight, means[0], deviations[0], means[1], deviations[1]])


def experiment(seed: int) -> Finding:
    """Compare minima of KL with maximum likelihood estimates of the same samples."""
    rng = np.random.default_rng(seed)
    simple = rng.normal(*TRUE_GAUSSIAN, size=SAMPLES)
    weight, *both = TRUE_MIXTURE.tolist()
    first, second = rng.normal(both[0], both[1], SAMPLES), rng.normal(both[2], both[3], SAMPLES)
    double = np.where(rng.random(SAMPLES) < weight, first, second)

    w, gaussian_path = descend(kl, gaussian_cdf, START_GAUSSIAN, *binned(simple))
    found, likeliest = gaussian(w), np.array([simple.mean(), simple.std()])

    p, edges = binned(double)
    w, mixture_path = descend(kl, mixture_cdf, START_MIXTURE, p, edges)
    found_mixture, likeliest_mixture = mixture(w), expectation_maximization(double)

    # One Gaussian for the mixture's data. For KL(Q || P), P is the true distribution,
    # as a bin without samples would make that divergence infinite.
    truth = torch.tensor(
        [math.log(weight / (1 - weight)), both[0], math.log(both[1]), both[2], math.log(both[3])]
    )
    p_true = mixture_cdf(truth.double(), edges).diff()
    w, _ = descend(lambda p, q: kl(q, p), gaussian_cdf, START_GAUSSIAN, p_true, edges)
    found_reverse, one = gaussian(w), np.array([double.mean(), double.std()])
    w, _ = descend(kl, gaussian_cdf, START_GAUSSIAN, p, edges)
    found_one = gaussian(w)
    start = gaussian(torch.tensor(START_GAUSSIAN))
    start_mixture = mixture(torch.tensor(START_MIXTURE))
    reverse_gap = float(np.abs(found_reverse - one).max())

    return Finding(
        figures={
            "gaussian_gap": float(np.abs(found - likeliest).max()),
            "mixture_gap": float(np.abs(found_mixture - likeliest_mixture).max()),
            "wrong_model_gap": float(np.abs(found_one - one).max()),
            "reverse_gap": reverse_gap,
            "gaussian_from_truth": float(np.abs(found - TRUE_GAUSSIAN).max()),
            "mixture_from_truth": float(np.abs(found_mixture - TRUE_MIXTURE).max()),
        },
        series={
            "gaussian_path": gaussian_path[:300],
            "mixture_path": mixture_path[:300],
            "mixture": found_mixture,
            "forward": found_one,
            "reverse": found_reverse,
            "histogram": np.histogram(double, np.linspace(-5, 5, 81))[0],
        },
        nulls={
            "untrained": {
                "gaussian_gap": float(np.abs(start - likeliest).max()),
                "mixture_gap": float(np.abs(start_mixture - likeliest_mixture).max()),
                "wrong_model_gap": float(np.abs(start - one).max()),
            },
            "reverse": {"wrong_model_gap": reverse_gap},
        },
    )


def plot(figure: Figure, seeds: Seeds) -> None:
    """The divergence over the steps, and the densities found, for the first seed."""

    def bell(mean: float, deviation: float) -> np.ndarray:
        return np.exp(-(((x - mean) / deviation) ** 2) / 2) / deviation / math.sqrt(2 * math.pi)

    x, edges = np.linspace(-5, 5, 500), np.linspace(-5, 5, 81)
    left, right = figure.subplots(1, 2, width_ratios=[2, 3])
    s = seeds[0]["series"]
    for name, label in (("gaussian_path", "Gaussian"), ("mixture_path", "mixture of two")):
        left.semilogy(s[name], label=label)
    left.set(xlabel="step", ylabel="KL(data || Q), nats")
    left.legend(fontsize="small")
    heights = np.array(s["histogram"]) / SAMPLES / np.diff(edges)
    right.stairs(heights, edges, fill=True, color="0.8", label="data")
    weight, *both = s["mixture"]
    lines = {
        "mixture, minimum of KL(data || Q)": weight * bell(*both[:2])
        + (1 - weight) * bell(*both[2:]),
        "one Gaussian, minimum of KL(data || Q)": bell(*s["forward"]),
        "one Gaussian, minimum of KL(Q || data)": bell(*s["reverse"]),
    }
    for (label, y), style in zip(lines.items(), ("-", "-", "--")):
        right.plot(x, y, style, label=label)
    right.set(xlabel="x", ylabel="density", ylim=(0, 0.52))
    right.legend(loc="upper left", fontsize="small")


CLAIM = claim(__name__, experiment=experiment, plot=plot)
