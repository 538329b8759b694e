"""DiscoGAN, section 3.1: five Gaussians to ten, and the modes that are reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import Seeds, claim
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Batch, Run, rng
from ganvas.data.info import Info
from ganvas.data.toy import draw_mixture
from ganvas.methods import DiscoGAN
from ganvas.nets.layers import Size

SIGMA = 0.1  # standard deviation of every mode
SAMPLES = 2000  # of domain a, translated
ENOUGH = 0.02  # of the samples: a fifth of a mode's share
PURE = 0.95  # share of a mode's translations that come from one cluster
STEPS = 5_000  # of D and of G each
R = 0.8  # weighs the paper's two losses alike: the method takes a quarter of the squared error
RATES = (2e-3, 1e-3, 5e-4)


Model = Literal["discogan", "gan", "recongan"]
MODELS: tuple[Model, ...] = ("discogan", "gan", "recongan")


def ring(n: int, radius: float) -> Tensor:
    """Centers on a circle, [n, 2]."""
    angle = torch.arange(n) * (2 * torch.pi / n)
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


A, B = ring(5, 1.0), ring(10, 2.0)


class Points:
    """A feed of points of both domains, drawn anew for every batch."""

    info = Info(
        "domains", "5 and 10 Gaussians", "points", "train", 2, 1, 1, 100_000, "5 and 10 Gaussians"
    )

    def draw(self, cursor: int, n: int, *, seed: int, **options: object) -> Batch:
        """Draw n points of either domain, [n, 2, 1, 1] each."""
        a, b = (
            draw_mixture(c, SIGMA, n, rng.fold_in(seed, k, cursor)) for k, c in (("a", A), ("b", B))
        )
        return Batch(a=a.view(n, 2, 1, 1), b=b.view(n, 2, 1, 1))


def _layers(widths: Sequence[int]) -> list[nn.Module]:
    return [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]


class Generator(nn.Module):
    """Points [N, 2, 1, 1] -> points [N, 2, 1, 1], by three hidden layers."""

    multiple = 1

    def __init__(self, channels_in: int = 2, channels_out: int = 2, width: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *_layers([channels_in, *[width] * 3]), nn.Linear(width, channels_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Translate points [N, 2, 1, 1]."""
        return self.net(x.flatten(1))[:, :, None, None]


class Discriminator(nn.Module):
    """Points [N, 2, 1, 1] -> (logits [N], features), by four hidden layers."""

    def __init__(self, size: Size = 1, channels: int = 2, width: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(*_layers([channels, *[width] * 4]))
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map points [N, 2, 1, 1] to logits [N] and features [N, width]."""
        features = self.net(x.flatten(1))
        return self.score(features).flatten(), [features]


def run(model: Model, rate: float) -> Run:
    """One of the paper's three models."""
    adam = partial(Adam, lr=rate, betas=(0.5, 0.999))
    return Run(
        method=partial(
            DiscoGAN,
            G=partial(Generator),
            D=partial(Discriminator),
            model=model,
            gan_weight=1.0,
            features_weight=0.0,
            early=R,
            late=R,
            d_every=2,
        ),
        data=Points,
        optim={"G": adam, "D": adam},
        batch=200,
        images=200 * 2 * STEPS,
    )


def translated(trained: Trained) -> tuple[Tensor, Tensor]:
    """Translations [SAMPLES, 2] and their clusters [SAMPLES], in order."""
    noise = draw_mixture(torch.zeros(1, 2), SIGMA, SAMPLES, rng.fold_in(trained.seed, "test"))
    clusters = torch.arange(SAMPLES) // (SAMPLES // len(A))
    with torch.no_grad():
        made = trained.model.translate((noise + A[clusters]).view(-1, 2, 1, 1), to="b")
    return made.flatten(1), clusters


def coverage(made: Tensor, clusters: Tensor) -> dict[str, float]:
    """Which modes of b translations reach.

    made: translations [N, 2]; each counts for its nearest mode
    clusters: [N], from which their inputs came

    Returns:
    modes: modes that have `ENOUGH` of the translations
    own_modes: those of them whose translations come from one cluster (`PURE`)
    good: share of translations within four standard deviations of their mode
    """
    distances, nearest = torch.cdist(made, B).min(1)
    counts = torch.zeros(len(B), len(A)).index_put_(
        (nearest, clusters), torch.ones(len(made)), accumulate=True
    )
    enough = counts.sum(1) >= ENOUGH * len(made)
    pure = counts.max(1).values >= PURE * counts.sum(1)
    return {
        "modes": float(enough.sum()),
        "own_modes": float((enough & pure).sum()),
        "good": float((distances <= 4 * SIGMA).double().mean()),
    }


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The figures of all arms, and DiscoGAN's lead over the better baseline."""
    better = max(arms["gan"]["own_modes"], arms["recongan"]["own_modes"])
    found = {f"{arm}_{name}": v for arm, scores in arms.items() for name, v in scores.items()}
    return found | {"more_modes": arms["discogan"]["own_modes"] - better}


def series(trained: Trained) -> dict[str, object]:
    """400 translations, in order of their clusters."""
    return {"points": translated(trained)[0][:: SAMPLES // 400].tolist()}


def plot(figure: Figure, seeds: Seeds) -> None:
    """Translations of the first seed over b's modes, colored by their cluster."""
    for axes, arm in zip(figure.subplots(1, len(MODELS)), MODELS, strict=True):
        axes.plot(B[:, 0], B[:, 1], "o", color="0.85", markersize=14)
        for cluster in np.split(np.asarray(seeds[0]["series"][arm]["points"]), len(A)):
            axes.plot(cluster[:, 0], cluster[:, 1], ".", markersize=3)
        modes = ", ".join(f"{s['figures'][f'{arm}_own_modes']:.0f}" for s in seeds)
        axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[])
        axes.set_title(f"{arm}: {modes} modes")


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={model: [run(model, rate) for rate in RATES] for model in MODELS},
        controls=["gan", "recongan"],
        measure=lambda trained: coverage(*translated(trained)),
        figures=figures,
        series=series,
        rank=lambda scores: -scores["own_modes"],
    ),
    plot=plot,
)
