"""Multi-scale patch GANs, section 2: the image before makes patches agree."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run, rng
from ganvas.data import Feed, Info
from ganvas.data.stacked import sketch
from ganvas.methods import MultiscalePatch
from ganvas.methods.multiscale_patch import starts
from ganvas.nets import multiscale_patch as nets

SIZE = 256  # pixels of the training images
LARGE = 1024
COUNT = 200  # training images
TESTED = 8  # images that are compared
EACH = 8_000  # images from which each level learns
BODY = 256  # pixels: a body lies in each square of this side


class Alone(nets.Generators):
    """Generators whose patches do not see the image before."""

    def forward(self, edges: Tensor, low: Tensor | None, level: int) -> Tensor:
        """As of `Generators`, with gray in place of `low`."""
        return super().forward(edges, None if low is None else torch.zeros_like(low), level)


def phantoms(count: int, side: int, seed: int) -> Tensor:
    """Bright bodies with organs on a dark ground, [count, 1, side, side] in [-1, 1].

    A body, its organs and their places are ellipses, drawn anew in each square.
    """
    numbers = np.random.default_rng(rng.fold_in(seed, "phantoms", side))
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    images = np.full((count, side, side), 0.1, np.float32)
    for image in images:
        for top in range(0, side, BODY):
            for left in range(0, side, BODY):
                body = ellipse(numbers, rows - top - BODY / 2, columns - left - BODY / 2, 0.3, 0.42)
                image[body] = 0.6
                for _ in range(6):
                    y, x = numbers.uniform(-0.2, 0.2, 2) * BODY + BODY / 2
                    organ = ellipse(numbers, rows - top - y, columns - left - x, 0.03, 0.09)
                    image[organ & body] += numbers.choice([-0.2, 0.2])
    return torch.from_numpy(images.clip(0, 1))[:, None] * 2 - 1


def ellipse(
    numbers: np.random.Generator, y: np.ndarray, x: np.ndarray, least: float, most: float
) -> np.ndarray:
    """Where coordinates relative to its center lie in an ellipse, bool [side, side].

    least, most: its radii over `BODY`
    """
    a, b = numbers.uniform(least, most, 2) * BODY
    angle = numbers.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (along / a) ** 2 + (across / b) ** 2 < 1


def data() -> Feed:
    """The training images in 16 bits, and sketches of their edges."""
    x = ((phantoms(COUNT, SIZE, 0) + 1) * 32767.5).round().movedim(1, -1)
    pixels = x.numpy().astype(np.uint16)
    info = Info("pairs", "phantoms", "", "train", 1, SIZE, SIZE, COUNT, f"phantoms-{COUNT}-{SIZE}")
    feed = Feed(info, {"x": pixels}, flip=True)
    feed.derive = sketch
    return feed


@cache
def tests() -> dict[int, Tensor]:
    """Images that no run was trained on, of the training's size and larger."""
    return {SIZE: phantoms(TESTED, SIZE, 1), LARGE: phantoms(1, LARGE, 1)}


def run(networks: type[nets.Generators]) -> Run:
    """`multiscale_patch_small` at 256 px and three quarters of its width."""
    adam = partial(Adam, lr=1e-3, betas=(0.5, 0.999))
    return Run(
        method=partial(
            MultiscalePatch,
            G=partial(networks, width=12, blocks=3, norm="batch", dropout=0.0),
            D=partial(nets.Discriminators, width=12),
            images=EACH,
        ),
        data=data,
        optim={"G": adam, "D": adam},
        batch=8,
        images=4 * EACH,
    )


def seams(x: Tensor, side: int, margin: int) -> float:
    """Mean step across the borders of patches over that between other neighbors.

    x: images [N, 1, H, W]
    """
    ratios = []
    for dim in (2, 3):
        steps = x.diff(dim=dim).abs().mean([d for d in range(4) if d != dim])
        length = x.shape[dim]
        at = torch.tensor([start + margin - 1 for start in starts(length, side, margin)[1:]])
        border = torch.zeros(length - 1, dtype=torch.bool)
        border[at] = True
        ratios.append(steps[border].mean() / steps[~border].mean().clamp(min=1e-6))
    return float(torch.stack(ratios).mean())


@torch.no_grad()
def measure(trained: Trained) -> Figures:
    """Errors against the true images, and seams, at both sizes."""
    model: Any = trained.model
    model.current_stage = trained.engine.method.stage(trained.engine.clock)
    found: dict[str, float] = {}
    for name, truth in zip(("", "large_"), tests().values(), strict=True):
        made = model.translate(sketch(truth))
        found[f"{name}error"] = float((made - truth).abs().mean() / 2)
        found[f"{name}seams"] = seams(made, model.side, model.margin)
        found[f"{name}true_seams"] = seams(truth, model.side, model.margin)
    return found


def figures(arms: Mapping[str, Figures]) -> Figures:
    """All measures; errors with the image before over those without it."""
    seen, alone = arms["seen"], arms["alone"]
    return {
        **flat(arms),
        "error_ratio": seen["error"] / alone["error"],
        "large_error_ratio": seen["large_error"] / alone["large_error"],
        "growth": seen["large_error"] / seen["error"],
    }


@torch.no_grad()
def series(trained: Trained) -> dict[str, object]:
    """Two made images beside the true ones, at a quarter of their size."""
    model: Any = trained.model
    truth = tests()[SIZE][:2]
    x = torch.cat([model.translate(sketch(truth)), truth])
    return {"images": plots.pixels(x[:, :1, ::4, ::4])}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"seen": run(nets.Generators), "alone": run(Alone)},
        controls=["alone"],
        measure=measure,
        figures=figures,
        series=series,
    ),
    plot=plots.pictures(
        {
            "two made with the image before, and the true ones; seams": lambda s: s["seen"][
                "images"
            ],
            "the same without it; seams": lambda s: s["alone"]["images"],
        },
        {
            "two made with the image before, and the true ones; seams": "seen_seams",
            "the same without it; seams": "alone_seams",
        },
    ),
)
