"""Spectral normalization, section 3: weights of the discriminator keep a high rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from statistics import fmean

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Adam, Optimizer, RMSprop

from ganvas.claims.claim import Seeds, claim
from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Method, Run
from ganvas.data import images
from ganvas.methods import SNGAN, WGAN
from ganvas.nets import sngan
from ganvas.nets.spectral import WEIGHTED, as_matrix

WIDTH = 16
TOP = 0.1  # of a layer's singular values, rounded up
LEARNED = 5.0  # largest distance of samples that counts; noise has more than ten times it
DATA = partial(images, "letters", size=16, labels=False)
G = partial(sngan.Generator, latent=64, width=WIDTH)
CRITIC: Callable[..., nn.Module] = partial(sngan.Discriminator, width=WIDTH, normalised=False)


class UnitRows(nn.Module):
    """Weight normalization without gains: each row of the matrix has length 1.

    Salimans and Kingma, 2016, arXiv:1602.07868, as arXiv:1802.05957 compares it.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Divide each row of a weight [rows, ...] by its length."""
        return nn.functional.normalize(weight.flatten(1), dim=1).view_as(weight)


def weight_normalized(**shape: object) -> nn.Module:
    """The discriminator with unit rows in place of spectral normalization."""
    net = CRITIC(**shape)
    for module in list(net.modules()):
        if isinstance(module, WEIGHTED):
            parametrize.register_parametrization(module, "weight", UnitRows())
    return net


def run(method: Callable[..., Method], optim: Callable[..., Optimizer]) -> Run:
    """120,000 real images for the discriminator."""
    return Run(method=method, data=DATA, optim=dict.fromkeys("GD", optim), batch=32, images=120_000)


@cache
def quality() -> Quality:
    """Distance from the letters."""
    return Quality(DATA())


@torch.no_grad()
def measure(trained: Trained) -> Figures:
    """Share of the squared singular values in the largest tenth, mean over the layers.

    1 if the generator has not learned, since untrained weights are of full rank.
    """
    distance = quality()(trained.model)
    shares = [top_share(w) for w in spectra(trained).values()]
    return {"share": fmean(shares) if distance <= LEARNED else 1.0, "frechet": distance}


def spectra(trained: Trained) -> dict[str, Tensor]:
    """Squared singular values of D's normalized convolutions, largest first."""
    return {
        name: torch.linalg.svdvals(as_matrix(module.weight.detach())).square()
        for name, module in trained.engine.method.get_submodule("D").named_modules()
        if isinstance(module, nn.Conv2d)
    }


def top_share(squares: Tensor) -> float:
    """Share of the largest tenth, at least one, in the sum; in descending order."""
    return float(squares[: max(round(TOP * len(squares)), 1)].sum() / squares.sum())


def series(trained: Trained) -> dict[str, object]:
    """Spectra of the layers, each over its largest value."""
    return {name: (s / s[0]).tolist() for name, s in spectra(trained).items()}


def figures(arms: Mapping[str, Figures]) -> Figures:
    """The share with spectral normalization over the smaller one of the others."""
    return {
        "ratio": arms["spectral"]["share"] / min(arms[a]["share"] for a in ("clipping", "weight")),
        **{f"{arm}_{k}": v for arm, found in arms.items() for k, v in found.items()},
    }


def plot(figure: Figure, seeds: Seeds) -> None:
    """Spectrum of each layer of the first seed's discriminators."""
    found = seeds[0]["series"]
    panels = figure.subplots(1, len(found), sharey=True)
    for axes, (arm, layers) in zip(panels, found.items(), strict=True):
        for name, values in layers.items():
            axes.plot([i / len(values) for i in range(len(values))], values, label=name)
        axes.set(title=arm, xlabel="rank of the value over their number", yscale="log")
    panels[0].set(ylabel="squared singular value / largest", ylim=(1e-6, 2))
    panels[0].legend(fontsize="x-small", title="layer")


ADAM = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "spectral": run(
                partial(
                    SNGAN,
                    G=G,
                    D=partial(sngan.Discriminator, width=WIDTH),
                    n_critic=1,
                    g_batch=1,
                    sigma_every=0,
                ),
                ADAM,
            ),
            "clipping": [
                run(partial(WGAN, G=G, D=CRITIC, long=5), partial(RMSprop, lr=lr))
                for lr in (5e-5, 2e-4, 8e-4)
            ],
            "weight": [
                run(
                    partial(SNGAN, G=G, D=weight_normalized, n_critic=1, g_batch=1, sigma_every=0),
                    partial(ADAM, lr=lr),
                )
                for lr in (5e-5, 2e-4, 8e-4)
            ],
        },
        controls=["clipping", "weight"],
        measure=measure,
        figures=figures,
        series=series,
        rank=lambda found: found["frechet"],
    ),
    plot=plot,
)
