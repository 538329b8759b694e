"""S3GAN, section 4.2: with guessed labels a tenth of them is nearly as good as all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import numpy as np
import torch
from sklearn.svm import SVC
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.classes import samples_of_classes
from ganvas.claims.kit.domains import as_tensor
from ganvas.claims.kit.quality import PART, Quality
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run
from ganvas.core.schedules import HalfLife
from ganvas.data import images
from ganvas.methods import S3GAN
from ganvas.methods.s3gan import Guess
from ganvas.nets import biggan
from ganvas.nets import s3gan as nets

EACH = 40  # samples of each class
TESTED = 2_000  # hidden labels that are compared with the guesses
IMAGES = 60_000  # of the game
LEARNED = 100_000  # images from which the classifier learns
LETTERS = partial(images, "letters", size=16)
CONTROLS = ("no_guess", "none")
NAMES = {
    "all": "all",
    "tenth": "10%",
    "cotrained": "10%, -CO",
    "no_guess": "10%, no guess",
    "none": "none",
}


def run(
    labeled: float, guess: Guess = "none", classifier: bool = False, labels: bool = True
) -> Run:
    """The game with labels for a share of the letters."""
    pretrain = LEARNED if classifier else 0
    adam = partial(Adam, betas=(0.0, 0.99))
    rates = {"G": partial(adam, lr=5e-4), "D": partial(adam, lr=1e-3)}
    return Run(
        method=partial(
            S3GAN,
            G=partial(biggan.Generator, latent=32, width=12, shared=16, attention=[]),
            D=partial(nets.Discriminator, width=12),
            C=partial(nets.Classifier, width=12) if classifier else None,
            guess=guess,
            n_critic=1,
            pretrain=pretrain,
            labels=labels,
        ),
        data=partial(LETTERS, labeled=labeled),
        optim={**rates, "C": partial(Adam, lr=1e-3)} if classifier else {**rates},
        batch=32,
        images=IMAGES + pretrain,
        ema=HalfLife(images=2_000),
    )


@cache
def quality() -> Quality:
    """Distance from the letters."""
    return Quality(LETTERS())


@cache
def judge() -> tuple[SVC, float]:
    """(a classifier trained on half of the letters, its accuracy on the other half)."""
    feed = LETTERS()
    real = feed.fixed(feed.info.count)
    x, y = pixels(real.x), real.y.numpy()
    half = len(y) // 2
    net = SVC(C=10).fit(x[:half], y[:half])
    return net, float((net.predict(x[half:]) == y[half:]).mean())


def pixels(x: Tensor) -> np.ndarray:
    """Images [N, 1, H, W] as the judge takes them: [N, pixels]."""
    return x.flatten(1).float().cpu().numpy()


@torch.no_grad()
def guesses_right(trained: Trained) -> float:
    """The share of hidden labels that are guessed right; 0 without a guess."""
    game, feed = trained.engine.method, trained.feed
    assert isinstance(game, S3GAN)
    if game.guess == "none" or feed.known is None:
        return 0.0
    raw = feed.raw()
    hidden = np.flatnonzero(~feed.known)
    hidden = hidden[:: max(1, len(hidden) // TESTED)]
    x = as_tensor(raw["x"][hidden])
    guesser = (game.D if game.C is None else game.C).eval()
    said = torch.cat([guesser(part).classes.argmax(1) for part in x.split(PART)])
    return float((said == torch.from_numpy(raw["y"][hidden])).float().mean())


def measure(trained: Trained) -> Figures:
    """The share of samples that are the letter asked for, and the distance of all."""
    asked, x = samples_of_classes(trained, EACH, len(LETTERS().info.classes))
    return {
        "asked_is_drawn": float((judge()[0].predict(pixels(x)) == asked.numpy()).mean()),
        "frechet": quality()(trained.model),
        "guesses_right": guesses_right(trained),
    }


def figures(arms: Mapping[str, Figures]) -> Figures:
    """All measures, and gains over the better of the two controls.

    kept: the gain of a tenth of the labels as a share of that of all; 0 without a gain
    """
    floor = max(arms[c]["asked_is_drawn"] for c in CONTROLS)
    nearest = min(arms[c]["frechet"] for c in CONTROLS)
    gain = {arm: max(arms[arm]["asked_is_drawn"] - floor, 0.0) for arm in arms}
    return {
        **flat(arms),
        "judge_accuracy": judge()[1],
        "gain": gain["tenth"],
        "gain_of_all": gain["all"],
        "kept": gain["tenth"] / max(gain["all"], 1e-6),
        "frechet_gain": nearest / arms["tenth"]["frechet"],
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={
            "tenth": run(0.1, "hard", classifier=True),
            "cotrained": run(0.1, "hard"),
            "all": run(1.0),
            "no_guess": run(0.1),
            "none": run(1.0, labels=False),
        },
        controls=CONTROLS,
        measure=measure,
        chance={"asked_is_drawn": 1 / 26, "guesses_right": 1 / 26},
        figures=figures,
    ),
    plot=plots.bars(
        {f"{arm}_asked_is_drawn": name for arm, name in NAMES.items()},
        {f"{arm}_frechet": name for arm, name in NAMES.items()},
        labels=("samples of the letter asked for", "Fréchet distance"),
    ),
)
