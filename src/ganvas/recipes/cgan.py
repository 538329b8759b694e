"""Recipes of the conditional GAN."""

from functools import partial

from torch.optim import SGD, Adam

from ganvas.core import Run
from ganvas.core.schedules import ExponentialDecay, Ramp
from ganvas.data import images
from ganvas.methods import CGAN
from ganvas.nets import dcgan, mlp


def cgan(count: int) -> Run:
    """Section 4.1 of arXiv:1411.1784, MNIST.

    SGD on batches of 100 at .1, divided by 1.00004 a step down to 1e-6; momentum .5
    raised to .7. The paper stops by its estimate of the likelihood; ours ends after
    250 passes, as the GAN of 2014. D's rate is half of G's, as there, since theirs
    is built on its code.
    """
    sgd = partial(SGD, momentum=0.5)
    return Run(
        method=partial(
            CGAN,
            G=partial(mlp.ConditionalMLPGenerator),
            D=partial(mlp.ConditionalMaxoutDiscriminator),
        ),
        data=partial(images, size=28),
        optim={"G": partial(sgd, lr=0.1), "D": partial(sgd, lr=0.05)},
        batch=100,
        images=250 * count,
        lr=ExponentialDecay(factor=1.00004, floor=1e-5),
        momentum=Ramp(start=0.5, stop=0.7, images=250 * count),
    )


def cgan_dcgan(count: int) -> Run:
    """CGAN's game on DCGAN's networks at 32x32. Not the paper's.

    The label is a plane for each class. Width 32, Adam 2e-4 with beta1 .5, batches
    of 64, 60,000 images or 10 passes.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            CGAN, G=partial(dcgan.Generator, width=32), D=partial(dcgan.Discriminator, width=32)
        ),
        data=partial(images, size=32),
        optim={"G": adam, "D": adam},
        batch=64,
        images=max(60_000, 10 * count),
    )
