"""StyleGAN, section 3.1: coarse styles set the content, fine ones the details."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.classes import as_bytes
from ganvas.claims.kit.data import place
from ganvas.claims.kit.quality import Quality
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run, rng
from ganvas.core.schedules import HalfLife
from ganvas.data import Feed, images
from ganvas.methods import StyleGAN
from ganvas.metrics.recognizability import RecognitionClassifier
from ganvas.nets import progan, stylegan

WIDTHS = [48, 48, 32, 16]  # channels at 4, 8, 16 and 32 px
SCALES = {"coarse": slice(0, 2), "fine": slice(6, 8)}  # styles of 4 px and of 32 px
BLOCK = 4  # pixels whose mean is the low frequency
PAIRS = 1_000
JUDGED = 4_000  # real images, half of which the judge is trained on
LEARNED = 5.0  # largest distance of samples that counts; noise has more than ten times it


class CommonSynthesis(stylegan.Synthesis):
    """StyleGAN's synthesis network, all of whose layers take the mean of the styles."""

    def forward(
        self,
        w: Tensor,
        resolution: int | None = None,
        alpha: float = 1.0,
        noise: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Map w [N, layers, style] to images, as the synthesis network does."""
        return super().forward(w.mean(1, keepdim=True).expand_as(w), resolution, alpha, noise)


def common(**shape: object) -> stylegan.Generator:
    """The generator without styles of its layers' own."""
    G = generator(**shape)
    G.synthesis.__class__ = CommonSynthesis
    return G


generator: Callable[..., stylegan.Generator] = partial(
    stylegan.Generator, latent=64, style=64, mapping=4, widths=WIDTHS
)
ADAM = partial(Adam, lr=2e-3, betas=(0.0, 0.99), eps=1e-8)


@cache
def clothes() -> Feed:
    """Fashion-MNIST's training part at 32 px."""
    return images(place("fashion-mnist"), size=32)


def run(G: Callable[..., nn.Module]) -> Run:
    """StyleGAN at its full size from the start, with style mixing."""
    return Run(
        method=partial(
            StyleGAN,
            G=G,
            D=partial(progan.ProgressiveDiscriminator, widths=WIDTHS, blur=True),
            start=32,
            r1_weight=1.0,
        ),
        data=clothes,
        optim={"G": ADAM, "D": ADAM},
        batch=32,
        images=120_000,
        ema=HalfLife(images=5_000),
    )


@cache
def quality() -> Quality:
    """Distance from the real images."""
    return Quality(clothes())


@cache
def judge(seed: int) -> RecognitionClassifier:
    """A classifier of the ten kinds of clothes."""
    real = clothes().fixed(JUDGED)
    return RecognitionClassifier(as_bytes(real.x), real.y.numpy(), seed=seed)


@torch.no_grad()
def exchanged(trained: Trained) -> dict[str, Tensor]:
    """Images [N, 1, 32, 32]: `own`, `other`, and `own` with styles of the other."""
    model = trained.model
    found: dict[str, list[Tensor]] = {}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "pairs"))
        one, other = (model.styles(model.latent(PAIRS)) for _ in range(2))
    for a, b in zip(one.split(100), other.split(100), strict=True):
        styles = {"own": a, "other": b}
        for name, layers in SCALES.items():
            styles[name] = a.clone()
            styles[name][:, layers] = b[:, layers]
        for name, w in styles.items():
            found.setdefault(name, []).append(model.synthesize(w))
    return {name: torch.cat(x) for name, x in found.items()}


def measure(trained: Trained) -> Figures:
    """What each scale's styles change, against the change to the other image.

    layout: low-frequency change by coarse styles over that by fine ones
    changes: share of the images that become another kind, of those that are of a kind
    Styles of a generator that has not learned decide nothing: 0.
    """
    x, distance = exchanged(trained), quality()(trained.model)
    low = {name: low_frequency(x[name] - x["own"]) for name in ("other", *SCALES)}
    kinds = {
        name: judge(trained.seed).probabilities(as_bytes(x[name])).argmax(1)
        for name in ("own", *SCALES)
    }
    learned = float(distance <= LEARNED)
    changes = {name: changed(kinds["own"], kinds[name]) for name in SCALES}
    return {
        "layout": learned * low["coarse"] / max(low["fine"], 1e-9),
        "decides": learned * (changes["coarse"] - changes["fine"]),
        **{f"{name}_changes": value for name, value in changes.items()},
        **{f"{name}_low": low[name] / low["other"] for name in SCALES},
        "frechet": distance,
    }


def low_frequency(change: Tensor) -> float:
    """Mean square of the means of 4x4 pixels, of a change [N, C, H, W]."""
    return float(avg_pool2d(change, BLOCK).square().mean())


def changed(before: np.ndarray, after: np.ndarray, nothing: int = 10) -> float:
    """Share of images that change their kind, of those that are of a kind before."""
    kinds = before != nothing
    return float((before != after)[kinds].mean()) if kinds.any() else 0.0


def series(trained: Trained) -> dict[str, object]:
    """Images before and after, of the first pairs."""
    return {name: plots.pixels(x, 12, 16) for name, x in exchanged(trained).items()}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"local": run(generator), "common": run(common)},
        controls=["common"],
        measure=measure,
        figures=lambda arms: {
            **arms["local"],
            **{f"common_{k}": arms["common"][k] for k in ("layout", "decides", "frechet")},
        },
        series=series,
    ),
    plot=plots.pictures(
        {
            "images": lambda s: s["local"]["own"],
            "others": lambda s: s["local"]["other"],
            "with the others' coarse styles": lambda s: s["local"]["coarse"],
            "with the others' fine styles": lambda s: s["local"]["fine"],
        },
        {
            "with the others' coarse styles": "coarse_changes",
            "with the others' fine styles": "fine_changes",
        },
    ),
    ready=clothes,
)
