"""DualGAN, sections 3.1 and 3.2: dropout as noise gives translations that lead back."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.optim import RMSprop

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.domains import Domains, bold, judge, translation_scores
from ganvas.claims.kit.training import Comparison, Trained
from ganvas.core import Run, rng
from ganvas.methods import DualGAN
from ganvas.nets import image_to_image, patchgan

DRAWS = 4  # translations of each held-out digit
DIGITS = 100  # held-out digits that are translated
GRAY = 127.5  # gray levels of 255 in a difference of 1
BLACK = -0.9  # and less: background, which cannot vary
VISIBLE = 1.0  # gray level: less does not show in an image of 8 bits
STEPS = 2000  # of the generators


def run(weight: float = 100.0, dropout: int = 3) -> Run:
    """DualGAN at an eighth of its width. weight: of both cycles."""
    rmsprop = partial(RMSprop, alpha=0.9)
    return Run(
        method=partial(
            DualGAN,
            G=partial(image_to_image.UNetGenerator, width=8, depth=4, dropout=dropout),
            D=partial(patchgan.PatchDiscriminator, width=16, layers=2, norm="batch"),
            a_weight=weight,
            b_weight=weight,
        ),
        data=lambda: bold().feed,
        optim={"G": partial(rmsprop, lr=1e-3), "D": partial(rmsprop, lr=5e-4)},
        batch=4,
        images=STEPS * 3 * 4,
    )


@torch.no_grad()
def draws(trained: Trained, domains: Domains) -> tuple[Tensor, Tensor]:
    """Translations of held-out digits, and back: [DRAWS, N, 1, H, W] each."""
    x, model = domains.a[:DIGITS], trained.model
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "noise"))
        there = torch.stack([model.translate(x, to="b") for _ in range(DRAWS)])
        back = torch.stack([model.translate(one, to="a") for one in there])
    return there, back


def scores(x: Tensor, there: Tensor, back: Tensor, of_domain: Tensor) -> dict[str, float]:
    """Which part of the statement holds for which share of the inputs.

    x: inputs [N, C, H, W]
    there, back: their translations and the ways back [draws, N, C, H, W]
    of_domain: whether each translation is of the other domain [draws, N]

    Returns:
    noise: mean absolute difference of two translations of an input, gray levels, over
        the pixels that are not black in all of them
    vary, in_domain, return: shares of inputs whose translations differ by `VISIBLE`
        gray levels or more; are all of the other domain; all lead back, so that the way
        back is nearer to this input than to any other
    all_three: share of inputs for which all three hold
    """
    n = len(there)
    pairs = torch.stack([(there[i] - there[j]).abs() for i in range(n) for j in range(i)])
    drawn = (there > BLACK).any(0)
    noise = (pairs.mean(0) * drawn).sum((1, 2, 3)) / drawn.sum((1, 2, 3)).clamp(min=1) * GRAY
    ways = torch.cdist(back.flatten(2), x.flatten(1).expand(n, -1, -1))
    returns = (ways.argmin(2) == torch.arange(len(x))).all(0)
    vary, inside = noise >= VISIBLE, of_domain.all(0)
    shares = {
        "vary": vary,
        "in_domain": inside,
        "return": returns,
        "all_three": vary & inside & returns,
    }
    return {"noise": float(noise.mean())} | {k: float(v.float().mean()) for k, v in shares.items()}


def measure(trained: Trained) -> dict[str, float]:
    """The shares, and how many translations are nearest to their own true one."""
    domains = bold()
    there, back = draws(trained, domains)
    of_domain = torch.stack([judge()(one)[0] == 1 for one in there])
    x, truth = domains.a[:DIGITS], domains.b[:DIGITS]
    matched = translation_scores(there[0], truth, x)["matched"]
    return scores(x, there, back, of_domain) | {"matched": matched}


def series(trained: Trained) -> dict[str, object]:
    """The first held-out digits, two translations of each, and the way back."""
    there, back = draws(trained, bold())
    rows = {"input": bold().a, "one": there[0], "another": there[1], "back": back[0]}
    return {name: plots.pixels(x) for name, x in rows.items()}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"dualgan": run(), "no_cycle": run(weight=0.0), "no_dropout": run(dropout=0)},
        controls=["no_cycle", "no_dropout"],
        measure=measure,
        series=series,
    ),
    plot=plots.pictures(
        {
            "input": lambda s: s["dualgan"]["input"],
            "one translation": lambda s: s["dualgan"]["one"],
            "another; share for which all three hold": lambda s: s["dualgan"]["another"],
            "back from the first": lambda s: s["dualgan"]["back"],
            "without the cycle, all three": lambda s: s["no_cycle"]["one"],
            "without dropout, all three": lambda s: s["no_dropout"]["one"],
        },
        {
            "another; share for which all three hold": "dualgan_all_three",
            "without the cycle, all three": "no_cycle_all_three",
            "without dropout, all three": "no_dropout_all_three",
        },
    ),
    ready=bold,
)
