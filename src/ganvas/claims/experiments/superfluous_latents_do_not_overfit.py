"""Auto-encoding variational Bayes, section 5: superfluous latents do not overfit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import torch
from matplotlib.figure import Figure
from torch.optim import Adam

from ganvas.claims.claim import Seeds, claim
from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run, rng
from ganvas.data import Feed, images
from ganvas.data.pictures import Part
from ganvas.methods import VAE
from ganvas.nets import autoencoder as nets

LATENTS = (3, 5, 10, 20, 200)  # the paper's
TESTED = 5_000  # images of each part


@cache
def mnist(part: Part = "train") -> Feed:
    """MNIST at its 28 px."""
    return images(place("mnist"), size=28, part=part, labels=False)


def run(latent: int) -> Run:
    """The paper's perceptrons with 500 hidden units."""
    return Run(
        method=partial(
            VAE, Enc=partial(nets.MLPEncoder), Dec=partial(nets.MLPDecoder), latent=latent
        ),
        data=mnist,
        optim={"VAE": partial(Adam, lr=1e-3)},
        batch=100,
        images=2_000_000,
    )


@torch.no_grad()
def measure(trained: Trained) -> dict[str, float]:
    """Lower bound of the log likelihood, nats an image, and its loss on test images.

    The images of training that are measured are fixed; one sample of q for each image.
    """
    bounds = []
    for feed in (trained.feed, mnist("test")):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(rng.fold_in(trained.seed, "bound"))
            bounds.append(-float(trained.model.loss(feed.fixed(TESTED)).loss))
    return {"bound": bounds[1], "gap": bounds[0] - bounds[1]}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """What of the gain from 3 to 20 latents is left at 200, and the further gap."""
    few, many, superfluous = (arms[f"latents_{n}"] for n in (3, 20, 200))
    gain = max(many["bound"] - few["bound"], 1.0)  # nats; an untrained model has none
    return flat(arms) | {
        "gain_kept": (superfluous["bound"] - few["bound"]) / gain,
        "further_gap": superfluous["gap"] - many["gap"],
    }


def plot(figure: Figure, seeds: Seeds) -> None:
    """The bound on both parts against the number of latents, all seeds."""
    axes = figure.subplots()
    for s in seeds:
        test = [s["figures"][f"latents_{n}_bound"] for n in LATENTS]
        train = [b + s["figures"][f"latents_{n}_gap"] for n, b in zip(LATENTS, test, strict=True)]
        for color, (name, values) in enumerate({"training": train, "test": test}.items()):
            label = f"{name} images" if s is seeds[0] else None
            axes.plot(LATENTS, values, ".-", color=f"C{color}", label=label)
    axes.set(xscale="log", xlabel="latents", ylabel="lower bound, nats an image")
    axes.legend()


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={f"latents_{n}": run(n) for n in LATENTS},
        controls=["latents_3"],
        measure=measure,
        figures=figures,
    ),
    plot=plot,
    ready=mnist,
)
