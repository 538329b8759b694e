"""Open question 1: a GAN, an autoregressive model and a VAE at equal training time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import Adam
from torch.utils.flop_counter import FlopCounterMode

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.costs import seconds_per_image
from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run, Samples, rng
from ganvas.core.schedules import HalfLife, LinearDecay, WarmupCosine
from ganvas.data import Feed, images
from ganvas.data.pictures import Part
from ganvas.methods import DCGAN, VAE, SparseTransformer
from ganvas.metrics.features import extractor
from ganvas.metrics.precision_recall import fidelity
from ganvas.nets import autoencoder, dcgan, sparse_transformer

SIDE = 16  # pixels
SAMPLES = 1_000  # generated images, and held-out ones, that are compared
PART = 50  # images in one forward pass
CODES = 50  # draws of q(z|x) for the bound of an image
COUNTED = 8  # samples whose operations are counted
# Images that took the same processor time, some 45 seconds (see the TOML file).
IMAGES = {"gan": 128_000, "vae": 600_000, "autoregressive": 12_000}
RATES = (1e-3, 4e-3, 1.6e-2)  # of the control
LAYERS = 4


@cache
def digits(part: Part = "train") -> Feed:
    """MNIST at 16 px, every pixel black or white."""
    gray = images(place("mnist"), size=SIDE, labels=False, part=part)
    pixels = np.where(gray.raw()["x"] < 128, 0, 255).astype(np.uint8)
    return Feed(replace(gray.info, source=f"{gray.info.source}, black and white"), {"x": pixels})


@cache
def held_out() -> Tensor:
    """Images of the test part, -1 or 1, [n, 1, 16, 16]."""
    return digits("test").fixed(SAMPLES).x


def gan() -> Run:
    """DCGAN at half of its width."""
    count = IMAGES["gan"]
    return Run(
        method=partial(
            DCGAN,
            G=partial(dcgan.Generator, latent=32, width=32),
            D=partial(dcgan.Discriminator, width=32),
        ),
        data=digits,
        optim={p: partial(Adam, lr=5e-4, betas=(0.5, 0.999)) for p in "GD"},
        batch=64,
        images=count,
        lr=LinearDecay(start=count // 2, end=count),
        ema=HalfLife(images=5_000),
    )


def vae() -> Run:
    """The perceptrons of Kingma and Welling; a pixel is Bernoulli, as the data are."""
    count = IMAGES["vae"]
    return Run(
        method=partial(
            VAE,
            Enc=partial(autoencoder.MLPEncoder),
            Dec=partial(autoencoder.MLPDecoder),
            latent=20,
        ),
        data=digits,
        optim={"VAE": partial(Adam, lr=1e-3)},
        batch=64,
        images=count,
        lr=LinearDecay(start=count // 2, end=count),
    )


def autoregressive(layers: int, lr: float) -> Run:
    """A small Sparse Transformer of two levels.

    layers: 0: without attention. A pixel then depends on its place and on the pixel
        before it alone
    """
    count = IMAGES["autoregressive"]
    return Run(
        method=partial(
            SparseTransformer,
            T=partial(
                sparse_transformer.SparseTransformer,
                levels=2,
                width=48,
                layers=layers,
                patterns=["strided", "local"],
                dropout=0.0,
            ),
        ),
        data=digits,
        optim={"T": partial(Adam, lr=lr)},
        batch=16,
        images=count,
        lr=WarmupCosine(warmup=count // 20, end=count),
    )


RUNS: dict[str, Run | Sequence[Run]] = {
    "gan": gan(),
    "vae": vae(),
    "autoregressive": autoregressive(LAYERS, 2e-3),
    "memoryless": [autoregressive(0, lr) for lr in RATES],
}


@torch.no_grad()
def generated(trained: Trained) -> tuple[Tensor, float]:
    """Samples, rounded to -1 or 1, and the processor time that they took."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        began = time.process_time()
        x = trained.model.sample(SAMPLES)
        spent = time.process_time() - began
    return torch.where(x > 0, 1.0, -1.0), spent


@torch.no_grad()
def operations(model: Samples) -> float:
    """Operations of matrix products and convolutions for one sample."""
    with torch.random.fork_rng(devices=[]), FlopCounterMode(display=False) as counter:
        model.sample(COUNTED)
    return counter.get_total_flops() / COUNTED


