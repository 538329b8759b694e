"""Which training methods for GANs converge: the Jacobian's eigenvalues predict it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from ganvas.claims.claim import Finding, claim
from ganvas.claims.kit import plots
from ganvas.core import rng
from ganvas.objectives.adversarial import bce
from ganvas.objectives.penalties import gradient_penalty, r1

RATE = 0.1  # of gradient descent, both players at once
STEPS = 1_000
START = 0.02  # distance of the first parameters from the equilibrium
GAMMA = 0.5  # of R1 and R2
LAMBDA = 1.0  # of the penalty of WGAN-GP
POINTS = 256
FLOOR = 1e-9  # of a distance, below which rounding decides
READ = 10  # steps from one point of the plot to the next

D = Callable[[Tensor, Tensor], Tensor]  # (parameters, points [N, d]) -> scores [N]
G = Callable[[Tensor, Tensor], Tensor]  # (parameters, latents [N, k]) -> points [N, d]


@dataclass(frozen=True)
class Game:
    """A game whose equilibrium is known.

    D, G: the players
    split: number of D's parameters, which come first
    equilibrium: all parameters
    real, z: data and latents, fixed, so that the game is deterministic
    """

    D: D
    G: G
    split: int
    equilibrium: Tensor
    real: Tensor
    z: Tensor


def dirac() -> Game:
    """Dirac-GAN, definition 2.1: D(x) = psi x, data at 0, samples at theta."""
    one = torch.zeros(1, 1).double()
    return Game(
        D=lambda d, x: x @ d,
        G=lambda g, z: z + g,
        split=1,
        equilibrium=torch.zeros(2).double(),
        real=one,
        z=one,
    )


def gaussian(seed: int) -> Game:
    """D(x) = x^T W x + w^T x; G(z) = L z + b, L lower triangular; data are latents.

    The points are moved and mixed so that their mean is 0 and their covariance 1.
    """
    generator = torch.Generator().manual_seed(rng.fold_in(seed, "points"))
    x = torch.randn(POINTS, 2, generator=generator).double()
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov(correction=0))).T

    def score(d: Tensor, x: Tensor) -> Tensor:
        a, b = x.T
        return torch.stack([a * a, a * b, b * b, a, b], 1) @ d

    def sample(g: Tensor, z: Tensor) -> Tensor:
        a, b = z.T
        return torch.stack([g[0] * a + g[3], g[1] * a + g[2] * b + g[4]], 1)

    equilibrium = torch.tensor([0.0] * 5 + [1, 0, 1, 0, 0]).double()
    return Game(score, sample, 5, equilibrium, x, x)


class Losses(TypedDict):
    """The losses of both players."""

    d: Tensor
    g: Tensor


def losses(game: Game, kind: str, d: Tensor, g: Tensor) -> Losses:
    """The losses of the game with parameters d and g.

    kind: "gan", the loss of 2014 (non-saturating); with "r1", "r2" or "r1r2"; "wgan",
        "wgan_gp"
    """
    critic, fake = partial(game.D, d), game.G(g, game.z)
    real_scores, scores = critic(game.real), critic(fake)
    if kind.startswith("wgan"):
        loss = scores.mean() - real_scores.mean()
        if kind == "wgan_gp":
            loss = loss + LAMBDA * gradient_penalty(critic, game.real, fake.detach())
        return {"d": loss, "g": -scores.mean()}
    loss = bce(real_scores, True) + bce(scores, False)
    if kind in ("r1", "r1r2"):
        loss = loss + GAMMA / 2 * r1(critic, game.real)
    if kind in ("r2", "r1r2"):
        loss = loss + GAMMA / 2 * r1(critic, fake.detach())
    return {"d": loss, "g": bce(scores, True)}


def field(game: Game, kind: str, p: Tensor) -> Tensor:
    """The direction in which simultaneous gradient descent moves the parameters p."""
    d, g = (part.clone().requires_grad_() for part in (p[: game.split], p[game.split :]))
    both = losses(game, kind, d, g)
    (to_d,) = torch.autograd.grad(both["d"], d, retain_graph=True)
    (to_g,) = torch.autograd.grad(both["g"], g)
    return -torch.cat([to_d, to_g])


def step_matrix(game: Game, kind: str, step: float = 1e-5) -> Tensor:
    """1 + h J, with the Jacobian J of the field at the equilibrium.

    By central differences, since penalties stop the gradient of generated points.
    """
    columns = [
        (field(game, kind, game.equilibrium + e) - field(game, kind, game.equilibrium - e))
        / (2 * step)
        for e in step * torch.eye(len(game.equilibrium)).double()
    ]
    return torch.eye(len(columns)).double() + RATE * torch.stack(columns, 1)


def spectral_radius(matrix: Tensor) -> float:
    """Largest |eigenvalue|."""
    return float(torch.linalg.eigvals(matrix).abs().max())


def distances(game: Game, kind: str, seed: int) -> list[float]:
    """The distance from the equilibrium after each step, from the start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.fold_in(seed, kind))
        p = game.equilibrium + _offset(game, seed)
        found = []
        for _ in range(STEPS):
            p = p + RATE * field(game, kind, p)
            found.append(float((p - game.equilibrium).norm()))
    return found


