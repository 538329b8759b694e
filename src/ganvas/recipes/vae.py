"""Recipes of the variational autoencoder."""

from functools import partial

from torch.optim import Adagrad, Adam

from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import VAE
from ganvas.nets import autoencoder as nets


def vae(count: int) -> Run:
    """Section 5 of arXiv:1312.6114, MNIST at 28x28.

    Perceptrons of 500 units, 20 latent dimensions, pixels as probabilities, Adagrad
    on minibatches of 100. The paper chooses the rate among .01, .02 and .1 by the
    first few steps and stops at some 10^8 images; here .02, and 100 passes.
    """
    return Run(
        method=partial(VAE, Enc=partial(nets.MLPEncoder), Dec=partial(nets.MLPDecoder)),
        data=partial(images, size=28),
        optim={"VAE": partial(Adagrad, lr=0.02)},
        batch=100,
        images=100 * count,
    )


def vae_conv(count: int) -> Run:
    """The baseline VAE of VAE/GAN (arXiv:1512.09300, section 4.1).

    Its encoder and decoder at 64x64, a Gaussian likelihood of pixels, batches of 64.
    Adam 1e-3 and a deviation of .1 are ours.
    """
    return Run(
        method=partial(
            VAE,
            Enc=partial(nets.Encoder),
            Dec=partial(nets.Decoder),
            likelihood="gaussian",
            latent=128,
        ),
        data=partial(images, size=64, flip=True),
        optim={"VAE": partial(Adam, lr=1e-3)},
        batch=64,
        images=25 * count,
    )


def vae_small(count: int) -> Run:
    """For a laptop, and not the paper's.

    32x32, the convolutions of `vae_conv` at width 16, 16 latent dimensions, pixels
    as probabilities, Adam 1e-3.
    """
    small = {"width": 16}
    return Run(
        method=partial(
            VAE, Enc=partial(nets.Encoder, **small), Dec=partial(nets.Decoder, **small), latent=16
        ),
        data=partial(images, size=32),
        optim={"VAE": partial(Adam, lr=1e-3)},
        batch=64,
        images=100_000,
    )
