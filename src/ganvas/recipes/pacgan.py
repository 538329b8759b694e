"""Recipe of PacGAN."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import PacGAN
from ganvas.nets import dcgan as nets


def pacgan(count: int) -> Run:
    """PacDCGAN2 of arXiv:1712.04086: DCGAN's networks and rates, packs of two images.

    As `dcgan`: Adam 2e-4 with beta1 .5, 64x64 pixels, minibatches of 128, 25 passes.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(PacGAN, G=partial(nets.Generator), D=partial(nets.Discriminator)),
        data=partial(images, size=64, labels=False),
        optim={"G": adam, "D": adam},
        batch=128,
        images=25 * count,
    )
