"""Recipes of DCGAN, and the demos."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import HalfLife, LinearDecay
from ganvas.data import images
from ganvas.methods import DCGAN
from ganvas.nets import dcgan as nets
from ganvas.nets.augment import DiffAugment


def dcgan(count: int) -> Run:
    """Section 4 of arXiv:1511.06434.

    Adam 2e-4 with beta1 .5, minibatches of 128, 64x64 pixels, 25 passes as in
    PyTorch's example.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(DCGAN, G=partial(nets.Generator), D=partial(nets.Discriminator)),
        data=partial(images, size=64),
        optim={"G": adam, "D": adam},
        batch=128,
        images=25 * count,
    )


def dcgan_digits(count: int) -> Run:
    """The demo: DCGAN with labels on scikit-learn's 1,797 digits at 32x32.

    Sized for two minutes on two CPU cores. Not the paper's: width 16, 32 latent
    dimensions, batches of 32, Adam 2e-3 with betas (0, .99) decayed to 0 over the
    second half, averaged weights; D without batch norm, with R1, and with its input
    shifted by up to a pixel, since it would otherwise memorize so small a data set.
    """
    adam = partial(Adam, lr=2e-3, betas=(0.0, 0.99))
    images_in_all = 40_000
    return Run(
        method=partial(
            DCGAN,
            G=partial(nets.Generator, width=16, latent=32),
            D=partial(nets.Discriminator, width=16, norm=False),
            r1_weight=0.3,
            r1_every=4,
            labels=True,
        ),
        data=partial(images, size=32),
        optim={"G": adam, "D": adam},
        batch=32,
        images=images_in_all,
        lr=LinearDecay(start=images_in_all // 2, end=images_in_all),
        ema=HalfLife(images=5_000),
        augment=partial(DiffAugment, policy=("translation",), shift=1 / 32),
    )


def dcgan_letters(count: int) -> Run:
    """The demo: `dcgan_digits` for the shipped capital letters at 32x32.

    Sized for four minutes on two CPU cores without bf16. Differences: width 32 and
    batches of 64; labels enter D by projection (arXiv:1802.05637), since with 26 planes
    beside one gray one its first convolution was the slowest; no augmentation, since D
    cannot memorize 6,604 letters in 12 passes.
    """
    run = dcgan_digits(count)
    assert isinstance(run.method, partial)
    method = partial(
        run.method,
        G=partial(nets.Generator, width=32, latent=32),
        D=partial(nets.Discriminator, width=32, norm=False, projection=True),
    )
    images_in_all = 80_000
    return replace(
        run,
        method=method,
        batch=64,
        images=images_in_all,
        lr=LinearDecay(start=images_in_all // 2, end=images_in_all),
        augment=None,
    )
