"""CoGAN, its digits and edges: tied layers draw the same digit in both domains, though no pair was ever seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from torch.optim import Adam

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.claims.experiments.class_asked_is_class_drawn import as_bytes
from ganvas.claims.kit.unpaired_digits import as_tensor, gray_levels, shuffled_digits, two_domains
from ganvas.core import Run, rng
from ganvas.core.schedules import HalfLife
from ganvas.data.feed import Feed
from ganvas.engine.engine import Engine
from ganvas.methods import CoGAN
from ganvas.nets import cogan as nets

SIDE = 28
PAIRS = 1000  # sampled for the figures
SHOWN = 6  # of the plot
READINGS = 12  # of the curve
GAMES = {"coupled": (4, 3), "unshared": (0, 0)}  # tied layers of G and of D


def outlines(x: Tensor) -> Tensor:
    """Digits [N, 1, H, W] in [-1, 1] -> where they become brighter or darker: their dilation by 3x3 less themselves, four times
    as strong, in [-1, 1].
    """
    x = (x + 1) / 2
    return (4 * (max_pool2d(x, 3, 1, 1) - x)).clamp(0, 1) * 2 - 1


def digits_and_outlines() -> Feed:
    """One half of scikit-learn's digits, and the outlines of the other: the same split for every seed."""
    pixels, _, fingerprint = shuffled_digits(SIDE)
    half = len(pixels) // 2
    others = outlines(as_tensor(pixels[half : 2 * half]))
    return two_domains(
        "digits and outlines of other digits", pixels[:half], as_bytes(others), fingerprint
    )


def _run(seed: int, tied: tuple[int, int]) -> Run:
    """`cogan` at an eighth of the generators' width and half of the discriminators'. `tied`: layers of G and of D."""
    make = partial(Adam, betas=(0.5, 0.999))
    return Run(
        method=partial(
            CoGAN,
            G=partial(nets.Generators, widths=(128, 64, 32, 16), tied=tied[0]),
            D=partial(nets.Discriminators, widths=(10, 25, 250), tied=tied[1]),
        ),
        data=digits_and_outlines,
        optim={"G": partial(make, lr=1e-3), "D": partial(make, lr=5e-4)},
        batch=32,
        images=2400 * 32,
        ema=HalfLife(images=2_000),
        seed=seed,
    )


