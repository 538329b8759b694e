"""Projection discriminator, section 4.1: projected labels beat concatenated ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.cifar import cifar, fid
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run, rng
from ganvas.methods import SNGAN
from ganvas.metrics.features import extractor, feature_statistics
from ganvas.metrics.frechet import frechet_distance
from ganvas.nets import resnet
from ganvas.nets.layers import Size, one_hot
from ganvas.nets.spectral import spectral_

EACH = 1_000  # samples of each class
PART = 100
CLASSES = 10


class Concatenation(nn.Module):
    """The residual discriminator with the label as further channels inside.

    A one-hot map joins the features before the third of four blocks, where
    arXiv:1802.05637 puts it in its comparison. Nothing is projected.
    """

    def __init__(
        self, width: int = 128, size: Size = 32, channels: int = 3, classes: int = 0
    ) -> None:
        super().__init__()
        net = resnet.Discriminator(width, size, channels, pool="sum")
        first, second, *rest = net.blocks
        self.classes, self.below = classes, nn.Sequential(first, second)
        self.join = resnet.DownBlock(width + classes, width, down=False)
        self.above, self.output = nn.Sequential(*rest[1:]), net.output
        spectral_(self)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Score images x [N, C, H, W] with labels y [N]: [N]."""
        h = self.below(x)
        labels = one_hot(y, self.classes, h)[:, :, None, None].expand(-1, -1, *h.shape[2:])
        h = self.above(self.join(torch.cat([h, labels], 1)))
        return self.output(F.relu(h).sum((2, 3)))


def run(D: Callable[..., nn.Module]) -> Run:
    """The authors' setting for CIFAR-10, with labels, for 25,000 updates of G."""
    return Run(
        method=partial(
            SNGAN, G=partial(resnet.Generator, width=256), D=D, labels=True, sigma_every=0
        ),
        data=cifar,
        optim=dict.fromkeys("GD", partial(Adam, lr=2e-4, betas=(0.0, 0.9))),
        batch=64,
        images=25_000 * 5 * 64,
    )


@cache
def classes() -> list[tuple[Tensor, Tensor]]:
    """Feature statistics of the real images of each class."""
    whole = cifar().raw()
    features = extractor("inception-2015")
    found = []
    for c in range(CLASSES):
        x = torch.from_numpy(whole["x"][whole["y"] == c][:EACH]).movedim(-1, 1)
        found.append(feature_statistics(features, (x.float() / 127.5 - 1).split(PART)))
    return found


@torch.no_grad()
def measure(trained: Trained) -> Figures:
    """FID, and its mean within the classes (intra FID)."""
    model, features = trained.model, extractor("inception-2015")
    within = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        for c, real in enumerate(classes()):
            y = torch.full((PART,), c, device=model.device)
            x = [model.sample(PART, y=y).cpu() for _ in range(EACH // PART)]
            within.append(frechet_distance(*real, *feature_statistics(features, x)))
    return {"intra_fid": fmean(within), "fid": fid()(model)}


def figures(arms: Mapping[str, Figures]) -> Figures:
    """Intra FID with concatenation over that with projection."""
    return {
        "gain": arms["concatenation"]["intra_fid"] / arms["projection"]["intra_fid"],
        **{f"{arm}_{k}": v for arm, found in arms.items() for k, v in found.items()},
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "projection": run(partial(resnet.Discriminator, normalised=True, pool="sum")),
            "concatenation": run(Concatenation),
        },
        controls=["concatenation"],
        measure=measure,
        figures=figures,
        device="cuda",
    ),
    plot=plots.bars(
        {"projection_intra_fid": "projection", "concatenation_intra_fid": "concatenation"},
        {"projection_fid": "projection", "concatenation_fid": "concatenation"},
        labels=("FID within a class", "FID"),
    ),
    ready=fid,
)
