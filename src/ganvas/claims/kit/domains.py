"""Unpaired domains whose true translation is known, and scores of translations.

Of no image that is trained on are both renditions there. In `bold` the answer is local:
a discriminator that sees less than a stroke decides it. For a loss that sees whole
images, `negatives` leaves the pairing open.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, max_pool2d
from torch.optim import Adam

from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Trained
from ganvas.data import images
from ganvas.data.feed import Feed
from ganvas.data.info import Info
from ganvas.data.pictures import Part
from ganvas.metrics.features import LeNet

TRAINING = 10_000  # images of each domain
HELD_OUT = 200
BORDER = 2  # pixels: most networks take 32 and not 28
DIGITS = 10
JUDGE_STEPS, JUDGE_BATCH = 800, 128


class Domains(NamedTuple):
    """Two unpaired sets of images, and held-out pairs.

    a, b: held out, [N, C, H, W] in [-1, 1]; the i-th of b is the i-th of a, translated
    y: classes of the held-out images [N]
    """

    feed: Feed
    a: Tensor
    b: Tensor
    y: Tensor


@cache
def mnist(part: Part = "train", border: int = BORDER) -> tuple[np.ndarray, np.ndarray, str]:
    """Digits in one order for every seed: uint8 [N, H, W, 1], labels [N], fingerprint.

    border: black pixels on each side of the 28
    """
    feed = images(place("mnist"), size=28, part=part)
    raw = feed.raw()
    order = np.random.default_rng(0).permutation(len(raw["x"]))
    x = np.pad(raw["x"][order], ((0, 0), (border,) * 2, (border,) * 2, (0, 0)))
    return x, raw["y"][order], feed.info.fingerprint


@cache
def negatives() -> Domains:
    """MNIST and the negatives of other digits, 32 px."""
    return _domains("digits and negatives of other digits", lambda x: 255 - x)


@cache
def bold() -> Domains:
    """MNIST and other digits with strokes 2 px wider, 32 px."""
    return _domains("digits, and other digits in bold", dilated)


def dilated(x: np.ndarray) -> np.ndarray:
    """Each pixel becomes the lightest of its 3x3, uint8 [N, H, W, 1]."""
    pixels = torch.from_numpy(x).movedim(-1, 1).float()
    return max_pool2d(pixels, 3, 1, 1).byte().movedim(1, -1).numpy()


def _domains(source: str, translation: Callable[[np.ndarray], np.ndarray]) -> Domains:
    x, _, fingerprint = mnist()
    test, y, _ = mnist("test")
    a, b = x[:TRAINING], translation(x[TRAINING : 2 * TRAINING])
    held_out = test[:HELD_OUT]
    return Domains(
        two_domains(source, a, b, fingerprint),
        as_tensor(held_out),
        as_tensor(translation(held_out)),
        torch.from_numpy(y[:HELD_OUT]),
    )


def two_domains(source: str, a: np.ndarray, b: np.ndarray, fingerprint: str) -> Feed:
    """A feed of domains `a` and `b`, uint8 [N, H, W, C] each, of one size."""
    info = Info(
        task="domains",
        source=source,
        layout="two arrays",
        part="train",
        channels=a.shape[3],
        height=a.shape[1],
        width=a.shape[2],
        count=max(len(a), len(b)),
        fingerprint=fingerprint,
        counts={"a": len(a), "b": len(b)},
    )
    return Feed(info, {"a": a, "b": b})


def as_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 [N, H, W, C] -> [N, C, H, W] in [-1, 1]."""
    return torch.from_numpy(pixels).movedim(-1, 1).float() / 127.5 - 1


@torch.no_grad()
def translated(trained: Trained, domains: Domains) -> dict[str, Tensor]:
    """The held-out images of both domains, translated: {"b": of a, "a": of b}."""
    model = trained.model
    return {"b": model.translate(domains.a, to="b"), "a": model.translate(domains.b, to="a")}


def both_ways(trained: Trained, domains: Domains) -> dict[str, float]:
    """`translation_scores`, means of both directions."""
    made = translated(trained, domains)
    ways = [
        translation_scores(made["b"], domains.b, domains.a),
        translation_scores(made["a"], domains.a, domains.b),
    ]
    return {name: fmean(way[name] for way in ways) for name in ways[0]}


def translation_scores(output: Tensor, truth: Tensor, source: Tensor) -> dict[str, float]:
    """Compare translations with the truth; distances are Euclidean, over pixels.

    output, truth, source: [N, C, H, W], the i-th of each from one image

    Returns:
    matched: share of outputs whose nearest image, among the true translations and the
        inputs of all, is their own true translation. 1/2N by chance, 0 for the identity
    distinct: share of outputs whose nearest other output is at least half as far as the
        nearest other true translation is from theirs; 0 if all outputs are the same
    spread: mean distance of two outputs over that of two true translations
    """
    out, true, inputs = (x.flatten(1).double() for x in (output, truth, source))
    nearest = torch.cdist(out, torch.cat([true, inputs])).argmin(1)
    apart, expected = _to_the_nearest_other(out), _to_the_nearest_other(true)
    return {
        "matched": float((nearest == torch.arange(len(true))).double().mean()),
        "distinct": float((apart >= expected / 2).double().mean()),
        "spread": float(torch.pdist(out).mean() / torch.pdist(true).mean()),
    }


def _to_the_nearest_other(x: Tensor) -> Tensor:
    return torch.cdist(x, x).fill_diagonal_(float("inf")).min(1).values


class Judge:
    """A convolutional network that names rendition and digit of images of `bold`.

    It is trained on digits that no domain holds, each in both renditions.
    """

    def __init__(self) -> None:
        x, y, _ = mnist()
        x, y = x[2 * TRAINING : 4 * TRAINING], y[2 * TRAINING : 4 * TRAINING]
        both = torch.cat([as_tensor(x), as_tensor(dilated(x))])
        names = torch.from_numpy(np.concatenate([y, DIGITS + y])).long()
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.default_generator.manual_seed(0)
            self.net = LeNet()
            self.net.fc["f7"] = torch.nn.Linear(84, 2 * DIGITS)
            adam = Adam(self.net.parameters(), lr=2e-3)
            for _ in range(JUDGE_STEPS):
                chosen = torch.randint(len(both), (JUDGE_BATCH,))
                adam.zero_grad()
                cross_entropy(self._scores(both[chosen]), names[chosen]).backward()
                adam.step()

    def _scores(self, x: Tensor) -> Tensor:
        return self.net(x)[:, 84:]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Renditions (1: bold) and digits of images [N, 1, 32, 32]: [N] each."""
        named = self._scores(x).argmax(1)
        return named // DIGITS, named % DIGITS


@cache
def judge() -> Judge:
    """The same for every seed."""
    return Judge()
