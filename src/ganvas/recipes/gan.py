"""Recipe of the GAN of 2014."""

from functools import partial

from torch.optim import SGD

from ganvas.core import Run
from ganvas.core.schedules import ExponentialDecay, Ramp
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
