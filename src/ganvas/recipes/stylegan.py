"""Recipes of StyleGAN."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import HalfLife
from ganvas.data import images
from ganvas.methods import StyleGAN
from ganvas.nets import progan
from ganvas.nets.stylegan import Generator


def stylegan(count: int) -> Run:
    """Appendix C of arXiv:1812.04948 and the authors' code.

    Growth from 8 px, 600,000 images per phase, 25 million images in all; Adam with
    betas (0, .99) at 1e-3, more from 128 px on; batches as for their 8 GPUs; weights
    averaged with a half-life of 10,000 images. Theirs is 1024x1024; here 128x128 by
    default.
    """
    adam = partial(Adam, lr=1e-3, betas=(0.0, 0.99), eps=1e-8)
    return Run(
        method=partial(
            StyleGAN,
            G=partial(Generator),
            D=partial(progan.ProgressiveDiscriminator, blur=True),
            batches={4: 512, 8: 256, 16: 128, 32: 64},
            rates={128: 1.5, 256: 2.0, 512: 3.0, 1024: 3.0},
        ),
        data=partial(images, size=128, flip=True),
        optim={"G": adam, "D": adam},
        batch=32,
        images=25_000_000,
        ema=HalfLife(images=10_000, ramp=None),
    )


def stylegan_digits(count: int) -> Run:
    """For a laptop: scikit-learn's digits at 32x32.

    Not the paper's: 32 channels at most, w and z of length 32, 4 mapping layers,
    5,000 images a phase in batches of 32, R1 at a weight of 1, twice the rate,
    labels.
    """
    adam = partial(Adam, lr=2e-3, betas=(0.0, 0.99), eps=1e-8)
    widths = [32, 32, 32, 16]  # at 4, 8, 16 and 32 px
    return Run(
        method=partial(
            StyleGAN,
            G=partial(Generator, latent=32, style=32, mapping=4, widths=widths),
            D=partial(progan.ProgressiveDiscriminator, widths=widths, blur=True),
            fade=5_000,
            hold=5_000,
            r1_weight=1.0,
            labels=True,
        ),
        data=partial(images, size=32),
        optim={"G": adam, "D": adam},
        batch=32,
        images=80_000,
        ema=HalfLife(images=2_000),
    )
