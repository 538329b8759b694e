"""Open question 6: steps that larger batches save, and the gradients' noise scale."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.core import Batch, Run, rng
from ganvas.core.errors import NumericalError
from ganvas.core.schedules import HalfLife
from ganvas.data.toy import Points, gaussian_ring_feed
from ganvas.engine.engine import Engine
from ganvas.methods import DCGAN
from ganvas.nets import toy_points

SIGMA = 0.1  # of each of the 8 modes, on a circle of radius 1
BATCHES = (8, 32, 128, 512)
RATES = (0.002, 0.008, 0.032, 0.128)  # Adam's; the i-th batch's in proportion to its size
TARGET = 0.08  # distance
STEPS, READ = 1_500, 25  # at most, and from one reading to the next
AVERAGE = 20  # steps, half-life of the averaged weights
JUDGED, DIRECTIONS = 4_096, 16  # points of a distance, and lines on which they are compared
PARTS, PART = 16, 256  # batches of an estimate of the noise
NOISY, NOISE_EVERY = BATCHES[1:], 50  # batches whose runs are estimated, and steps between

Terms = Mapping[str, tuple[float, float]]  # player -> (tr S, |G|^2)
Steps = Mapping[tuple[int, float], int]  # (batch, rate) -> steps to the target


@cache
def ring() -> Points:
    """Points of the 8 Gaussians."""
    return gaussian_ring_feed(sigma=SIGMA)


def run(batch: int, rate: float) -> Run:
    """The loss of 2014 with R1, small perceptrons, and both players' rate."""
    return Run(
        method=partial(
            DCGAN,
            G=partial(toy_points.Generator, latent=4, width=64, layers=3, norm=False, std=None),
            D=partial(toy_points.Discriminator, units=64, pieces=2, layers=2, std=None),
            r1_weight=0.1,
        ),
        data=ring,
        optim={p: partial(Adam, lr=rate, betas=(0.0, 0.99)) for p in "GD"},
        batch=batch,
        images=STEPS * batch,
        ema=HalfLife(images=AVERAGE * batch, ramp=None),
    )


def projected(x: Tensor) -> Tensor:
    """Points [N, ...] on each of the lines, sorted: [N, DIRECTIONS]."""
    angle = torch.arange(DIRECTIONS) * (math.pi / DIRECTIONS)
    return (x.flatten(1) @ torch.stack([angle.cos(), angle.sin()])).sort(0).values


@cache
def real() -> Tensor:
    """Points of the data, projected."""
    return projected(ring().fixed(JUDGED).x)


@torch.no_grad()
def distance(engine: Engine) -> float:
    """Sliced Wasserstein distance of order 1 of samples from the data."""
    model: Any = engine.model()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in("distance"))
        fake = model.sample(JUDGED)
    return float((projected(fake) - real()).abs().mean())


@dataclass
class Approach:
    """A run on its way to the target.

    steps: to the first of two readings in a row within the target; `STEPS` if there are
        none
    distances: at the start and at every reading
    noise: terms at the start and every `NOISE_EVERY` steps, if asked for
    """

    steps: int
    distances: list[float] = field(default_factory=list)
    noise: list[Terms] = field(default_factory=list)


def approach(run: Run, seed: int, noisy: bool = False) -> Approach:
    """Train until the target, for `STEPS` steps, or until a loss is not finite.

    noisy: also estimate the noise
    """
    engine = Engine(replace(run, seed=seed), run.data())
    found = Approach(STEPS)
    while True:
        if engine.clock.step % READ == 0:
            found.distances.append(distance(engine))
            if all(d <= TARGET for d in found.distances[-2:]):
                found.steps = max(engine.clock.step - READ, 1)
                return found
        if noisy and engine.clock.step % NOISE_EVERY == 0:
            found.noise.append(noise_terms(engine, seed))
        if engine.clock.step >= STEPS:
            return found
        try:
            engine.step()
        except NumericalError:
            return found


def noise_terms(engine: Engine, seed: int) -> Terms:
    """(tr S, |G|^2) of each player's gradient, both without bias.

    S: covariance of the gradient of one sample
    G: mean gradient; its estimate may fall below 0 where it is small
    """
    method: Any = copy.deepcopy(engine.method).eval().requires_grad_(True)
    losses: dict[str, Callable[[Batch], Tensor]] = {
        "D": lambda batch: method.penalized_d_loss(batch).loss,
        "G": lambda batch: method.g_loss(batch).loss,
    }
    place = (seed, "noise", engine.run.batch, engine.clock.step)
    found = {}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(*place))
        for player, loss in losses.items():
            weights = list(method.get_submodule(player).parameters())
            gradients = torch.stack(
                [
                    torch.cat([g.flatten() for g in torch.autograd.grad(loss(batch), weights)])
                    for batch in batches(method, rng.fold_in(*place))
                ]
            ).double()
            noise = PART * float(gradients.var(0).sum())
            signal = float(gradients.mean(0).square().sum()) - noise / (PARTS * PART)
            found[player] = (noise, signal)
    return found


def batches(method: DCGAN, seed: int) -> Iterator[Batch]:
    """Real points with as many generated ones."""
    for i in range(PARTS):
        batch = ring().draw(i * PART, PART, seed=seed)
        yield batch.having(**method.fake(batch))


