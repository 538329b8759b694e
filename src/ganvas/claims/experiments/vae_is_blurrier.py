"""VAE/GAN, section 4: a likelihood of pixels blurs, one of features does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Method, Run, Shape, rng
from ganvas.data import Feed, images
from ganvas.methods import VAE, VAEGAN
from ganvas.nets import autoencoder as nets

COUNT = 1000  # images of each spectrum
COARSE = 1 / 8  # cycles per pixel
NETWORKS = {
    "Enc": partial(nets.Encoder, width=16),
    "Dec": partial(nets.Decoder, width=16),
    "latent": 20,
}


@cache
def mnist() -> Feed:
    """MNIST at 32 px."""
    return images(place("mnist"), size=32, labels=False)


def run(method: Callable[[Shape], Method], players: tuple[str, ...]) -> Run:
    """The same encoder, decoder, data and optimizer for both."""
    return Run(
        method=method,
        data=mnist,
        optim=dict.fromkeys(players, partial(Adam, lr=1e-3, betas=(0.5, 0.999))),
        batch=64,
        images=60_000,
    )


RUNS = {
    "vaegan": run(
        partial(VAEGAN, Dis=partial(nets.FeatureDiscriminator, width=16), gamma=1e-3, **NETWORKS),
        ("Enc", "Dec", "Dis"),
    ),
    "vae": run(partial(VAE, likelihood="gaussian", sigma=0.3, **NETWORKS), ("VAE",)),
}


@torch.no_grad()
def generated(trained: Trained) -> tuple[Tensor, Tensor, Tensor]:
    """Real images, their reconstructions, and samples, [n, 1, 32, 32] each."""
    real = mnist().fixed(COUNT).x
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        model = trained.model
        return real, model.sample(len(real), z=model.encode(real)), model.sample(COUNT)


def measure(trained: Trained) -> dict[str, float]:
    """Energy of detail over the data's, and the squared error of reconstructions."""
    real, rebuilt, samples = generated(trained)
    return {
        "reconstructions_detail": detail(rebuilt) / detail(real),
        "samples_detail": detail(samples) / detail(real),
        "error": float((rebuilt - real).square().mean()),
    }


def detail(x: Tensor) -> float:
    """The energy of images [N, C, H, W] above `COARSE`."""
    height, width = x.shape[-2:]
    across = torch.fft.fftfreq(height)[:, None].square() + torch.fft.rfftfreq(width).square()
    energy = torch.fft.rfft2(x, norm="ortho").abs().square().mean((0, 1))
    return float(energy[across.sqrt() > COARSE].sum())


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """All measures, and how much more detail VAE/GAN's reconstructions have."""
    name = "reconstructions_detail"
    return flat(arms) | {"sharper": arms["vaegan"][name] / arms["vae"][name]}


def series(trained: Trained) -> dict[str, object]:
    """A row of real images and of their reconstructions."""
    real, rebuilt, _ = generated(trained)
    return {"real": plots.pixels(real), "rebuilt": plots.pixels(rebuilt)}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms=RUNS, controls=["vae"], measure=measure, figures=figures, series=series
    ),
    plot=plots.pictures(
        {
            "data": lambda s: s["vae"]["real"],
            "VAE, detail over the data's": lambda s: s["vae"]["rebuilt"],
            "VAE/GAN, detail over the data's": lambda s: s["vaegan"]["rebuilt"],
        },
        {
            "VAE, detail over the data's": "vae_reconstructions_detail",
            "VAE/GAN, detail over the data's": "vaegan_reconstructions_detail",
        },
    ),
    ready=mnist,
)
