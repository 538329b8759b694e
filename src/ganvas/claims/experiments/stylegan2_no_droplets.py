"""StyleGAN2, section 2: instance norm makes droplets, demodulation does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from statistics import median

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.data import place
from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run, rng
from ganvas.core.schedules import HalfLife
from ganvas.data import Feed, images
from ganvas.methods import StyleGAN2
from ganvas.nets import stylegan, stylegan2

WIDTHS = [256, 256, 256, 128, 64]  # channels from 4 to 64 px
SAMPLES = 512
PART = 64
ALIKE = 1.25  # largest ratio of distances at which the two are compared
ADAM = partial(Adam, lr=2e-3, betas=(0.0, 0.99), eps=1e-8)


def flowers() -> Feed:
    """Photographs of flowers at 64 px, mirrored at random."""
    return images(place("flowers"), size=64, flip=True, labels=False)


@cache
def quality() -> Quality:
    """Distance from the flowers."""
    return Quality(flowers())


def run(G: Callable[..., nn.Module]) -> Run:
    """StyleGAN2's game without path lengths, for either generator."""
    return Run(
        method=partial(
            StyleGAN2,
            G=partial(G, latent=256, style=256, mapping=8, widths=WIDTHS),
            D=partial(stylegan2.Discriminator, widths=WIDTHS),
            r1_weight=10.0,
            pl_weight=0.0,
        ),
        data=flowers,
        optim={"G": ADAM, "D": ADAM},
        batch=32,
        images=1_000_000,
        ema=HalfLife(images=10_000),
    )


@torch.no_grad()
def measure(trained: Trained) -> Figures:
    """The largest excess of a layer, and the distance."""
    return {"excess": max(layers(trained)), "frechet": quality()(trained.model)}


@torch.no_grad()
def layers(trained: Trained) -> list[float]:
    """`excess` of the input of each layer's noise and norm, median over samples."""
    seen: dict[nn.Module, list[float]] = {}  # in the order of the layers' calls

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.setdefault(layer, []).extend(excess(inputs[0]).tolist())

    noises = (m for m in trained.model.G.modules() if isinstance(m, stylegan.Noise))
    hooks = [m.register_forward_pre_hook(look) for m in noises]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        for _ in range(SAMPLES // PART):
            trained.model.sample(PART)
    for hook in hooks:
        hook.remove()
    return [median(v) for v in seen.values()][1:]  # the first layer works on a constant


def excess(x: Tensor) -> Tensor:
    """How much the largest place of feature maps stands out, [N, C, H, W] -> [N].

    Every map is brought to mean 0 and variance 1; a place's size is the root mean
    square over the maps; the largest over the median. A droplet is a spike at one place
    of all maps that holds their variance.
    """
    maps = x.float() - x.float().mean((2, 3), keepdim=True)
    maps = maps / (maps.square().mean((2, 3), keepdim=True) + 1e-8).sqrt()
    sizes = maps.square().mean(1).sqrt().flatten(1)
    return sizes.amax(1) / sizes.median(1).values


def figures(arms: Mapping[str, Figures]) -> Figures:
    """The excess with instance normalization over that with demodulation.

    0 if the network with demodulation has not learned as well.
    """
    instance, demodulated = arms["instance"], arms["demodulated"]
    learned = demodulated["frechet"] <= ALIKE * instance["frechet"]
    return {
        "ratio": instance["excess"] / demodulated["excess"] if learned else 0.0,
        **{f"{arm}_{k}": v for arm, found in arms.items() for k, v in found.items()},
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"demodulated": run(stylegan2.Generator), "instance": run(stylegan.Generator)},
        controls=["instance"],
        measure=measure,
        figures=figures,
        series=lambda trained: {"excess": layers(trained)},
        device="cuda",
    ),
    plot=plots.bars(
        {"instance_excess": "instance norm", "demodulated_excess": "demodulation"},
        {"instance_frechet": "instance norm", "demodulated_frechet": "demodulation"},
        labels=("largest / median place, worst layer", "Fréchet distance"),
    ),
    ready=quality,
)
