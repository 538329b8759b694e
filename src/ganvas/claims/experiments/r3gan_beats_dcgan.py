"""R3GAN, section 4: a relativistic loss with both penalties, against DCGAN."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import torch
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run, rng
from ganvas.core.schedules import Cosine, HalfLife
from ganvas.data import Feed, images
from ganvas.methods import DCGAN, R3GAN
from ganvas.metrics.features import Statistics, extractor, feature_statistics
from ganvas.metrics.frechet import frechet_distance
from ganvas.nets import dcgan, r3gan

COUNT, PART = 10_000, 500  # images of each side of a distance
IMAGES = 1_500_000  # real images that each discriminator sees
WIDTHS = {"width": 192, "blocks": 1}


@cache
def cifar10() -> Feed:
    """CIFAR-10 without labels, half of the draws mirrored."""
    return images(place("cifar10"), size=32, flip=True, labels=False)


R3GAN_RUN = Run(
    method=partial(
        R3GAN,
        G=partial(r3gan.Generator, **WIDTHS),
        D=partial(r3gan.Discriminator, **WIDTHS),
        gamma=Cosine(0.05, 0.005, 2 * IMAGES),
    ),
    data=cifar10,
    optim={p: partial(Adam, lr=2e-4, betas=(0.0, 0.99)) for p in "GD"},
    batch=64,
    images=2 * IMAGES,  # the generator's update draws real images, too
    ema=HalfLife(images=50_000),
)
DCGAN_RUNS = [
    Run(
        method=partial(DCGAN, G=partial(dcgan.Generator), D=partial(dcgan.Discriminator)),
        data=cifar10,
        optim={p: partial(Adam, lr=lr, betas=(0.5, 0.999)) for p in "GD"},
        batch=64,
        images=IMAGES,
        ema=HalfLife(images=50_000),
    )
    for lr in (1e-4, 2e-4, 4e-4)
]


@cache
def real() -> Statistics:
    """Feature statistics of real images."""
    return feature_statistics(extractor("squeezenet"), cifar10().fixed(COUNT).x.split(PART))


@torch.no_grad()
def measure(trained: Trained) -> dict[str, float]:
    """The Fréchet distance of 10,000 samples over SqueezeNet."""
    with torch.random.fork_rng():
        torch.manual_seed(rng.fold_in(trained.seed, "samples"))
        fake = [trained.model.sample(PART).cpu() for _ in range(COUNT // PART)]
    features = feature_statistics(extractor("squeezenet"), fake)
    return {"frechet": frechet_distance(*real(), *features)}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """Both distances, and DCGAN's over R3GAN's."""
    return flat(arms) | {"ratio": arms["dcgan"]["frechet"] / arms["r3gan"]["frechet"]}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"r3gan": R3GAN_RUN, "dcgan": DCGAN_RUNS},
        controls=["dcgan"],
        measure=measure,
        figures=figures,
        series=lambda trained: {"samples": plots.pixels(trained.model.sample(12))},
        rank=lambda found: found["frechet"],
        device="cuda",
    ),
    plot=plots.pictures(
        {
            "R3GAN, Fréchet distance": lambda s: s["r3gan"]["samples"],
            "DCGAN, Fréchet distance": lambda s: s["dcgan"]["samples"],
        },
        {"R3GAN, Fréchet distance": "r3gan_frechet", "DCGAN, Fréchet distance": "dcgan_frechet"},
    ),
    ready=lambda: (cifar10(), extractor("squeezenet")),
)
