"""Recipes of VAE/GAN."""

from functools import partial

from torch.optim import Adam, RMSprop

from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import VAEGAN
from ganvas.nets import autoencoder as nets


def vaegan(count: int) -> Run:
    """Section 4 of arXiv:1512.09300.

    64x64, batches of 64, RMSprop 3e-4, their networks, gamma 1e-6 (the authors'
    code). The length is ours: 25 passes.
    """
    rmsprop = partial(RMSprop, lr=3e-4)
    return Run(
        method=partial(
            VAEGAN,
            Enc=partial(nets.Encoder),
            Dec=partial(nets.Decoder),
            Dis=partial(nets.FeatureDiscriminator),
        ),
        data=partial(images, size=64, flip=True),
        optim=dict.fromkeys(("Enc", "Dec", "Dis"), rmsprop),
        batch=64,
        images=25 * count,
    )


def vaegan_small(count: int) -> Run:
    """For a laptop, and not the paper's.

    32x32, width 16, 16 latent dimensions, Adam 1e-3 with beta1 .5, gamma 1e-3.
    """
    small, adam = {"width": 16}, partial(Adam, lr=1e-3, betas=(0.5, 0.999))
    return Run(
        method=partial(
            VAEGAN,
            Enc=partial(nets.Encoder, **small),
            Dec=partial(nets.Decoder, **small),
            Dis=partial(nets.FeatureDiscriminator, **small),
            gamma=1e-3,
            latent=16,
        ),
        data=partial(images, size=32),
        optim=dict.fromkeys(("Enc", "Dec", "Dis"), adam),
        batch=64,
        images=100_000,
    )
