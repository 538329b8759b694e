"""Recipe of LSGAN."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import LSGAN
from ganvas.nets import dcgan as nets


def lsgan(count: int) -> Run:
    """Equation 9 of arXiv:1611.04076 on DCGAN's networks: 64x64 pixels, 25 passes.

    Adam with beta1 .5 as in the paper's section 4.1; batches of 64. Its rate, 1e-3, is
    for its own networks at 112 px; here DCGAN's 2e-4.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(LSGAN, G=partial(nets.Generator), D=partial(nets.Discriminator)),
        data=partial(images, size=64, labels=False),
        optim={"G": adam, "D": adam},
        batch=64,
        images=25 * count,
    )
