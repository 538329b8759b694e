"""Self-attention GAN, abstract: with attention, D sees whether distant parts agree."""

from __future__ import annotations

from statistics import fmean
from typing import Any, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import Finding, claim
from ganvas.claims.kit import plots
from ganvas.core import rng
from ganvas.nets.attention import SelfAttention
from ganvas.nets.spectral import spectral_
from ganvas.objectives.adversarial import hinge

HEIGHT, WIDTH = 8, 56  # of a canvas
PLACES = (2, WIDTH - 10)  # first columns of its two marks, which move by up to `SHIFT`
SHIFT = 2
MARK = 8  # pixels
STEPS = 2_000
BATCH = 64
TESTED = 2_000  # canvases of either kind
RATES = (1e-3, 2e-3, 4e-3)  # of Adam; each layer gets the best one
READ = 25  # steps from one point of the plot to the next


def _shapes() -> Tensor:
    """Four marks of 8x8 pixels, -1 and 1: two bars, a diagonal and a frame."""
    shapes = -torch.ones(4, MARK, MARK)
    shapes[0, 3:5] = 1
    shapes[1, :, 3:5] = 1
    shapes[2] = 2 * (torch.eye(MARK) + torch.eye(MARK).roll(1, 1).triu()) - 1
    shapes[3] = 1
    shapes[3, 1:-1, 1:-1] = -1
    return shapes


SHAPES = _shapes()


def canvases(n: int, agree: bool) -> Tensor:
    """Canvases [n, 1, 8, 56] in [-1, 1] with two marks, of one shape or of two.

    Either mark alone is the same in both kinds: any shape, at any of its places.
    """
    left = torch.randint(len(SHAPES), (n,))
    right = left if agree else (left + torch.randint(1, len(SHAPES), (n,))) % len(SHAPES)
    x = -torch.ones(n, 1, HEIGHT, WIDTH)
    for shape, place in zip((left, right), PLACES, strict=True):
        columns = place + torch.randint(-SHIFT, SHIFT + 1, (n, 1)) + torch.arange(MARK)
        at = columns[:, None, None].expand(-1, 1, HEIGHT, -1)
        x.scatter_(3, at, SHAPES[shape][:, None])
    return x


class Residual(nn.Module):
    """x + gamma f(x), f of three convolutions with as many weights as self-attention.

    1x1, 3x3 and 1x1 with ReLU between them, 1.25 C^2 weights up to rounding; gamma
    starts from 0.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(round(channels * 5 / 18), 1)  # 2 C h + 9 h^2 = 1.25 C^2
        self.inward = nn.Conv2d(channels, inner, 1, bias=False)
        self.across = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.outward = nn.Conv2d(inner, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map features [N, C, H, W] to the same shape."""
        h = self.across(F.relu(self.inward(x)))
        return x + self.gamma * self.outward(F.relu(h))


class Discriminator(nn.Module):
    """Canvases [N, 1, 8, 56] -> scores [N], the sum of what is seen at 2x14 places.

    A place sees 18x18 pixels (26x26 with the residual block), less than the 32 columns
    between the two marks: only `mix` can relate them. The weight gamma of `mix` starts
    from 1, not 0: from 0 a discriminator of real and shuffled marks learned nothing
    within 400 steps.
    """

    def __init__(self, mix: type[nn.Module], width: int = 32) -> None:
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.mix: Any = mix(width)
        nn.init.ones_(self.mix.gamma)
        self.judge = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1),
            nn.ReLU(),
            nn.Conv2d(2 * width, width, 1),
            nn.ReLU(),
        )
        self.output = nn.Linear(width, 1)
        spectral_(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map canvases [N, 1, 8, 56] to scores [N]."""
        return self.output(self.judge(self.mix(self.see(x))).sum((2, 3))).squeeze(1)


class Curves(TypedDict):
    """Result of a discriminator: its AUC, and its loss at these steps."""

    auc: float
    steps: list[int]
    loss: list[float]


def trained(mix: type[nn.Module], rate: float, seed: int, steps: int) -> Curves:
    """A discriminator of the two kinds of canvases after `steps`.

    Returns its AUC on new canvases, and its mean loss every `READ` steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.fold_in(seed, "discriminator"))
        D = Discriminator(mix)
        adam = Adam(D.parameters(), lr=rate, betas=(0.5, 0.99))
        losses = []
        for _ in range(steps):
            scores = D(torch.cat([canvases(BATCH, True), canvases(BATCH, False)]))
            loss = hinge(scores[:BATCH], True) + hinge(scores[BATCH:], False)
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(float(loss.detach()))
        with torch.no_grad():
            agree, differ = (D.eval()(canvases(TESTED, kind)) for kind in (True, False))
    told = float((agree[:, None] > differ).float().mean())
    parts = [losses[i : i + READ] for i in range(0, steps, READ)]
    return {
        "auc": told,
        "steps": [READ * (i + 1) for i in range(len(parts))],
        "loss": [fmean(part) for part in parts],
    }


def experiment(seed: int) -> Finding:
    """The best of three rates for either layer, and an untrained discriminator."""
    best = {
        name: max((trained(mix, rate, seed, STEPS) for rate in RATES), key=lambda r: r["auc"])
        for name, mix in (("attention", SelfAttention), ("residual", Residual))
    }
    untrained = trained(SelfAttention, RATES[0], seed, 0)["auc"]
    auc = {name: found["auc"] for name, found in best.items()}
    return Finding(
        {"auc": auc["attention"], "residual_auc": auc["residual"]},
        best,
        {"untrained": {"auc": untrained}, "residual": {"auc": auc["residual"]}},
    )


CLAIM = claim(
    __name__,
    experiment=experiment,
    plot=plots.curves(
        {
            ("attention", "loss"): "self-attention",
            ("residual", "loss"): "residual block of as many weights",
        },
        labels=("hinge loss of the discriminator",),
        x="steps",
    ),
)