def noise_scale(terms: Sequence[Terms], player: str) -> float:
    """The simple noise scale tr S / |G|^2 of several estimates, means of both first.

    McCandlish et al., 2018, arXiv:1812.06162, section 2.2. At most ten times the
    samples of an estimate: a smaller |G| cannot be told from 0.
    """
    noise, signal = (sum(t[player][i] for t in terms) for i in range(2))
    most = 10.0 * PARTS * PART
    return min(noise / signal, most) if signal > 0 else most


def critical_batch(steps: Sequence[int]) -> float:
    """B of steps = least (1 + B / batch), for the steps of each of `BATCHES`.

    Section 2.3 of the same, by least squares of the logarithms; 0.1 to 10,000.
    """
    log_steps = torch.tensor(steps).double().log()
    candidates = torch.logspace(-1, 4, 501).double()
    shape = (1 + candidates[:, None] / torch.tensor(BATCHES)).log()
    return float(candidates[(log_steps - shape).var(1).argmin()])


def savings(steps: Steps) -> dict[str, float]:
    """What larger batches save, each at its best rate."""
    best = {b: min(RATES, key=lambda rate, b=b: steps[b, rate]) for b in BATCHES}
    least = [steps[b, best[b]] for b in BATCHES]
    small, large = least[0] / least[2], least[2] / least[3]
    return {
        "small_saving": small,
        "large_saving": large,
        "saving_lost": math.log(small, BATCHES[2] / BATCHES[0])
        - math.log(large, BATCHES[3] / BATCHES[2]),
        "rate_growth": best[BATCHES[-1]] / best[BATCHES[0]],
        "critical": critical_batch(least),
        **{f"steps_{b}": n for b, n in zip(BATCHES, least, strict=True)},
        **{f"rate_{b}": best[b] for b in BATCHES},
        **{f"unscaled_{b}": steps[b, RATES[0]] for b in BATCHES},
        **{f"scaled_{b}": steps[b, rate] for b, rate in zip(BATCHES, RATES, strict=True)},
    }


def noise_figures(
    critical: float, late: Sequence[Terms], start: Sequence[Terms]
) -> dict[str, float]:
    """Noise scales late in the runs and at the start; D's against `critical`."""
    scales = {p: (noise_scale(late, p), noise_scale(start, p)) for p in "DG"}
    return {
        **{f"{p}_noise": then for p, (then, _) in scales.items()},
        **{f"{p}_growth": then / first for p, (then, first) in scales.items()},
        "noise_off": abs(math.log10(scales["D"][0] / critical)),
    }


def experiment(seed: int) -> Finding:
    """Train with every batch and rate; estimate the noise at the lowest rate."""
    found = {
        (b, rate): approach(run(b, rate), seed, noisy=rate == RATES[0] and b in NOISY)
        for b in BATCHES
        for rate in RATES
    }
    steps = {key: a.steps for key, a in found.items()}
    saved = savings(steps)
    noise = [found[b, RATES[0]].noise for b in NOISY]
    start = [terms[0] for terms in noise]
    late = [t for terms in noise for t in terms[(len(terms) + 1) // 2 :] or terms[-1:]]
    never = savings(dict.fromkeys(steps, STEPS))
    alike = savings({(b, rate): steps[BATCHES[0], rate] for b, rate in steps})
    return Finding(
        {**saved, **noise_figures(saved["critical"], late, start)},
        {
            "steps": {f"{rate:g}": [steps[b, rate] for b in BATCHES] for rate in RATES},
            "noise": {
                str(b): {p: [noise_scale([t], p) for t in terms] for p in "DG"}
                for b, terms in zip(NOISY, noise, strict=True)
            },
        },
        {
            "untrained": {**never, **noise_figures(saved["critical"], start, start)},
            "batches_of_8": alike,
        },
    )


def plot(figure: Figure, seeds: Seeds) -> None:
    """Steps by the batch, a color for each rate; noise scales along the runs."""
    left, right = figure.subplots(1, 2)
    for s in seeds:
        for i, (rate, steps) in enumerate(s["series"]["steps"].items()):
            label = f"rate {rate}" if s is seeds[0] else None
            left.loglog(BATCHES, steps, "o-", color=f"C{i}", linewidth=1, label=label)
        for scales in s["series"]["noise"].values():
            for i, values in enumerate(scales.values()):
                at = [NOISE_EVERY * k for k in range(len(values))]
                right.semilogy(at, values, color=f"C{i}", linewidth=0.7)
        right.axhline(s["figures"]["critical"], color="k", linestyle=":", linewidth=1)
    left.set(xlabel="batch", ylabel=f"steps to the distance, at most {STEPS:,}")
    left.legend(fontsize="small")
    right.plot([], color="C0", label="D")
    right.plot([], color="C1", label="G")
    right.plot([], "k:", label="critical batch, fitted")
    right.set(xlabel="steps", ylabel=f"noise scale, rate {RATES[0]:g}")
    right.legend(fontsize="small")


CLAIM = claim(__name__, experiment=experiment, plot=plot)