@torch.no_grad()
def nats(model: VAE | SparseTransformer, x: Tensor) -> Tensor:
    """-log p(x) of images x [N, 1, 16, 16] of -1 and 1; of a VAE an upper bound, [N].

    The bound is that of Burda et al., 2015, arXiv:1509.00519, equation 8, with `CODES`
    draws.
    """
    if isinstance(model, SparseTransformer):
        values = model.values(x)
        logits = model.T(values).transpose(1, 2)
        return cross_entropy(logits, values, reduction="none").sum(1)
    mean, log_var = model.Enc(x).unbind(1)
    e = torch.randn(CODES, *mean.shape)
    z = mean + (log_var / 2).exp() * e
    logits = 2 * model.Dec(z.flatten(0, 1)).flatten(1).unflatten(0, (CODES, -1))
    target = ((x + 1) / 2).flatten(1).expand_as(logits)
    given = -binary_cross_entropy_with_logits(logits, target, reduction="none").sum(2)
    prior, posterior = -z.square().sum(2) / 2, -(e.square() + log_var).sum(2) / 2
    return math.log(CODES) - (given + prior - posterior).logsumexp(0)


def bits(trained: Trained) -> float:
    """Bits of a pixel of the held-out images."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "codes"))
        found = torch.cat([nats(trained.model, part) for part in held_out().split(PART)])
    return float(found.mean()) / SIDE**2 / math.log(2)


@cache
def real_features() -> Tensor:
    """Features of the held-out images."""
    return extractor("random-conv-v1")(held_out())


def shares(x: Tensor) -> dict[str, float]:
    """Precision and recall of images x [N, 1, 16, 16]."""
    found = fidelity(real_features(), extractor("random-conv-v1")(x))
    return {"precision": found.precision, "recall": found.recall}


@cache
def data_shares() -> dict[str, float]:
    """The same of as many training images, which no model can be expected to exceed."""
    return shares(digits().fixed(SAMPLES).x)


@torch.no_grad()
def drawn(trained: Trained) -> Tensor:
    """Samples of a VAE whose pixels are drawn from p(x|z), not rounded means."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "drawn"))
        return 2 * torch.bernoulli((trained.model.sample(SAMPLES) + 1) / 2) - 1


def measure(trained: Trained) -> Figures:
    """Precision and recall, costs, and bits per pixel if the model has a likelihood."""
    x, seconds = generated(trained)
    run = trained.engine.run
    found = {
        **shares(x),
        "seconds": seconds * 1000 / SAMPLES,
        "operations": operations(trained.model),
        "training_seconds": seconds_per_image({"run": run})["run"] * run.images,
        "weights": float(sum(w.numel() for w in trained.engine.method.parameters())),
    }
    if isinstance(trained.model, VAE):
        found |= {f"drawn_{name}": share for name, share in shares(drawn(trained)).items()}
    return found if isinstance(trained.model, DCGAN) else {**found, "bits": bits(trained)}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """How far each kind of model is ahead; of the control no costs."""
    control = {name: arms["memoryless"][name] for name in ("precision", "recall", "bits")}
    gan, vae, chain = (arms[name] for name in ("gan", "vae", "autoregressive"))
    return {
        **flat({**arms, "memoryless": control}),
        **{f"data_{name}": share for name, share in data_shares().items()},
        "bits_saved": 1 - vae["bits"] / chain["bits"],
        "context_saved": 1 - chain["bits"] / control["bits"],
        "vae_precision_gained": vae["precision"] - max(gan["precision"], chain["precision"]),
        "gan_precision_gained": gan["precision"] - chain["precision"],
        "recall_gained": chain["recall"] - max(gan["recall"], vae["recall"]),
        "operations_ratio": chain["operations"] / gan["operations"],
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms=RUNS,
        controls=["memoryless"],
        measure=measure,
        figures=figures,
        rank=lambda found: found.get("bits", 0.0),
    ),
    plot=plots.bars(
        {"autoregressive_bits": "autoregressive", "vae_bits": "VAE", "memoryless_bits": "control"},
        {
            "gan_precision": "GAN\nprecision",
            "gan_recall": "GAN\nrecall",
            "autoregressive_precision": "autoregr.\nprecision",
            "autoregressive_recall": "autoregr.\nrecall",
            "vae_precision": "VAE\nprecision",
            "vae_recall": "VAE\nrecall",
        },
        labels=["bits of a pixel", "share of 1,000 images"],
    ),
    ready=digits,
)