def linear_distances(game: Game, matrix: Tensor, seed: int) -> list[float]:
    """The same of the linearized game: each step multiplies by `matrix`."""
    offset, found = _offset(game, seed), []
    for _ in range(STEPS):
        offset = matrix @ offset
        found.append(float(offset.norm()))
    return found


def _offset(game: Game, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(rng.fold_in(seed, "start of the third run"))
    offset = torch.randn(len(game.equilibrium), generator=generator).double()
    return START * offset / offset.norm()


def rate(found: list[float]) -> float:
    """Log of the factor by which a step changes the distance.

    The slope of a line through the log of the last two thirds.
    """
    late = np.log(found[len(found) // 3 :])
    return float(np.polyfit(np.arange(len(late)), late, 1)[0])


def rate_error(found: list[float], predicted: list[float]) -> float:
    """|rate of one over that of the other - 1|, as long as both are above the floor."""
    above = sum(min(pair) > FLOOR for pair in zip(found, predicted, strict=True))
    return abs(rate(found[:above]) / rate(predicted[:above]) - 1)


PENALIZED = ("r1", "r2", "r1r2")
PLAIN = ("gan", "wgan")  # whose field has a Jacobian, too
KINDS = (*PENALIZED, *PLAIN, "wgan_gp")
CONVERGED = 1e-2  # of the first distance

Runs = Mapping[str, list[float]]  # kind -> distances
Radii = Mapping[tuple[str, str], float]


def figures(
    runs: Mapping[str, Runs], linear: Mapping[str, Runs], radius: Radii
) -> dict[str, float]:
    """What the checks name.

    runs, linear: game -> kind -> distances, of the game and of the linearized one
    radius: predicted, (game, kind) -> spectral radius
    """
    left = {(g, k): runs[g][k][-1] / START for g in runs for k in KINDS}
    return {
        "rate_error": max(rate_error(runs[g][k], linear[g][k]) for g in runs for k in PENALIZED),
        "left_penalized": max(left[g, k] for g in runs for k in PENALIZED),
        "left_plain": min(left["dirac", k] for k in (*PLAIN, "wgan_gp")),
        "left_gaussian": left["gaussian", "gan"],
        "predicted": fmean((radius[key] < 1) == (left[key] < CONVERGED) for key in radius),
    }


def experiment(seed: int) -> Finding:
    """Predict and run both games with every loss; penalties exchanged as the null."""
    games = {"dirac": dirac(), "gaussian": gaussian(seed)}
    runs = {name: {k: distances(game, k, seed) for k in KINDS} for name, game in games.items()}
    steps = {
        (name, k): step_matrix(game, k)
        for name, game in games.items()
        for k in (*PENALIZED, *PLAIN)
    }
    linear = {
        name: {k: linear_distances(game, steps[name, k], seed) for k in PENALIZED}
        for name, game in games.items()
    }
    radius = {key: spectral_radius(matrix) for key, matrix in steps.items()}
    series = {
        f"{name}_{k}": {"steps": list(range(0, STEPS, READ)), "distance": values[::READ]}
        for name, found in runs.items()
        for k, values in found.items()
    }
    bare, penalized = (dict.fromkeys(KINDS, runs["dirac"][of]) for of in ("gan", "r1"))
    swapped = {k: (bare if k in PENALIZED else penalized)[k] for k in KINDS}
    return Finding(
        figures(runs, linear, radius),
        series,
        {"swapped": figures({**runs, "dirac": swapped}, linear, radius)},
    )


CLAIM = claim(
    __name__,
    experiment=experiment,
    plot=plots.curves(
        *(
            {
                (f"{game}_r1", "distance"): "R1",
                (f"{game}_r1r2", "distance"): "R1 + R2",
                (f"{game}_gan", "distance"): "no penalty",
                (f"{game}_wgan_gp", "distance"): "WGAN-GP",
            }
            for game in ("dirac", "gaussian")
        ),
        labels=("distance, Dirac-GAN", "distance, Gaussian"),
        x="steps",
        log=True,
    ),
)
