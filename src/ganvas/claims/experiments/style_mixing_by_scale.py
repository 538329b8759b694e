"""StyleGAN, section 3.1: coarse styles decide what is in a picture, fine ones how it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, normalize

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.claims.kit.small_stylegan import STYLEGAN, trained
from ganvas.core import rng

PAIRS = 1000
SCALES = ("coarse", "middle", "fine")  # styles of 4, 8 and 16 px, two each
BLOCK = 4  # pixels: what is low is what is left of 16 px at 4 px


def experiment(seed: int) -> Finding:
    model, quality = trained(STYLEGAN, seed)
    figures = exchanged(model, seed)
    return Finding(
        {**figures, "gain": quality["first"] / quality["last"], "frechet": quality["last"]}
    )


@torch.no_grad()
def exchanged(model: Any, seed: int) -> dict[str, float]:
    """What changes in pictures where the styles of one scale are another picture's."""
    torch.manual_seed(rng.fold_in(seed, "pairs"))
    one, other = (model.styles(model.latent(PAIRS)) for _ in range(2))
    kept, all_changed = model.synthesize(one), model.synthesize(other)
    whole = energies(all_changed - kept)
    figures: dict[str, float] = {}
    for i, scale in enumerate(SCALES):
        w = one.clone()
        w[:, 2 * i : 2 * i + 2] = other[:, 2 * i : 2 * i + 2]
        mixed = model.synthesize(w)
        low, high = (a / b for a, b in zip(energies(mixed - kept), whole, strict=True))
        figures |= {f"{scale}_low": low, f"{scale}_high": high}
        figures |= {
            f"{scale}_own": correlation(mixed, kept),
            f"{scale}_other": correlation(mixed, all_changed),
        }
    figures["layout"] = figures["coarse_low"] / figures["fine_low"]
    figures["follows"] = figures["coarse_other"] - figures["coarse_own"]
    figures["tilt"] = (
        figures["fine_high"]
        / figures["fine_low"]
        / (figures["coarse_high"] / figures["coarse_low"])
    )
    return figures


def correlation(a: Tensor, b: Tensor) -> float:
    """Of the pixels of two pictures, the mean over pairs [N, C, H, W]: blind to brightness and contrast."""
    a, b = (normalize(x.flatten(1) - x.flatten(1).mean(1, keepdim=True)) for x in (a, b))
    return float((a * b).sum(1).mean())


def energies(change: Tensor) -> tuple[float, float]:
    """Mean squares of a change [N, C, H, W]: of what is left of it in the means of 4x4 pixels, and of the rest."""
    low = interpolate(avg_pool2d(change, BLOCK), scale_factor=float(BLOCK))
    return float(low.square().mean()), float((change - low).square().mean())


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    """How much of the whole change each scale's styles make, below and above 4 px; a bar's line is the seeds' range."""
    axes = figure.subplots(1, 1)
    for offset, band in ((-0.2, "low"), (0.2, "high")):
        shares = [[s["figures"][f"{scale}_{band}"] for s in seeds] for scale in SCALES]
        means = [sum(values) / len(values) for values in shares]
        axes.bar([i + offset for i in range(len(SCALES))], means, width=0.4, label=band)
        for i, values in enumerate(shares):
            axes.plot([i + offset] * 2, [min(values), max(values)], color="black")
    axes.set_xticks(range(len(SCALES)), [f"{scale} styles" for scale in SCALES])
    axes.set(xlabel="what is exchanged", ylabel="change, as a share of another picture's")
    axes.legend(title="frequencies")


CLAIM = Claim(
    name="style-mixing-by-scale",
    paper="Karras, Laine and Aila, 2018, A Style-Based Generator Architecture for GANs, arXiv:1812.04948",
    section="section 3.1, figure 3",
    sentence="Styles are local to their scale: exchanging the coarse ones changes the layout of a picture, exchanging "
    "the fine ones leaves it and changes details.",
    experiment=experiment,
    experiment_in_words="The generator of stylegan-w-is-straighter (digits at 16 px, 6 styles), trained with style "
    "mixing. 1,000 pairs of pictures; of one, the two styles of 4, of 8 or of 16 px are replaced by the other's. The "
    "change is split into the means of 4x4 pixels (low) and the rest (high), and each is divided by the same of the "
    "difference between the two pictures, which is the change by all styles. Not the paper's: it shows faces and "
    "leaves the judgement to the eye; and the digits were taken at 8 px, so that the finest scale has little of its "
    "own to make.",
    checks=(
        Check(
            "layout",
            ">=",
            2.0,
            "low-frequency change by coarse styles over that by fine ones. At 1 the layout would not be the coarse "
            "styles'; twice as much is plain to see in pictures",
        ),
        Check(
            "follows",
            ">",
            0.0,
            "correlation of a picture that has the other's coarse styles with that other, less that with its own: "
            "above 0 the picture is rather that of its coarse styles than that of its four others",
        ),
        Check(
            "fine_own",
            ">=",
            0.9,
            "correlation of a picture with what other fine styles make of it, which is blind to brightness and "
            "contrast (the paper's colour scheme): at 0.9 four fifths of the layout are the same",
        ),
        Check(
            "gain",
            ">=",
            3.0,
            "of the Fréchet distance since the first twentieth of the run: styles of noise decide nothing",
        ),
    ),
    paper_figures={"styles": "shown as pictures; no figure is given"},
    figures_in_words={
        **{f"{s}_low": f"share of the low-frequency change that {s} styles make" for s in SCALES},
        **{f"{s}_high": f"share of the high-frequency change that {s} styles make" for s in SCALES},
        **{f"{s}_own": f"correlation with the picture as it was, other {s} styles" for s in SCALES},
        **{
            f"{s}_other": f"correlation with the picture that the {s} styles came from"
            for s in SCALES
        },
        "follows": "coarse_other - coarse_own",
        "layout": "low share of coarse styles over that of fine ones",
        "tilt": "high over low share, fine styles over coarse ones",
        "gain": "Fréchet distance after a twentieth of the run over that at its end",
        "frechet": "Fréchet distance at the end, random-conv-v1",
    },
    plot=plot,
    minutes=5,
)
