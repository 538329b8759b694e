"""Recipes of SPADE."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import label_maps
from ganvas.methods import SPADE
from ganvas.nets import multiscale
from ganvas.nets import spade as nets


def spade(count: int) -> Run:
    """The authors' options of arXiv:1903.07291: 256x256 cropped from 286, 100 epochs.

    Adam with betas (0, .9), 1e-4 for G and 4e-4 for D (TTUR), batches of 8 (their
    default on 8 GPUs: 32). The rate is constant for 50 epochs and falls to 0 over the
    next 50 (their defaults: 50 at a constant rate); no style encoder, as for COCO: add
    one with `spade_style`. G's weights on VGG19's features need a file: --set vgg=FILE.
    """
    return Run(
        method=partial(
            SPADE,
            G=partial(nets.Generator),
            D=partial(multiscale.MultiscaleDiscriminator, layers=4, scales=2, spectrally=True),
        ),
        data=partial(label_maps, size=256, load=286, flip=True),
        optim={
            "G": partial(Adam, lr=1e-4, betas=(0.0, 0.9)),
            "D": partial(Adam, lr=4e-4, betas=(0.0, 0.9)),
        },
        batch=8,
        images=100 * count,
        lr=LinearDecay(start=50 * count, end=100 * count),
    )


def spade_style(count: int) -> Run:
    """`spade` with a style encoder: many images for one label map."""
    run = spade(count)
    assert isinstance(run.method, partial)
    return replace(run, method=partial(run.method, E=partial(nets.StyleEncoder)))


def spade_small(count: int) -> Run:
    """`spade` for a laptop: 64x64, an eighth of the width, batches of 4, 40 epochs.

    Not the paper's: widths 8 (16 for D) and 16 channels for gamma and beta; twice the
    rates.
    """
    run = spade(count)
    return replace(
        run,
        method=partial(
            SPADE,
            G=partial(nets.Generator, width=8, hidden=16),
            D=partial(
                multiscale.MultiscaleDiscriminator, width=16, layers=3, scales=2, spectrally=True
            ),
        ),
        data=partial(label_maps, size=64, load=72, flip=True),
        optim={
            "G": partial(Adam, lr=2e-4, betas=(0.0, 0.9)),
            "D": partial(Adam, lr=8e-4, betas=(0.0, 0.9)),
        },
        batch=4,
        images=40 * count,
        lr=LinearDecay(start=20 * count, end=40 * count),
    )
