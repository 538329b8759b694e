"""Multi-scale patch GANs, section 2: a step's memory is that of a patch."""

from __future__ import annotations

from functools import partial

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.claims.kit.costs import kept_bytes
from ganvas.core import Batch, Shape, Stage, rng
from ganvas.methods import MultiscalePatch
from ganvas.methods.multiscale_patch import doubled, pooled
from ganvas.nets import multiscale_patch as nets

SIZES = (128, 256)  # pixels
WIDTH = 16
BATCH = 2


def experiment(seed: int) -> Finding:
    """Bytes that a step of the last level keeps, by patches and of whole images."""
    kept = {
        name: [step_bytes(size, name == "whole", seed) for size in SIZES]
        for name in ("patches", "whole")
    }
    figures = {name: {"growth": found[-1] / found[0]} for name, found in kept.items()}
    series = {name: [b / 2**20 for b in found] for name, found in kept.items()}
    whole = {"whole_growth": figures["whole"]["growth"]}
    return Finding(
        {**figures["patches"], **whole}, series, {"whole": {**figures["whole"], **whole}}
    )


def step_bytes(size: int, whole: bool, seed: int) -> int:
    """Bytes of all tensors that a step of G keeps for its gradients, weights aside.

    whole: the patch is the whole image
    """
    torch.manual_seed(rng.fold_in(seed, "networks"))
    game = MultiscalePatch(
        Shape(1, size, size),
        G=partial(nets.Generators, width=WIDTH),
        D=partial(nets.Discriminators, width=WIDTH),
    )
    game.current_stage = Stage(game.levels)
    x, y = torch.rand(2, BATCH, 1, size, size).unbind()

    def loss() -> Tensor:
        if whole:
            batch = Batch(edges=x, real=y, low=doubled(pooled(y, 1)))
        else:
            batch = game.cut(Batch(x=x, y=y))
        return game.g_loss(batch.having(**game.fake(batch))).loss

    return kept_bytes(game, loss)


def plot(figure: Figure, seeds: Seeds) -> None:
    """Memory against size, by patches and of whole images."""
    axes = figure.subplots()
    for i, name in enumerate(("patches", "whole")):
        for s in seeds:
            label = name if s is seeds[0] else None
            axes.plot(SIZES, s["series"][name], "o-", color=f"C{i}", label=label)
    axes.set(xlabel="side of the image, pixels", ylabel="kept for gradients, MiB", yscale="log")
    axes.set_xticks(SIZES, list(map(str, SIZES)))
    axes.legend()


CLAIM = claim(__name__, experiment=experiment, plot=plot)
