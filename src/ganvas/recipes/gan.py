"""Recipes of the GAN of 2014."""

from dataclasses import replace
from functools import partial

from torch.optim import SGD, Adam

from ganvas.core import Run
from ganvas.core.schedules import ExponentialDecay, HalfLife, LinearDecay, Ramp
from ganvas.data import images
from ganvas.methods import GAN
from ganvas.nets import mlp


def gan(count: int) -> Run:
    """The MNIST run of arXiv:1406.2661; numbers from the authors' mnist.yaml.

    D's rate is half of G's: their code descends half of the sum that is D's loss
    here.
    """
    sgd = partial(SGD, momentum=0.5)  # init_momentum .5
    return Run(
        method=partial(GAN, G=partial(mlp.MLPGenerator), D=partial(mlp.MaxoutDiscriminator)),
        data=partial(images, size=28),
        optim={"G": partial(sgd, lr=0.1), "D": partial(sgd, lr=0.05)},  # learning_rate .1
        batch=100,
        images=250 * count,
        # decay_factor 1.000004, min_lr 1e-6 = .1 x 1e-5
        lr=ExponentialDecay(factor=1.000004, floor=1e-5),
        # final_momentum .7 after 250 epochs
        momentum=Ramp(start=0.5, stop=0.7, images=250 * count),
    )


def gan_adam(count: int) -> Run:
    """`gan` as it is usually trained today: Adam 2e-4 with beta1 .5 (arXiv:1511.06434).

    50 passes; the rates fall to 0 over the second half; averaged weights.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return replace(
        gan(count),
        optim={"G": adam, "D": adam},
        images=50 * count,
        lr=LinearDecay(start=25 * count, end=50 * count),
        momentum=None,
        ema=HalfLife(images=5_000),
    )
