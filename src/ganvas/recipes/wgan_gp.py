from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import WGANGP
from ganvas.nets import resnet
from ganvas.schedules import LinearDecay


def wgan_gp(count: int) -> Run:
    """The CIFAR-10 ResNet of arXiv:1704.00028 (section 5.4, appendix C): Adam 2e-4 with betas (0, .9), decayed linearly to
    0 over 100,000 generator steps of 5 critic batches of 64."""
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