def experiment(seed: int) -> Finding:
    feed = digits_and_outlines()
    real = feed.fixed(PAIRS)
    figures: dict[str, float] = {}
    series: dict[str, Any] = {}
    for name, tied in GAMES.items():
        run = _run(seed, tied)
        engine = Engine(run, feed)
        series[name] = []
        reading = max(run.images // READINGS, run.batch)
        while engine.clock.images < run.images:
            engine.step()
            if engine.clock.images % reading < run.batch:
                series[name].append(agreement(*pairs(engine.model())))
        a, b = pairs(engine.model())
        figures[f"{name}_agreement"] = agreement(a, b)
        figures[f"{name}_by_chance"] = agreement(a, b.roll(1, 0))
        figures[f"{name}_edges"] = float((b > 0).float().mean() / (real.b > 0).float().mean())
        figures[f"{name}_variety"] = min(variety(a, real.a), variety(b, real.b))
        series[f"{name}_pairs"] = [gray_levels(a, SHOWN), gray_levels(b, SHOWN)]
    figures["data_by_chance"] = agreement(real.a, real.b)
    return Finding(figures, series)


@torch.no_grad()
def pairs(model: Any) -> tuple[Tensor, Tensor]:
    """Images of both domains of `PAIRS` latents, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.fold_in("pairs"))
        z = model.latent(PAIRS)
    of = [
        torch.cat([model.sample(len(p), z=p, y=torch.full((len(p),), y)) for p in z.split(100)])
        for y in (0, 1)
    ]
    return of[0], of[1]


def agreement(a: Tensor, b: Tensor) -> float:
    """The share of pixels in which the outlines of the digits a and the outlines b say the same, bright or dark."""
    return float(((outlines(a) > 0) == (b > 0)).float().mean())


def variety(x: Tensor, real: Tensor) -> float:
    """A pixel's standard deviation over the images, over that of real ones."""
    return float(x.std(0).mean() / real.std(0).mean())


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    """Agreement while training, of all seeds, and pairs of the first."""
    curves, *rows = figure.subplots(1, 3, width_ratios=(2, 3, 3))
    for colour, name in zip(("C0", "C3"), GAMES, strict=True):
        for i, s in enumerate(seeds):
            readings = s["series"][name]
            at = [(j + 1) / len(readings) for j in range(len(readings))]
            curves.plot(at, readings, color=colour, label=name if i == 0 else None)
    curves.axhline(
        seeds[0]["figures"]["data_by_chance"], color="gray", ls=":", label="two unlike digits"
    )
    curves.set(xlabel="share of the training", ylabel="pixel agreement", ylim=(0.5, 1))
    curves.legend(fontsize="small")
    for axes, name in zip(rows, GAMES, strict=True):
        a, b = (np.array(side) for side in seeds[0]["series"][f"{name}_pairs"])
        grid = np.stack([a, b], 1).reshape(SHOWN // 2, 4, *a.shape[1:])  # two pairs a row
        axes.imshow(grid.swapaxes(1, 2).reshape(-1, 4 * a.shape[2]), cmap="gray", vmin=0, vmax=255)
        axes.set(
            xticks=[],
            yticks=[],
            title=f"{name}: {seeds[0]['figures'][f'{name}_agreement']:.1%} agree",
        )


SEEN = "one exploratory run of the coupled game for 1,000 steps, with a seed that is not among those reported, had been seen "
SEEN += "when the bounds were set: "

CLAIM = Claim(
    name="coupled-pairs-agree",
    paper="Liu and Tuzel, 2016, Coupled Generative Adversarial Networks, arXiv:1606.07536",
    section="the experiments on digits",
    sentence="Two GANs whose layers near the latent are the same draw pairs of images of two domains that belong together, "
    "without a single pair in training.",
    experiment=experiment,
    experiment_in_words="Scikit-learn's 1,797 digits at 28 px: one half as they are, of the other half outlines (the dilation "
    "by 3x3 less the digit, four times as strong), so that no pair exists. CoGAN's networks at an eighth and half of their "
    "widths, 2,400 steps of 32 images of each domain, Adam 1e-3 for G and 5e-4 for D, no weight decay, averaged weights. The "
    "same game with two generators and two discriminators that share nothing is the control: the two still have the same z. As "
    "in the paper the outlines of a generated digit, by the very operation that made the training images, are compared with "
    "the generated outlines, pixel by pixel after binarising, over 1,000 pairs. Not the paper's: other digits than MNIST, at a "
    "smaller size.",
    checks=(
        Check(
            "coupled_agreement",
            ">=",
            0.9,
            SEEN + "0.84 and rising. Two unlike digits agree in 0.64; the paper has 0.95",
        ),
        Check(
            "unshared_agreement",
            "<=",
            0.75,
            "without a tie only what all digits have in common agrees, which is 0.64",
        ),
        Check("coupled_edges", ">=", 0.8, SEEN + "1.0. Black images agree, too, and have 0"),
        Check("coupled_variety", ">=", 0.7, SEEN + "0.91. One pair for every latent would have 0"),
    ),
    paper_figures={
        "CoGAN": "digits and edges: agreement 0.952; digits and negatives: 0.967",
        "a conditional GAN": "0.909 and 0.778",
    },
    figures_in_words={
        "coupled_agreement": "share of pixels that agree within pairs",
        "unshared_agreement": "the same of two GANs that share nothing",
        "coupled_by_chance": "share of pixels that agree between generated digits and other latents' outlines",
        "coupled_edges": "share of bright pixels in the generated outlines, over that of the data: blank images would agree",
        "coupled_variety": "a pixel's deviation over the images, over that of the data, in the domain where it is less",
        "data_by_chance": "agreement of real digits with real outlines of others",
    },
    plot=plot,
    minutes=8,
)
