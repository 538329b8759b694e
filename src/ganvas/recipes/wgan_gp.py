"""Recipes of WGAN-GP: the ResNet and the small form."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import images
from ganvas.methods import WGANGP
from ganvas.nets import dcgan, resnet


def wgan_gp(count: int) -> Run:
    """The CIFAR-10 ResNet of arXiv:1704.00028 (section 5.4, appendix C).

    Adam 2e-4 with betas (0, .9), decayed linearly to 0 over 100,000 generator steps
    of 5 critic batches of 64.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.0, 0.9))
    images_in_all = 100_000 * 5 * 64
    return Run(
        method=partial(WGANGP, G=partial(resnet.Generator), D=partial(resnet.Discriminator)),
        data=partial(images, size=32),
        optim={"G": adam, "D": adam},
        batch=64,
        images=images_in_all,
        lr=LinearDecay(start=0, end=images_in_all),
    )


def wgan_gp_dcgan(count: int) -> Run:
    """The small form of arXiv:1704.00028.

    DCGAN-shaped networks of width 64, the critic without batch norm (section 4),
    Adam 1e-4 with betas (0, .9) and 5 critic steps (Algorithm 1), 200,000 generator
    steps with batches of 50 and noise of length 128 at a constant rate, as in the
    authors' MNIST run.
    """
    adam = partial(Adam, lr=1e-4, betas=(0.0, 0.9))
    return Run(
        method=partial(
            WGANGP,
            G=partial(dcgan.Generator, latent=128),
            D=partial(dcgan.Discriminator, norm=False),
            g_batch=1,
        ),
        data=partial(images, size=32),
        optim={"G": adam, "D": adam},
        batch=50,
        images=200_000 * 5 * 50,
    )
