"""InfoGAN, section 7.2: without labels a code comes to mean the digit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.classes import confusion, digits_seen
from ganvas.claims.kit.quality import rank_correlation
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run, rng
from ganvas.data import images
from ganvas.methods import InfoGAN
from ganvas.nets import infogan as nets

EACH = 100  # samples of each category
NAMES = (*map(str, range(10)), "none")


def run(info_weight: float) -> Run:
    """`infogan` at 16 px and a quarter of its width."""
    return Run(
        method=partial(
            InfoGAN,
            G=partial(nets.Generator, width=16, hidden=256),
            D=partial(nets.Discriminator, width=16, hidden=256, code_units=64),
            info_weight=info_weight,
        ),
        data=partial(images, "digits", size=16, labels=False),
        optim={
            "D": partial(Adam, lr=2e-4, betas=(0.5, 0.999)),
            "G": partial(Adam, lr=1e-3, betas=(0.5, 0.999)),
        },
        batch=64,
        images=300_000,
    )


@torch.no_grad()
def samples(trained: Trained) -> tuple[Tensor, Tensor, Tensor]:
    """(category [N], continuous codes [N, 2], images), `EACH` of every category."""
    game: Any = trained.model
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        z = game.latent(game.categories * EACH)
    category = torch.arange(game.categories).repeat_interleave(EACH)
    hot = torch.nn.functional.one_hot(category, game.categories)
    z[:, game.noise : game.noise + game.categories] = hot
    x = torch.cat([game.sample(len(part), z=part) for part in z.split(EACH)])
    return category, z[:, -game.continuous :], x


def purity(category: Tensor, said: Tensor) -> float:
    """The share of samples that are the digit of their category, one digit for each.

    Categories are named by the assignment that makes it largest (as the paper does by
    eye).
    """
    table = np.asarray(confusion(category, said, len(NAMES)))[:, :10]
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(category))


def moments(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(slant, width) of the ink of images [N, 1, H, W]: shear and horizontal spread."""
    ink = ((x[:, 0] + 1) / 2).clamp(0, 1).double() + 1e-6
    ink = ink / ink.sum((1, 2), keepdim=True)
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in ink.shape[1:])
    dy = rows[:, None] - (ink.sum(2) @ rows)[:, None, None]
    dx = columns - (ink.sum(1) @ columns)[:, None, None]
    vertical, horizontal = (ink * dy**2).sum((1, 2)), (ink * dx**2).sum((1, 2))
    slant = (ink * dx * dy).sum((1, 2)) / vertical
    return slant.numpy(), horizontal.sqrt().numpy()


def tracked(category: Tensor, codes: Tensor, measured: np.ndarray) -> float:
    """Rank correlation of a measure with the better code, mean over categories."""
    means = []
    for k in range(codes.shape[1]):
        within = [
            rank_correlation(codes[category == c, k].tolist(), measured[category == c].tolist())
            for c in category.unique().tolist()
        ]
        means.append(abs(float(np.mean(within))))
    return max(means)


def measure(trained: Trained) -> Figures:
    """What the codes mean in the samples."""
    category, codes, x = samples(trained)
    said = digits_seen(x, trained.seed)
    slant, width = moments(x)
    return {
        "purity": purity(category, said),
        "recognized": float((said < 10).float().mean()),
        "slant": tracked(category, codes, slant),
        "width": tracked(category, codes, width),
    }


def figures(arms: Mapping[str, Figures]) -> Figures:
    """All measures, and the better of the two properties."""
    found = flat(arms)
    return {**found, "property": max(found["told_slant"], found["told_width"])}


def series(trained: Trained) -> dict[str, object]:
    """What the judge saw in each category."""
    category, _, x = samples(trained)
    return {"confusion": confusion(category, digits_seen(x, trained.seed), len(NAMES))}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"told": run(1.0), "silent": run(0.0)},
        controls=["silent"],
        measure=measure,
        chance={"purity": 0.1, "slant": 0.0, "width": 0.0},
        figures=figures,
        series=series,
    ),
    plot=plots.matrix("told.confusion", ("category", "seen by the judge"), NAMES),
)
