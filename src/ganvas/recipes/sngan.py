"""Recipes of SNGAN: ResNets with and without labels, and the plain networks."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import images
from ganvas.methods import SNGAN
from ganvas.nets import resnet
from ganvas.nets.sngan import Discriminator, Generator


def sngan(count: int) -> Run:
    """The CIFAR-10 ResNets of arXiv:1802.05957 (table 4).

    Width 256 against 128, batches of 64 for D and 128 for G, 5 updates of D for each
    update of G, Adam 2e-4 with betas (0, .9), decayed linearly to 0; 100,000 updates
    of G, as in kwotsin/mimicry (FID 16.77); the authors' code has 50,000.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.0, 0.9))
    images_in_all = 100_000 * 5 * 64
    return Run(
        method=partial(
            SNGAN,
            G=partial(resnet.Generator, width=256),
            D=partial(resnet.Discriminator, normalised=True, pool="sum"),
            labels=False,
        ),
        data=partial(images, size=32),
        optim={"G": adam, "D": adam},
        batch=64,
        images=images_in_all,
        lr=LinearDecay(start=0, end=images_in_all),
    )


def sngan_projection(count: int) -> Run:
    """`sngan` with labels, as in arXiv:1802.05637.

    The projection discriminator, and a batch norm for each class.
    """
    run = sngan(count)
    assert isinstance(run.method, partial)
    return Run(
        **{
            **vars(run),
            "method": partial(run.method.func, **{**run.method.keywords, "labels": True}),
        }
    )


def sngan_cnn(count: int) -> Run:
    """The standard networks of arXiv:1802.05957 (table 3) in setting C of table 1.

    Adam 2e-4 with betas (.5, .999), one update of D for each update of G, batches of
    64; 100,000 updates of G.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            SNGAN, G=partial(Generator), D=partial(Discriminator), n_critic=1, g_batch=1
        ),
        data=partial(images, size=32),
        optim={"G": adam, "D": adam},
        batch=64,
        images=100_000 * 64,
    )
