"""SinGAN, figures 3 and 8: a pyramid of patch generators, and where sampling starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from math import log, log10
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, unfold
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.data import place
from ganvas.claims.kit.quality import rank_correlation
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run
from ganvas.data import Feed, images
from ganvas.methods import SinGAN
from ganvas.methods.singan import pyramid
from ganvas.nets import singan as nets

SIZE = (48, 72)
COARSEST, FACTOR = 25, 0.75
SCALES = len(pyramid(SIZE, COARSEST, FACTOR))
STEPS = 300  # of each scale; the single scale has those of all
SAMPLES = 32
PATCH, DIRECTIONS = 7, 256  # of texture
COARSE = (3, 4)  # pixels, of large shapes
PHOTOGRAPH = "sunflower.bmp"


@cache
def photograph() -> Feed:
    """One photograph: a sunflower in a field."""
    whole = images(place("photos"), size=SIZE, flip=False, labels=False)
    names = sorted(p.name for p in Path(place("photos")).iterdir())
    x = whole.raw()["x"][names.index(PHOTOGRAPH)][None]
    return Feed(replace(whole.info, count=1), {"x": x})


def run(coarsest: int, steps: int) -> Run:
    """The recipe `singan` with fewer steps. `steps`: of each scale."""
    adam = partial(Adam, lr=5e-4, betas=(0.5, 0.999))
    scales = len(pyramid(SIZE, coarsest, FACTOR))
    return Run(
        method=partial(
            SinGAN,
            G=partial(nets.Generators),
            D=partial(nets.Discriminators),
            images=steps,
            coarsest=coarsest,
            factor=FACTOR,
        ),
        data=photograph,
        optim={"D": adam, "G": adam},
        batch=1,
        images=scales * steps,
    )


@torch.no_grad()
def samples(model: SinGAN, start: int) -> Tensor:
    """Samples [n, 3, h, w]: z* before the scale `start`, new noise from it on."""
    maps = model.maps(model.latent(SAMPLES))
    fixed = [model.anchor, *(torch.zeros_like(m[:1]) for m in maps[1:])]
    chosen = [
        f.expand(SAMPLES, -1, -1, -1) if i < start else m
        for i, (m, f) in enumerate(zip(maps, fixed, strict=True))
    ]
    return model.compose(chosen, len(maps) - 1).clamp(-1, 1)


def texture(made: Tensor, real: Tensor) -> float:
    """Sliced Wasserstein distance between patches of images and of the photograph.

    The mean over the images `made`, over the same random directions for all.
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(real.shape[1] * PATCH**2, DIRECTIONS, generator=generator)
    directions /= directions.norm(dim=0)
    a, b = ((unfold(x, PATCH).mT @ directions).sort(dim=1).values for x in (made, real))
    return float((a - b).abs().mean())


def shapes(made: Tensor, real: Tensor) -> float:
    """Contrast of images `made` at 3 x 4 px over that of the photograph.

    1: shapes as large as its own; less: they are smaller, and averaged away; 0: one
    color. The mean standard deviation over the channels and images.
    """
    a, b = (adaptive_avg_pool2d(x, COARSE).std((2, 3)).mean() for x in (made, real))
    return float(a / b)


@torch.no_grad()
def measure(trained: Trained) -> dict[str, float]:
    """Large shapes, distance of texture, PSNR of the reconstruction, diversities."""
    model, real = trained.model, photograph().fixed(1).x
    last = len(model.sizes) - 1
    rebuilt = model.reconstruction(last).clamp(-1, 1)
    made = [samples(model, start) for start in range(last + 1)]
    spread = [float(x.mean(1).std(0).mean() / real.mean(1).std()) for x in made]
    return {
        "shapes": shapes(made[0], real),
        "texture": texture(made[0], real),
        "psnr": 10 * log10(4 / max(float((rebuilt - real).square().mean()), 1e-9)),
        "diversity_order": rank_correlation(range(last + 1), spread),
        **{f"diversity_{start}": value for start, value in enumerate(spread)},
    }


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """All measures, and how much nearer the pyramid's contrast of large shapes is."""
    off = {arm: abs(log(max(found["shapes"], 1e-3))) for arm, found in arms.items()}
    return flat(arms) | {"shapes_kept": off["single"] - off["pyramid"]}


def series(trained: Trained) -> dict[str, object]:
    """Samples, and of the pyramid also those that start at finer scales."""
    starts = range(len(trained.model.sizes))
    rows: dict[str, object] = {
        f"from_{n}": plots.pixels(samples(trained.model, n), 6) for n in starts
    }
    return rows | {"real": plots.pixels(photograph().fixed(1).x)}


def ready() -> None:
    """Raises `UserError` if the photograph is missing."""
    photograph()


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"pyramid": run(COARSEST, STEPS), "single": run(SIZE[0], SCALES * STEPS)},
        controls=["single"],
        measure=measure,
        figures=figures,
        series=series,
    ),
    plot=plots.pictures(
        {
            "the photograph": lambda s: s["pyramid"]["real"],
            "all scales from noise; diversity": lambda s: s["pyramid"]["from_0"],
            "from the second scale; diversity": lambda s: s["pyramid"]["from_1"],
            "from the third scale; diversity": lambda s: s["pyramid"]["from_2"],
            "a single scale; diversity": lambda s: s["single"]["from_0"],
        },
        {
            "all scales from noise; diversity": "pyramid_diversity_0",
            "from the second scale; diversity": "pyramid_diversity_1",
            "from the third scale; diversity": "pyramid_diversity_2",
            "a single scale; diversity": "single_diversity_0",
        },
    ),
    ready=ready,
)
