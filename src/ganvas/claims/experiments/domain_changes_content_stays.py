"""Dong et al., 2017: the domain changes, and what both domains have in common stays."""

from __future__ import annotations

from functools import partial
from statistics import fmean

import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.domains import bold, judge
from ganvas.claims.kit.training import Comparison, Trained
from ganvas.core import Run
from ganvas.methods import Dong2017
from ganvas.nets import dong2017

GAME, ENCODER = 128_000, 64_000  # digits of each rendition


def run(encoder: int = ENCODER) -> Run:
    """The authors' networks at a quarter of their width. encoder: its digits."""
    adam = partial(Adam, lr=5e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            Dong2017,
            G=partial(dong2017.Generator, width=16),
            D=partial(dong2017.Discriminator, width=16),
            E=partial(dong2017.Encoder, width=16),
            game=GAME,
        ),
        data=lambda: bold().feed,
        optim={"G": adam, "D": adam, "E": adam},
        batch=32,
        images=GAME + encoder,
    )


@torch.no_grad()
def rendered(trained: Trained, x: Tensor, to: int) -> Tensor:
    """Digits [N, 1, 32, 32] in rendition `to` (0 or 1), by encoder and generator."""
    return trained.model.translate(x, to="ab"[to])


def measure(trained: Trained) -> dict[str, float]:
    """Shares of held-out digits that come out in their rendition, and as their digit.

    Means of both directions; `reconstructed`: into the rendition of the input.
    """
    domains = bold()
    found: dict[str, list[float]] = {}
    for domain, x in enumerate((domains.a, domains.b)):
        for name, to in (("translated", 1 - domain), ("reconstructed", domain)):
            said, digit = judge()(rendered(trained, x, to))
            right = {"domain": said == to, "digit": digit == domains.y}
            for what, ok in right.items():
                found.setdefault(f"{name}_{what}", []).append(float(ok.float().mean()))
    return {name: fmean(both) for name, both in found.items()}


def series(trained: Trained) -> dict[str, object]:
    """The first held-out digits and what becomes of them."""
    a, b = bold().a, bold().b
    rows = {"a": a, "to_b": rendered(trained, a, 1), "b": b, "to_a": rendered(trained, b, 0)}
    return {name: plots.pixels(x) for name, x in rows.items()}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"translator": run(), "no_encoder": run(encoder=0)},
        controls=["no_encoder"],
        measure=measure,
        chance={"translated_domain": 0.5, "translated_digit": 0.1},
        series=series,
    ),
    plot=plots.pictures(
        {
            "digits": lambda s: s["translator"]["a"],
            "in bold; digit kept": lambda s: s["translator"]["to_b"],
            "bold digits": lambda s: s["translator"]["b"],
            "not in bold": lambda s: s["translator"]["to_a"],
        },
        {"in bold; digit kept": "translator_translated_digit"},
    ),
    ready=bold,
)
