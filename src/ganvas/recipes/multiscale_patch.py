"""Recipes of multi-scale patch GANs."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import stacks
from ganvas.methods import MultiscalePatch
from ganvas.nets import multiscale_patch as nets


def multiscale_patch(count: int) -> Run:
    """The authors' package of arXiv:1907.01376 in two dimensions, at 256 px.

    32 px, then 64, 128 and 256 by patches of 32; Adam 2e-4 with betas (.5, .999), 100
    epochs of each level (theirs: up to 2,000, until the validation error stands still).
    Batches of 8.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            MultiscalePatch,
            G=partial(nets.Generators),
            D=partial(nets.Discriminators),
            images=100 * count,
        ),
        data=partial(stacks, size=256, flip=True),
        optim={"G": adam, "D": adam},
        batch=8,
        images=400 * count,
    )


def multiscale_patch_small(count: int) -> Run:
    """For a laptop: `multiscale_patch` at 128 px, a quarter of the width, three blocks.

    Batch norm in place of instance norm, so that a patch has no statistics of its own
    and neighbors agree; 20 epochs of each of the three levels, 1e-3.
    """
    run = multiscale_patch(count)
    adam = partial(Adam, lr=1e-3, betas=(0.5, 0.999))
    return replace(
        run,
        method=partial(
            MultiscalePatch,
            G=partial(nets.Generators, width=16, blocks=3, norm="batch", dropout=0.0),
            D=partial(nets.Discriminators, width=16),
            images=20 * count,
        ),
        data=partial(stacks, size=128, flip=True),
        optim={"G": adam, "D": adam},
        images=60 * count,
    )
