"""Recipe of WGAN."""

from functools import partial

from torch.optim import RMSprop

from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import WGAN
from ganvas.nets import dcgan as nets


def wgan(count: int) -> Run:
    """Section 4 of arXiv:1701.07875 and the authors' code.

    DCGAN's networks at 64x64, batches of 64, RMSprop 5e-5, 25 passes over LSUN's
    3,033,042 bedrooms, for any data: with its rate and its critic's phases, 25
    passes over a few thousand images are gray noise (seen on digits).
    """
    rmsprop = partial(RMSprop, lr=5e-5)
    return Run(
        method=partial(WGAN, G=partial(nets.Generator), D=partial(nets.Discriminator)),
        data=partial(images, size=64),
        optim={"G": rmsprop, "D": rmsprop},
        batch=64,
        images=25 * 3_033_042,
    )
