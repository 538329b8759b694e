"""Open question 2: a generator of a connected latent leaves no gap between modes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor

from ganvas.claims.claim import claim
from ganvas.claims.kit import mixture, plots
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run, rng
from ganvas.core.schedules import Constant
from ganvas.data.toy import Points, draw_mixture
from ganvas.methods import R3GAN
from ganvas.nets import toy_points

SIGMA, SEPARATION = 0.1, 2.0  # of two modes, and their distance
COUNT, SAMPLES = 100_000, 50_000  # points of the data, and samples that are judged
NEAR = 5 * SIGMA  # distance from a mode within which a sample is good
GAP = 3.0  # distance of the two parts of a split latent's first number from 0
STEPS = 3_000


class Split(toy_points.Generator):
    """A generator whose latent has two separate parts: its first number is -3 or 3."""

    def forward(self, z: Tensor) -> Tensor:
        """Map z [N, latent] to points [N, channels, H, W]."""
        first = GAP * z[:, :1].sign()
        return super().forward(torch.cat([first, z[:, 1:]], 1))


@cache
def modes() -> Tensor:
    """The centers of the two modes [2, 2]."""
    return torch.tensor([[-SEPARATION / 2, 0.0], [SEPARATION / 2, 0.0]])


@cache
def points() -> Points:
    """Points of two Gaussians that are 20 deviations apart."""
    return Points(draw_mixture(modes(), SIGMA, COUNT, rng.fold_in("modes")), "two Gaussians")


def run(G: type[toy_points.Generator]) -> Run:
    """R3GAN of small perceptrons, with the kit's protocol for points."""
    networks = {
        "G": partial(G, latent=4, width=64, layers=3, norm=False, std=None),
        "D": partial(toy_points.Discriminator, units=64, pieces=2, std=None),
    }
    method = partial(R3GAN, gamma=Constant(0.1), **networks)
    return replace(mixture.run(method, steps=STEPS, draws=2, betas=(0.0, 0.99)), data=points)


def judged(x: Tensor) -> dict[str, float]:
    """Shares of samples x [N, 2]: near a mode, near the rarer one, and in the gap.

    gap: the middle half of the line between the modes; 0 unless 90% of the samples are
        near a mode and each mode has a quarter of them: only who has found both can
        bridge them
    """
    distance, mode = torch.cdist(x, modes()).min(1)
    near = distance < NEAR
    rarer = min(float((near & (mode == i)).float().mean()) for i in range(2))
    good = float(near.float().mean())
    gap = float((x[:, 0].abs() < SEPARATION / 4).float().mean())
    return {"good": good, "rarer": rarer, "gap": gap if good >= 0.9 and rarer >= 0.25 else 0.0}


@torch.no_grad()
def samples(trained: Trained) -> Tensor:
    """Samples [N, 2]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.fold_in(trained.seed, "samples"))
        return trained.model.sample(SAMPLES).flatten(1)


def measure(trained: Trained) -> dict[str, float]:
    """What `judged` says of a model's samples."""
    return judged(samples(trained))


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The measures of both, and the share of the bridge that a split latent keeps."""
    connected, split = arms["connected"]["gap"], arms["split"]["gap"]
    return {**flat(arms), "kept": split / connected if connected else 1.0}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"connected": run(toy_points.Generator), "split": run(Split)},
        controls=["split"],
        measure=measure,
        figures=figures,
    ),
    plot=plots.bars(
        {"connected_gap": "connected latent", "split_gap": "latent of two parts"},
        labels=["share of samples in the gap"],
    ),
)
