"""BigGAN, section 4.1: what singular values do before and at a collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch.optim import Adam

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.claims.kit.quality import Quality
from ganvas.core import Run
from ganvas.core.errors import NumericalError
from ganvas.core.schedules import Ramp
from ganvas.data import images
from ganvas.engine.engine import Engine
from ganvas.methods import SAGAN
from ganvas.nets import biggan as nets
from ganvas.nets.spectral import singular_values

READINGS = 40
COUNT = 256  # samples of a reading
FAST = 50.0  # times the calm run's rates, at the end
WINDOW = 5  # readings before the collapse


def _run(gain: float, seed: int) -> Run:
    """Rates rise linearly, to `gain` times what they were."""
    adam = partial(Adam, betas=(0.5, 0.9))
    return Run(
        method=partial(
            SAGAN,
            G=partial(
                nets.Generator,
                latent=32,
                width=6,
                shared=0,
                split=False,
                attention=[],
                init="glorot",
            ),
            D=partial(nets.Discriminator, width=6, attention=[], init="glorot"),
            labels=False,
            sigma_every=0,
        ),
        data=partial(images, "digits", size=16),
        optim={"G": partial(adam, lr=2e-4), "D": partial(adam, lr=8e-4)},
        batch=32,
        images=20_000,
        lr=Ramp(1.0, gain, 20_000),
        seed=seed,
    )


def experiment(seed: int) -> Finding:
    curves = {"calm": _curve(_run(1.0, seed)), "fast": _curve(_run(FAST, seed))}
    return Finding(scores(curves["calm"], curves["fast"]), curves)


def _curve(run: Run) -> dict[str, Any]:
    """The distance at each reading, and the largest singular value of each of G's layers."""
    engine = Engine(run, run.data())
    quality = Quality(engine.feed, COUNT)
    G = engine.method.get_submodule("G")
    curve: dict[str, Any] = {"images": [], "frechet": [], "sigma0": {}}
    for reading in range(1, READINGS + 1):
        try:
            while engine.clock.images < run.images * reading // READINGS:
                engine.step()
        except NumericalError:
            break
        curve["images"].append(engine.clock.images)
        curve["frechet"].append(quality(engine.model()))
        for name, value in singular_values(G, 1).items():
            curve["sigma0"].setdefault(name.removeprefix("sigma0/"), []).append(float(value))
    return curve


def scores(calm: Mapping[str, Any], fast: Mapping[str, Any]) -> dict[str, float]:
    """`collapse`: the fast run's last distances over its best, the median of the last three. `growth`: of the layer that
    grew most, from the best reading to the last, sigma0 there over here. `calm_growth`: the same of the calm run, from its
    reading of as many images to its last. `first_layer_growth`: of G's first layer in the fast run. `before`: the fast run's
    `growth` within the `WINDOW` readings that end at its best one, when nothing is to be seen in the samples.
    """
    best = min(range(len(fast["frechet"])), key=fast["frechet"].__getitem__)
    last = sorted(fast["frechet"][-3:])[len(fast["frechet"][-3:]) // 2]
    grown = {name: values[-1] / values[best] for name, values in fast["sigma0"].items()}
    start = max(best - WINDOW, 0)
    at = min(best, len(calm["frechet"]) - 1)
    return {
        "collapse": last / fast["frechet"][best],
        "calm_frechet": calm["frechet"][-1],
        "growth": max(grown.values()),
        "first_layer_growth": grown["input"],
        "calm_growth": max(values[-1] / values[at] for values in calm["sigma0"].values()),
        "before": max(values[best] / values[start] for values in fast["sigma0"].values()),
        "best_at": float(fast["images"][best]),
    }


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    """Above, distances; below, the singular values of G's layers, the first in red; for the first seed."""
    axes = figure.subplots(2, 2, sharex=True)
    for column, name in enumerate(("calm", "fast")):
        top, below = axes[0, column], axes[1, column]
        for s in seeds:
            curve = s["series"][name]
            top.plot(curve["images"], curve["frechet"], label=f"seed {s['seed']}")
        first = seeds[0]["series"][name]
        for layer, values in first["sigma0"].items():
            below.plot(
                first["images"], values, color="C3" if layer == "input" else "0.6", linewidth=1
            )
        top.set(title=name, ylabel="Fréchet distance", yscale="log")
        below.set(xlabel="real images drawn", ylabel="sigma0 of G's layers", yscale="log")
        top.legend()


CLAIM = Claim(
    name="singular-values-tell",
    paper="Brock et al., 2018, Large Scale GAN Training for High Fidelity Natural Image Synthesis, arXiv:1809.11096",
    section="section 4.1, figure 3 and appendix F",
    sentence="When training collapses, the largest singular values of G's layers, its first above all, have grown through "
    "training and explode; they are a symptom by which a collapse is seen, not its cause.",
    experiment=experiment,
    experiment_in_words="Digits (scikit-learn's 1,797) at 16 px without labels; SAGAN's networks at width 6 without attention, "
    "20,000 images in batches of 32, Adam with betas (.5, .9) at rates of 2e-4 for G and 8e-4 for D (calm), or rising linearly "
    "from those to fifty times as much (fast), which breaks after a good start. At 40 readings of each the Fréchet distance of "
    "256 samples over random-conv-v1 and the largest singular value of each of G's layers before normalisation. Not the "
    "paper's: its collapse came of itself after 100,000 steps at large batches. Seen while the sizes were chosen, with seed "
    "100: rates twenty times as high from the start and betas (0, .9) gave a run that was never good; five to ten times as "
    "high broke nothing; with rising rates one layer's sigma0 grew by a factor of 1.6, and the first one's by 1.1.",
    checks=(
        Check(
            "collapse",
            ">=",
            2.0,
            "without a collapse there is nothing to tell: the fast run must end twice as far away as it was at best",
        ),
        Check(
            "growth",
            ">=",
            1.5,
            "explode: half as large again at least, of the layer that grew most, since the run was best",
            over="median",
        ),
        Check(
            "first_layer_growth",
            ">=",
            1.5,
            "the paper: the first layer above all; the same bound",
            over="median",
        ),
        Check(
            "calm_growth",
            "<",
            1.5,
            "where a run that goes well shows the same, it tells nothing",
            over="median",
        ),
    ),
    paper_figures={
        "figure 3": "most layers' sigma0 well-behaved, the first layer's grows throughout and explodes at collapse"
    },
    plot=plot,
    minutes=4,
)
