from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import images
from ganvas.nets import dcgan as nets
from ganvas_ragan.method import RaGAN


def ragan(count: int) -> Run:
    """RaGAN on the networks of DCGAN at 64x64; Adam with beta1 0.5, 25 passes over the data."""
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(RaGAN, G=partial(nets.Generator), D=partial(nets.Discriminator)),
        data=partial(images, size=64),
        optim={"G": adam, "D": adam},
        batch=64,
        images=25 * count,
    )
