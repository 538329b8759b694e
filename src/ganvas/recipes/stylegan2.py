"""Recipes of StyleGAN2."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import HalfLife
from ganvas.data import images
from ganvas.methods import StyleGAN2
from ganvas.nets.stylegan2 import Discriminator, Generator


def _adam(lr: float, every: int) -> partial[Adam]:
    """Adam with betas (0, .99), scaled for a penalty that is a step of its own.

    every: steps from one penalty to the next (arXiv:1912.04958, appendix B)
    """
    share = every / (every + 1)
    return partial(Adam, lr=lr * share, betas=(0.0, 0.99**share), eps=1e-8)


def stylegan2(count: int) -> Run:
    """Configuration F of arXiv:1912.04958, the `stylegan2` of the StyleGAN2-ADA code.

    Adam at 2e-3, batches of 32, R1 at a weight of 10, 25 million images, weights
    averaged with a half-life of 10,000 images. Theirs is 1024x1024; here 256x256 by
    default.
    """
    return Run(
        method=partial(StyleGAN2, G=partial(Generator), D=partial(Discriminator)),
        data=partial(images, size=256, flip=True),
        optim={"G": _adam(2e-3, 4), "D": _adam(2e-3, 16)},
        batch=32,
        images=25_000_000,
        ema=HalfLife(images=10_000, ramp=None),
    )


def stylegan2_ada_cifar(count: int) -> Run:
    """`cifar` of the StyleGAN2-ADA code, without its augmentation.

    arXiv:2006.06676, appendix C and D. 32x32 with labels, 2 mapping layers, D
    without residual connections and with minibatch statistics over 32 images, no
    path lengths, no style mixing; Adam at 2.5e-3, G's scaled as if there were path
    lengths, batches of 64, R1 at a weight of .01, 100 million images, half-life of
    500,000 images.
    """
    return Run(
        method=partial(
            StyleGAN2,
            G=partial(Generator, mapping=2),
            D=partial(Discriminator, architecture="orig", group=32),
            r1_weight=0.01,
            pl_weight=0.0,
            mixing=0.0,
            labels=True,
        ),
        data=partial(images, size=32),
        optim={"G": _adam(2.5e-3, 4), "D": _adam(2.5e-3, 16)},
        batch=64,
        images=100_000_000,
        ema=HalfLife(images=500_000),
    )


def stylegan2_digits(count: int) -> Run:
    """For a laptop: scikit-learn's digits at 32x32.

    After `auto` of the StyleGAN2-ADA code (2 mapping layers, Adam at 2.5e-3), with
    labels, w and z of length 32 and 32 channels at most; R1 at a weight of .1. No
    path lengths, as in `cifar`: in so short a run their mean lags behind, and the
    penalty reduces variety (variance of the fours' pixels, .135 in the data: .03
    after 60,000 images with it, .10 after 22,000 without).
    """
    widths = [32, 32, 32, 16]  # at 4, 8, 16 and 32 px
    return Run(
        method=partial(
            StyleGAN2,
            G=partial(Generator, latent=32, style=32, mapping=2, widths=widths),
            D=partial(Discriminator, widths=widths, mapping=2),
            r1_weight=0.1,
            pl_weight=0.0,
            labels=True,
        ),
        data=partial(images, size=32),
        optim={"G": _adam(2.5e-3, 4), "D": _adam(2.5e-3, 16)},
        batch=32,
        images=60_000,
        ema=HalfLife(images=2_000),
    )
