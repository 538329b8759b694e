"""Wasserstein GAN, section 4.3: a generator without batch norm learns from a critic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

from torch.optim import Adam, Optimizer, RMSprop

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Method, Run
from ganvas.data import images
from ganvas.methods import DCGAN, WGAN
from ganvas.nets import dcgan as nets

G = partial(nets.Generator, width=16, latent=32, norm=False)
D = partial(nets.Discriminator, width=16)
DIGITS = partial(images, "digits", size=16)


def run(method: Callable[..., Method], optimizer: Callable[..., Optimizer], images: int) -> Run:
    """Both arms have the same networks."""
    return Run(
        method=partial(method, G=G, D=D),
        data=DIGITS,
        optim=dict.fromkeys("GD", optimizer),
        batch=64,
        images=images,
    )


@cache
def quality() -> Quality:
    """The distance to the real digits."""
    return Quality(DIGITS())


def measure(trained: Trained) -> dict[str, float]:
    """The Fréchet distance of 1,024 samples."""
    return {"frechet": quality()(trained.model)}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """Both distances and their ratio."""
    ratio = arms["gan"]["frechet"] / arms["wgan"]["frechet"]
    return flat(arms) | {"gan_over_wgan": ratio}


WGAN_RUN = run(
    partial(WGAN, long=25, first=5, every=100), partial(RMSprop, lr=5e-4), images=64 * 5 * 1000
)
GAN_RUNS = [
    run(DCGAN, optimizer, images=64 * 2000)
    for optimizer in (
        partial(Adam, lr=2e-4, betas=(0.5, 0.999)),  # DCGAN's
        partial(Adam, lr=5e-5, betas=(0.5, 0.999)),
        partial(RMSprop, lr=5e-4),  # that of the other arm
        partial(RMSprop, lr=5e-5),
    )
]

CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"wgan": WGAN_RUN, "gan": GAN_RUNS},
        controls=["gan"],
        measure=measure,
        figures=figures,
        series=lambda trained: {"samples": plots.pixels(trained.model.sample(16), 16)},
        rank=lambda found: found["frechet"],
    ),
    plot=plots.pictures(
        {
            "clipped weights, Fréchet distance": lambda s: s["wgan"]["samples"],
            "the loss of 2014, best of four optimizers": lambda s: s["gan"]["samples"],
        },
        {
            "clipped weights, Fréchet distance": "wgan_frechet",
            "the loss of 2014, best of four optimizers": "gan_frechet",
        },
    ),
)
