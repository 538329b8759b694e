"""Recipe of InfoGAN."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import InfoGAN
from ganvas.nets import infogan as nets


def infogan(count: int) -> Run:
    """openai/InfoGAN's run on MNIST: 28x28 pixels, batches of 128, 50 times 100 steps.

    Adam 2e-4 for D and 1e-3 for G, beta1 .5; 62 noise variables, a category of 10 and
    two continuous codes.
    """
    return Run(
        method=partial(InfoGAN, G=partial(nets.Generator), D=partial(nets.Discriminator)),
        data=partial(images, size=28, labels=False),
        optim={
            "D": partial(Adam, lr=2e-4, betas=(0.5, 0.999)),
            "G": partial(Adam, lr=1e-3, betas=(0.5, 0.999)),
        },
        batch=128,
        images=50 * 100 * 128,
    )
