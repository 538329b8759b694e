"""Recipes of ProGAN, with and without labels."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import PerStep
from ganvas.data import images
from ganvas.methods import ProGAN
from ganvas.nets.progan import ProgressiveDiscriminator, ProgressiveGenerator


def _progan(side: int, labels: bool, flip: bool) -> Run:
    adam = partial(Adam, lr=1e-3, betas=(0.0, 0.99), eps=1e-8)
    return Run(
        method=partial(
            ProGAN,
            G=partial(ProgressiveGenerator),
            D=partial(ProgressiveDiscriminator, group=16),
            fade=800_000,
            hold=800_000,
            batches={256: 14, 512: 6, 1024: 3},
            labels=labels,
        ),
        data=partial(images, size=side, flip=flip),
        optim={"G": adam, "D": adam},
        batch=16,
        images=19_000_000,
        ema=PerStep(0.999),
    )


def progan(count: int) -> Run:
    """`preset-v1-1gpu` of the authors' code, the CelebA-HQ and LSUN results.

    tkarras/progressive_growing_of_gans, 2504c3f; arXiv:1710.10196. 800,000 images
    per phase, 19 million in all; batches of 16, from 256 px on 14, 6 and 3;
    minibatch statistics over groups of 16; Adam 1e-3 with betas (0, .99); weights
    averaged by .999 per step; mirrored images. Theirs is 1024x1024; here 128x128 by
    default.
    """
    return _progan(128, labels=False, flip=True)


def progan_labels(count: int) -> Run:
    """`progan` with labels, as in the authors' code for labeled data (`-cond`).

    The class beside z, and a D that also predicts it. 32x32 by default and nothing
    mirrored, as its `-cifar10`.
    """
    return _progan(32, labels=True, flip=False)
