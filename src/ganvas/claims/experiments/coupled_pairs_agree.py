"""CoGAN, section 5: tied layers draw the same digit in both domains."""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.classes import as_bytes
from ganvas.claims.kit.domains import as_tensor, mnist, two_domains
from ganvas.claims.kit.training import Comparison, Trained
from ganvas.core import Run, rng
from ganvas.core.schedules import HalfLife
from ganvas.data.feed import Feed
from ganvas.methods import CoGAN
from ganvas.nets import cogan as nets

PAIRS = 1000  # sampled for the figures
HALF_THE_WAY = 0.5  # from chance to full agreement


def edges(x: Tensor) -> Tensor:
    """Digits -> their dilation by 3x3 less themselves, [N, 1, H, W] in [-1, 1]."""
    x = (x + 1) / 2
    return (max_pool2d(x, 3, 1, 1) - x) * 2 - 1


@cache
def digits_and_edges() -> Feed:
    """One half of MNIST, and the edges of the other: the same split for every seed."""
    x, _, fingerprint = mnist(border=0)
    half = len(x) // 2
    others = torch.cat([edges(as_tensor(part)) for part in (x[half:][i::8] for i in range(8))])
    return two_domains("digits and edges of other digits", x[:half], as_bytes(others), fingerprint)


def run(tied: tuple[int, int]) -> Run:
    """`cogan` at an eighth of its generators' width. tied: layers of G and of D."""
    adam = partial(Adam, lr=5e-4, betas=(0.5, 0.999), weight_decay=5e-4)
    return Run(
        method=partial(
            CoGAN,
            G=partial(nets.Generators, widths=(128, 64, 32, 16), tied=tied[0]),
            D=partial(nets.Discriminators, widths=(10, 25, 250), tied=tied[1]),
        ),
        data=digits_and_edges,
        optim={"G": adam, "D": adam},
        batch=64,
        images=6000 * 64,
        ema=HalfLife(images=10_000),
    )


@torch.no_grad()
def pairs(trained: Trained) -> tuple[Tensor, Tensor]:
    """Images of both domains, of the same latents: [PAIRS, 1, H, W] each."""
    model = trained.model
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "pairs"))
        z = model.latent(PAIRS)
    a, b = (
        torch.cat([model.sample(len(p), z=p, y=torch.full((len(p),), y)) for p in z.split(100)])
        for y in (0, 1)
    )
    return a, b


def agreement(a: Tensor, b: Tensor) -> float:
    """Share of pixels in which the edges of digits a agree with the edges b."""
    return float(((edges(a) > 0) == (b > 0)).float().mean())


def measure(trained: Trained) -> dict[str, float]:
    """Agreement of pairs, on the way from that of unrelated images to 1.

    edges: share of bright pixels in the generated edges, over that of the data
    variety: standard deviation of a pixel over that of the data, the lesser domain's
    """
    a, b = pairs(trained)
    real = trained.feed.fixed(PAIRS)
    found, chance = agreement(a, b), agreement(a, b.roll(1, 0))
    way = (found - chance) / (1 - chance) if chance < 1 else 0.0
    spreads = [float(x.std(0).mean() / y.std(0).mean()) for x, y in ((a, real.a), (b, real.b))]
    return {
        "agreement": found,
        "by_chance": chance,
        "way": way,
        "agree": float(way >= HALF_THE_WAY),
        "edges": float((b > 0).float().mean() / (real.b > 0).float().mean()),
        "variety": min(spreads),
    }


def series(trained: Trained) -> dict[str, object]:
    """The first pairs."""
    a, b = pairs(trained)
    return {"digits": plots.pixels(a), "edges": plots.pixels(b)}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"coupled": run((4, 3)), "untied": run((0, 3))},
        controls=["untied"],
        measure=measure,
        chance={"way": 0.0, "agree": 0.0},
        series=series,
    ),
    plot=plots.pictures(
        {
            "digits of coupled generators": lambda s: s["coupled"]["digits"],
            "their edges; way from chance to agreement": lambda s: s["coupled"]["edges"],
            "digits of generators without shared layers": lambda s: s["untied"]["digits"],
            "their edges; way from chance to agreement ": lambda s: s["untied"]["edges"],
        },
        {
            "their edges; way from chance to agreement": "coupled_way",
            "their edges; way from chance to agreement ": "untied_way",
        },
    ),
    ready=mnist,
)
