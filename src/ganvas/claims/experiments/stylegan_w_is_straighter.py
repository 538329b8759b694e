"""StyleGAN, section 4.1: the intermediate latent space is less curved than the noise it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.claims.kit.small_stylegan import STYLEGAN, trained
from ganvas.metrics.ppl import path_length

PATHS = 4000
EPS = 1e-2  # of a path: single precision still tells its ends apart


def experiment(seed: int) -> Finding:
    model, quality = trained(STYLEGAN, seed)
    figures = {"gain": quality["first"] / quality["last"], "frechet": quality["last"]}
    for name, ends in (("full", False), ("end", True)):
        z, w = (
            path_length(
                model,
                squared_difference,
                PATHS,
                space=space,
                ends=ends,
                eps=EPS,
                batch=200,
                seed=seed,
            )
            for space in ("z", "w")
        )
        figures |= {f"{name}_z": z.value, f"{name}_w": w.value, f"{name}_ratio": w.value / z.value}
    return Finding(figures)


def squared_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean over pixels, [N]: like LPIPS a squared length, and it needs no weights."""
    return (a.double() - b.double()).square().mean((1, 2, 3))


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    """Path lengths in z and in w, side by side for each seed."""
    axes = figure.subplots(1, 2)
    for at, name in zip(axes, ("full", "end"), strict=True):
        for offset, space in ((-0.2, "z"), (0.2, "w")):
            at.bar(
                [i + offset for i in range(len(seeds))],
                [s["figures"][f"{name}_{space}"] for s in seeds],
                width=0.4,
                label=space,
            )
        at.set_xticks(range(len(seeds)), [f"seed {s['seed']}" for s in seeds])
        at.set(
            title={"full": "anywhere on the path", "end": "at its ends"}[name], ylabel="path length"
        )
        at.legend()


CLAIM = Claim(
    name="stylegan-w-is-straighter",
    paper="Karras, Laine and Aila, 2018, A Style-Based Generator Architecture for GANs, arXiv:1812.04948",
    section="section 4.1, tables 3 and 4",
    sentence="Pictures change less along a step between two styles w than along one between two noises z of the same "
    "generator: the mapping network has straightened the space.",
    experiment=experiment,
    experiment_in_words="Digits (scikit-learn's 1,797) at 16 px; StyleGAN at its full size from the start, widths 32, "
    "32 and 16, z and w of length 32, 8 mapping layers, R1 at a weight of 1, 40,000 images in batches of 32, averaged "
    "weights. Path lengths of that one generator over 4,000 paths each: arcs in z, lines in w, a hundredth of a path "
    "apart. Not the paper's: digits in place of faces, the mean squared difference of pixels in place of LPIPS, steps "
    "of 1e-2 in place of 1e-4, no growth.",
    checks=(
        Check(
            "full_ratio",
            "<=",
            0.8,
            "w over z. 1 is no straighter; the paper has 0.36 for a generator with 8 mapping layers (table 4). At 0.8 "
            "a fifth is gained",
        ),
        Check(
            "gain",
            ">=",
            3.0,
            "of the Fréchet distance since the first twentieth of the run: what has not learned has no paths",
        ),
    ),
    paper_figures={
        "traditional generator, 8 mapping layers": "896.2 in z, 324.5 in w (table 4, quoted from memory)",
        "style-based, 8 mapping layers": "234.0 in w (table 4, quoted from memory)",
    },
    figures_in_words={
        "full_z": "path length in z, anywhere on the path",
        "full_w": "path length in w, anywhere on the path",
        "full_ratio": "w over z, anywhere on the path",
        "end_z": "path length in z, at its ends",
        "end_w": "path length in w, at its ends",
        "end_ratio": "w over z, at the ends",
        "gain": "Fréchet distance after a twentieth of the run over that at its end",
        "frechet": "Fréchet distance at the end, random-conv-v1",
    },
    plot=plot,
    minutes=5,
)
