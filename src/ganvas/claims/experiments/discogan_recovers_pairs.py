"""DiscoGAN, section 3.2: two letters at many angles, and whether angles correspond."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate
from torch.optim import Adam

from ganvas.claims.claim import Seeds, claim
from ganvas.claims.kit.domains import as_tensor, two_domains
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run
from ganvas.data import Feed, images
from ganvas.methods import DiscoGAN
from ganvas.nets import discogan as nets

LETTERS = ("F", "R")
SIDE, TYPEFACES = 16, 4
LIMIT = 75.0  # degrees either way, as the paper's cars
BINS = 11  # of the angles, 15 degrees apart in the paper
TRAINING, TEST = 4000, 440
EXPLAINED, COVERED = 0.7, 0.9  # one to one; a fold of half the range explains 0.5 at most
ITERATIONS = 3000
RATE, OTHER_RATES = 2e-3, (5e-4, 5e-3)
MODELS = ("discogan", "gan", "recongan")


def rotated(letter: str, angles: Tensor, typefaces: Tensor) -> np.ndarray:
    """Letters rotated by degrees [N], in typefaces [N]: uint8 [N, SIDE, SIDE, 1]."""
    raw = images("letters", size=32).raw()
    glyphs = 255 - raw["x"][raw["y"] == ord(letter) - ord("A")][:TYPEFACES]  # white on black
    x = (as_tensor(glyphs)[typefaces] + 1) / 2
    cos, sin = angles.deg2rad().cos(), angles.deg2rad().sin()
    zero = torch.zeros_like(cos)
    theta = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)
    x = grid_sample(x, affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
    small = interpolate(x, size=SIDE, mode="area")
    return (small * 255).round().byte().movedim(1, -1).numpy()


@cache
def letters() -> Feed:
    """Letters F and R at random angles in random typefaces; the same for every seed."""
    generator = torch.Generator().manual_seed(0)
    a, b = (
        rotated(
            letter,
            (2 * torch.rand(TRAINING, generator=generator) - 1) * LIMIT,
            torch.randint(TYPEFACES, (TRAINING,), generator=generator),
        )
        for letter in LETTERS
    )
    return two_domains("rotated letters", a, b, images("letters", size=32).info.fingerprint)


def input_angles() -> Tensor:
    """Angles of the translated letters, evenly spaced: [TEST].

    The typefaces take turns.
    """
    return torch.linspace(-LIMIT, LIMIT, TEST)


@torch.no_grad()
def translated(trained: Trained) -> Tensor:
    """Letters F at `input_angles`, translated: [TEST, 1, SIDE, SIDE]."""
    x = rotated(LETTERS[0], input_angles(), torch.arange(TEST) % TYPEFACES)
    return trained.model.translate(as_tensor(x), to="b")


@cache
def templates() -> tuple[Tensor, Tensor]:
    """Letters R at steps of 5 degrees [N, 1, SIDE, SIDE], and their angles [N]."""
    angles = torch.arange(-LIMIT, LIMIT + 1, 5.0).repeat_interleave(TYPEFACES)
    return as_tensor(rotated(LETTERS[1], angles, torch.arange(len(angles)) % TYPEFACES)), angles


def read_angles(x: Tensor) -> tuple[Tensor, Tensor]:
    """Angle of the nearest template to each image, and its distance: [N] each."""
    known, angles = templates()
    distance, nearest = torch.cdist(x.flatten(1), known.flatten(1)).min(1)
    return angles[nearest], distance


def correspondence(inputs: Tensor, outputs: Tensor, typefaces: Tensor) -> dict[str, float]:
    """How well the angles of outputs tell those of their inputs, degrees [N] each.

    typefaces: of the inputs [N]

    Returns:
    explained: 1 - mean error of a guess of each input's angle over that of a constant
        guess. The guess is the median angle of the other inputs in its typeface with
        the same output angle: 0 if outputs tell nothing, near 1 if the relation is one
        to one, in whatever order
    coverage: share of `BINS` equal ranges of angles with at least 2% of the outputs
    paired: 1 if `explained` is at least `EXPLAINED` and `coverage` at least `COVERED`
    """
    same = (outputs[:, None] == outputs) & (typefaces[:, None] == typefaces)
    same.fill_diagonal_(False)
    guesses = torch.stack([inputs[row].median() if row.any() else inputs.median() for row in same])
    explained = 1 - float((guesses - inputs).abs().mean() / (inputs - inputs.median()).abs().mean())
    counts = torch.histc(outputs, BINS, -LIMIT, LIMIT)
    coverage = float((counts >= 0.02 * len(outputs)).float().mean())
    paired = float(explained >= EXPLAINED and coverage >= COVERED)
    return {"explained": explained, "coverage": coverage, "paired": paired}


def measure(trained: Trained) -> dict[str, float]:
    """The correspondence, and the distance of outputs from the nearest letter R.

    That distance is relative to the mean distance of two letters R.
    """
    outputs, distance = read_angles(translated(trained))
    apart = float(torch.pdist(templates()[0].flatten(1)).mean())
    found = correspondence(input_angles(), outputs, torch.arange(TEST) % TYPEFACES)
    return found | {"off": float(distance.mean()) / apart}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The figures of all arms; `only_discogan`: it pairs and neither baseline does."""
    found = {f"{arm}_{name}": v for arm, scores in arms.items() for name, v in scores.items()}
    baselines = max(arms["gan"]["paired"], arms["recongan"]["paired"])
    return found | {"only_discogan": arms["discogan"]["paired"] * (1 - baselines)}


def run(model: Literal["discogan", "gan", "recongan"], rate: float = RATE) -> Run:
    """One of the paper's three models at an eighth of its width."""
    adam = partial(Adam, betas=(0.5, 0.999), weight_decay=1e-5)
    return Run(
        method=partial(
            DiscoGAN,
            G=partial(nets.Generator, width=8, depth=3),
            D=partial(nets.Discriminator, width=8),
            model=model,
            curriculum=ITERATIONS // 8,
        ),
        data=letters,
        optim={"G": partial(adam, lr=rate), "D": partial(adam, lr=rate / 2)},
        batch=32,
        images=ITERATIONS * 32,
    )


def series(trained: Trained) -> dict[str, object]:
    """Angles of inputs and outputs."""
    return {"inputs": input_angles(), "outputs": read_angles(translated(trained))[0]}


def plot(figure: Figure, seeds: Seeds) -> None:
    """Angles of outputs against those of inputs, a color for each seed."""
    for axes, arm in zip(figure.subplots(1, len(MODELS), sharey=True), MODELS, strict=True):
        for s in seeds:
            found = s["series"][arm]
            axes.plot(found["inputs"], found["outputs"], ".", markersize=3)
        paired = sum(s["figures"][f"{arm}_paired"] for s in seeds)
        axes.set(xlabel="angle of the input, degrees")
        axes.set_title(f"{arm}: {paired:.0f} of {len(seeds)} paired", fontsize="medium")
    figure.axes[0].set_ylabel("angle of the output, degrees")


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "discogan": run("discogan"),
            "gan": [run("gan", rate) for rate in (RATE, *OTHER_RATES)],
            "recongan": [run("recongan", rate) for rate in (RATE, *OTHER_RATES)],
        },
        controls=["gan", "recongan"],
        measure=measure,
        chance={"explained": 0.0, "paired": 0.0},
        figures=figures,
        series=series,
        rank=lambda scores: -min(scores["explained"], scores["coverage"]),
    ),
    plot=plot,
)
