"""Recipe of SinGAN."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import SinGAN
from ganvas.nets import singan as nets


def singan(count: int) -> Run:
    """arXiv:1905.01164 and its code for one image, 250 px at its longer side there.

    2,000 steps for each scale, of three updates of both; Adam 5e-4 with beta1 .5; the
    width of 32 doubles every four scales. Here squares of 160 px by default, which
    have 7 scales: give a folder with one image; of several, one is drawn. Wider
    images: --size 128x192. For a shorter side above 160 px, more --images, 2,000 for
    each scale (250 px: 9 scales).
    """
    adam = partial(Adam, lr=5e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(SinGAN, G=partial(nets.Generators), D=partial(nets.Discriminators)),
        data=partial(images, size=160, labels=False),
        optim={"D": adam, "G": adam},
        batch=1,
        images=7 * 2000,
    )
