"""Recipes of S3GAN: conditional generation with labels for a tenth of the images."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import HalfLife, PerStep
from ganvas.data import images
from ganvas.methods import S3GAN
from ganvas.nets import biggan
from ganvas.nets import s3gan as nets

BATCH, EMA_START = 2048, 40_000


def s3gan(count: int) -> Run:
    """S3GAN at 128 px with labels for 10% (arXiv:1903.02271, section 4).

    google/compare_gan's BigGAN: width 96, z of 120, attention at 64x64, two updates of
    D for each update of G, Adam with betas (0, .999), 1e-4 for G and 5e-4 for D,
    batches of 2,048, averages of .9999 from step 40,000, 250,000 steps. The classifier
    that guesses the other labels learns for 100 passes before, Adam 1e-4.
    """
    adam = partial(Adam, betas=(0.0, 0.999))
    pretrain = 100 * count
    return Run(
        method=partial(
            S3GAN,
            G=partial(biggan.Generator),
            D=partial(nets.Discriminator, attention=[64]),
            C=partial(nets.Classifier, attention=[64]),
            pretrain=pretrain,
            labels=True,
        ),
        data=partial(images, size=128, labeled=0.1, label_seed=0),
        optim={
            "G": partial(adam, lr=1e-4),
            "D": partial(adam, lr=5e-4),
            "C": partial(Adam, lr=1e-4),
        },
        batch=BATCH,
        images=pretrain + 250_000 * 2 * BATCH,
        ema=PerStep(0.9999, start=pretrain // BATCH + EMA_START),
    )


def s3gan_cotrained(count: int) -> Run:
    """S3GAN-CO: `s3gan` with labels that a head of D guesses (section 3.3)."""
    run = s3gan(count)
    return replace(
        run,
        method=partial(
            S3GAN,
            G=partial(biggan.Generator),
            D=partial(nets.Discriminator, attention=[64]),
            labels=True,
        ),
        optim={player: run.optim[player] for player in "GD"},
        images=250_000 * 2 * BATCH,
        ema=PerStep(0.9999, start=EMA_START),
    )


def s3gan_small(count: int) -> Run:
    """For a laptop: `s3gan` at 32 px with an eighth of the width and 60,000 images.

    z of 32, no attention, an embedding of 16, batches of 32, one update each, 5e-4 for
    G and 1e-3 for D as in `biggan_digits`; the classifier learns from 100,000 images
    before, Adam 1e-3. Averages over 5,000 images.
    """
    run = s3gan(count)
    adam = partial(Adam, betas=(0.0, 0.99))
    return replace(
        run,
        method=partial(
            S3GAN,
            G=partial(biggan.Generator, latent=32, width=12, shared=16, attention=[]),
            D=partial(nets.Discriminator, width=12),
            C=partial(nets.Classifier, width=12),
            n_critic=1,
            pretrain=100_000,
            labels=True,
        ),
        data=partial(images, size=32, labeled=0.1, label_seed=0),
        optim={
            "G": partial(adam, lr=5e-4),
            "D": partial(adam, lr=1e-3),
            "C": partial(Adam, lr=1e-3),
        },
        batch=32,
        images=160_000,
        ema=HalfLife(images=5_000),
    )
