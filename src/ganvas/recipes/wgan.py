from functools import partial

from torch.optim import RMSprop

from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import WGAN
from ganvas.nets import dcgan as nets


def wgan(count: int) -> Run:
    """Section 4 of arXiv:1701.07875 and the authors' code: DCGAN's networks at 64x64, batches of 64, RMSprop 5e-5. The length
    is ours: 25 passes, as DCGAN's."""
    rmsprop = partial(RMSprop, lr=5e-5)
    return Run(
        method=partial(WGAN, G=partial(nets.Generator), D=partial(nets.Discriminator)),
        data=partial(images, size=64),
        optim={"G": rmsprop, "D": rmsprop},
        batch=64,
        images=25 * count,
    )
