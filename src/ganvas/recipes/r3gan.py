"""Recipes of R3GAN: the authors' configurations, and one for a laptop."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import Constant, Cosine, GrowingHalfLife, HalfLife, LinearDecay
from ganvas.data import images
from ganvas.methods import R3GAN
from ganvas.nets import r3gan as nets
from ganvas.nets.augment import DiffAugment


def _r3gan(side: int, gamma: float, batch: int, half_life: int, labels: bool = False) -> Run:
    """The authors' schedules, all along half a cosine over 20 million images.

    Adam 2e-4 to 5e-5, beta2 .9 to .99, gamma to a tenth, the averages' half-life
    from 0 to `half_life`. They count D's images alone; here G's real ones count,
    too, so every length is twice theirs.
    """
    adam, span = partial(Adam, lr=2e-4, betas=(0.0, 0.9), eps=1e-8), 40_000_000
    return Run(
        method=partial(
            R3GAN,
            G=partial(nets.Generator),
            D=partial(nets.Discriminator),
            gamma=Cosine(gamma, gamma / 10, span),
            labels=labels,
        ),
        data=partial(images, size=side, flip=True),
        optim={"G": adam, "D": adam},
        batch=batch,
        images=10 * span,
        lr=Cosine(1.0, 0.25, span),
        beta2=Cosine(0.9, 0.99, span),
        ema=GrowingHalfLife(Cosine(0.0, 2 * half_life, span)),
    )


def r3gan(count: int) -> Run:
    """The CIFAR-10 configuration of arXiv:2501.05441 (appendix, and the authors' code).

    32x32, with labels, batches of 512, gamma .05, averages of 5 million images. 20.8
    and 21.3 million weights.
    """
    return _r3gan(32, gamma=0.05, batch=512, half_life=5_000_000, labels=True)


def r3gan_64(count: int) -> Run:
    """The 64x64 configuration without labels.

    Batches of 256, gamma 2, averages of .5 million images; 22.4 million weights
    each.
    """
    return _r3gan(64, gamma=2.0, batch=256, half_life=500_000)


def r3gan_256(count: int) -> Run:
    """The 256x256 configuration without labels.

    As at 64x64, but gamma 150; 23 million weights each.
    """
    return _r3gan(256, gamma=150.0, batch=256, half_life=500_000)


def r3gan_small(count: int) -> Run:
    """For a laptop, and not the paper's.

    32x32 with labels, width 64, halved from 16 px on, one block a resolution,
    batches of 32, Adam 2e-3 with betas (0, .99) decayed to 0 over the second half,
    gamma .3; D's input is shifted by a pixel at most.
    """
    adam, images_in_all = partial(Adam, lr=2e-3, betas=(0.0, 0.99)), 80_000
    small = {"width": 64, "full": 8, "blocks": 1}
    return Run(
        method=partial(
            R3GAN,
            G=partial(nets.Generator, latent=32, embedding=16, **small),
            D=partial(nets.Discriminator, **small),
            gamma=Constant(0.3),
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
