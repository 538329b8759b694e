"""Recipes of FastGAN."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import PerStep
from ganvas.data import images
from ganvas.methods import FastGAN
from ganvas.nets import fastgan as nets
from ganvas.nets.augment import DiffAugment


def fastgan(count: int) -> Run:
    """The authors' code of arXiv:2101.04775: 256x256, batches of 8, 50,000 steps.

    Adam 2e-4 with beta1 .5 for both, color and translation of DiffAugment, averaged
    weights with .999 per step. --size 512 and 1024 work, too.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(FastGAN, G=partial(nets.Generator), D=partial(nets.Discriminator)),
        data=partial(images, size=256, flip=True),
        optim={"D": adam, "G": adam},
        batch=8,
        images=400_000,
        ema=PerStep(0.999),
        augment=partial(DiffAugment, policy=("color", "translation")),
    )


def fastgan_small(count: int) -> Run:
    """`fastgan` for a laptop: 64x64 pixels, width 16, 80,000 images.

    Not the paper's: sides below 256 px leave out stages of its networks.
    """
    run = fastgan(count)
    return replace(
        run,
        method=partial(
            FastGAN,
            G=partial(nets.Generator, width=16, latent=128),
            D=partial(nets.Discriminator, width=16, decoder_width=8),
        ),
        data=partial(images, size=64, flip=True),
        images=80_000,
    )
