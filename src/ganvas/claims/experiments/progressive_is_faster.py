"""Progressive growing, section 6.2: growing networks need less time than full ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache, partial
from statistics import median

from torch.optim import Adam

from ganvas.claims.claim import Finding, claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Figures, Trained, train
from ganvas.core import Run
from ganvas.core.schedules import HalfLife
from ganvas.data import images
from ganvas.engine.engine import Engine
from ganvas.methods import ProGAN
from ganvas.nets import progan

SIDE = 32  # pixels
WIDTHS = [32, 32, 32, 16]  # channels at 4, 8, 16 and 32 px
PHASE = 5_000  # images of each fading and each holding
READINGS = 40
TIMED = 6  # steps at each resolution
LETTERS = partial(images, "letters", size=SIDE, labels=False)


def run(start: int, length: int, hold: int = PHASE) -> Run:
    """The same networks, growing from `start` pixels, for `length` images."""
    adam = partial(Adam, betas=(0.0, 0.99))
    return Run(
        method=partial(
            ProGAN,
            G=partial(progan.ProgressiveGenerator, latent=64, widths=WIDTHS),
            D=partial(progan.ProgressiveDiscriminator, widths=WIDTHS),
            fade=PHASE,
            hold=hold,
            start=start,
        ),
        data=LETTERS,
        optim={"G": partial(adam, lr=1e-3), "D": partial(adam, lr=4e-3)},
        batch=32,
        images=length,
        ema=HalfLife(images=1_000, ramp=None),
    )


RUNS = {"full": run(SIDE, 60_000), "growing": run(4, 80_000)}


@cache
def quality() -> Quality:
    """Distance from the letters."""
    return Quality(LETTERS())


def read(engine: Engine, logged: Mapping[str, list[float]]) -> Figures:
    """The distance; samples of networks that are still small are enlarged."""
    return {"frechet": quality()(engine.model())}


def experiment(seed: int) -> Finding:
    """Both runs, timed by the cost of an image at each resolution."""
    costs = seconds_per_image()
    curves, nulls = {}, {}
    for name, its in RUNS.items():
        trained = train(its, seed, name=name, readings=READINGS, read=read)
        curves[name] = curve(trained, costs)
    twin = train(RUNS["growing"], seed, readings=READINGS, read=read, steps=False)
    cheap = costs[SIDE] / costs[4]
    for name, other in (("untrained", curve(twin, costs)), ("full", curves["full"])):
        nulls[name] = race(curves["full"], other)
    return Finding({**race(curves["full"], curves["growing"]), "cheap": cheap}, curves, nulls)


def seconds_per_image() -> dict[int, float]:
    """Processor time of a training step over its images, at each resolution."""
    costs = {}
    for resolution in (4 << i for i in range(len(WIDTHS))):
        its = run(resolution, 1, hold=10**9)  # never grows
        engine = Engine(its, its.data())
        spent = []
        for _ in range(TIMED):
            began = time.process_time()
            engine.step()
            spent.append(time.process_time() - began)
        costs[resolution] = median(spent) / its.batch
    return costs


def curve(trained: Trained, costs: Mapping[int, float]) -> dict[str, list[float]]:
    """Images, seconds and smoothed distances of a run's readings."""
    count = trained.curve("images")
    start = trained.model.growth.start
    return {
        "images": count,
        "seconds": [spent(start, n, costs) for n in count],
        "frechet": smoothed(trained.curve("frechet")),
    }


def spent(start: int, count: float, costs: Mapping[int, float]) -> float:
    """Time of the first `count` images of a run that grows from `start` pixels.

    The first resolution has one phase, each other one two; the last has all the rest.
    """
    total, left = 0.0, count
    for resolution in sorted(r for r in costs if r >= start):
        phase = PHASE if resolution == start else 2 * PHASE
        here = left if resolution == max(costs) else min(left, phase)
        total, left = total + here * costs[resolution], left - here
    return total


def race(
    full: Mapping[str, Sequence[float]], growing: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """How many times sooner the growing run is as near as the full run is at its end.

    speedup: over the time at which the full run is there to stay; 0 if the other one
        does not get there
    """
    target = full["frechet"][-1]
    own, its = (settled(c["seconds"], c["frechet"], target) for c in (full, growing))
    return {
        "speedup": own / its if own and its else 0.0,
        "full_frechet": target,
        "growing_frechet": growing["frechet"][-1],
        "full_seconds": full["seconds"][-1],
        "growing_seconds": growing["seconds"][-1],
    }


def smoothed(values: Sequence[float]) -> list[float]:
    """Running medians of 3; the ends take those beside them."""
    inner = [median(values[i - 1 : i + 2]) for i in range(1, len(values) - 1)]
    return [inner[0], *inner, inner[-1]]


def settled(seconds: Sequence[float], values: Sequence[float], target: float) -> float | None:
    """Time from which on all values are at or below `target`; None if there is none."""
    when = None
    for t, value in zip(reversed(seconds), reversed(values), strict=True):
        if value > target:
            break
        when = t
    return when


CLAIM = claim(
    __name__,
    experiment=experiment,
    plot=plots.curves(
        {("full", "frechet"): "full size from the start", ("growing", "frechet"): "growing"},
        labels=("Fréchet distance",),
        x="seconds",
        log=True,
    ),
)
