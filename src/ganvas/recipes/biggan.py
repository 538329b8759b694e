"""Recipes of BigGAN and BigGAN-deep."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import HalfLife, PerStep
from ganvas.data import images
from ganvas.methods import BigGAN
from ganvas.nets import biggan as nets
from ganvas.nets import biggan_deep as deep


def biggan(count: int) -> Run:
    """arXiv:1809.11096, section 3 and appendix C, at 128 px.

    Width 96, z of 120 in six parts, attention at 64x64, orthogonal regularization
    1e-4, two updates of D for each update of G, Adam with betas (0, .999), 5e-5 for
    G and 2e-4 for D, batches of 2,048, averages of .9999 from step 20,000
    (ajbrock/BigGAN-PyTorch), 150,000 steps. On one device give --set micro=...;
    batch norm then uses the statistics of each micro-batch.
    """
    adam = partial(Adam, betas=(0.0, 0.999), eps=1e-6)
    return Run(
        method=partial(
            BigGAN, G=partial(nets.Generator), D=partial(nets.Discriminator), labels=True
        ),
        data=partial(images, size=128),
        optim={"G": partial(adam, lr=5e-5), "D": partial(adam, lr=2e-4)},
        batch=2048,
        images=150_000 * 2 * 2048,
        ema=PerStep(0.9999, start=20_000),
    )


def biggan_deep(count: int) -> Run:
    """BigGAN-deep at 128 px (arXiv:1809.11096, appendix B, tables 7 to 9).

    Width 128, z of 128 joined to the class in every block, two blocks for each
    resolution. The rest as `biggan`.
    """
    run = biggan(count)
    method = partial(
        BigGAN, G=partial(deep.DeepGenerator), D=partial(deep.DeepDiscriminator), labels=True
    )
    return Run(**{**vars(run), "method": method})


def biggan_cifar(count: int) -> Run:
    """ajbrock/BigGAN-PyTorch's CIFAR-10 script.

    32 px, width 64, z of 128, a table for each batch norm, no attention, N(0, .02),
    batches of 50, four updates of D for each update of G, Adam 2e-4 with betas (0,
    .999), averages of .9999 from step 1,000, 500 passes; no orthogonal
    regularization.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.0, 0.999), eps=1e-8)
    return Run(
        method=partial(
            BigGAN,
            G=partial(
                nets.Generator,
                latent=128,
                width=64,
                shared=0,
                split=False,
                attention=[],
                init="normal",
            ),
            D=partial(nets.Discriminator, width=64, attention=[], init="normal"),
            n_critic=4,
            ortho_weight=0.0,
            labels=True,
        ),
        data=partial(images, size=32),
        optim={"G": adam, "D": adam},
        batch=50,
        images=500 * count,
        ema=PerStep(0.9999, start=1_000),
    )


def biggan_digits(count: int) -> Run:
    """A small BigGAN that a laptop trains in minutes. Not the paper's.

    32 px, width 8, z of 32 in four parts, a shared embedding of 16, attention at
    16x16, batches of 32, one update each, 5e-4 for G and 1e-3 for D, averages over
    5,000 images.
    """
    adam = partial(Adam, betas=(0.0, 0.99))
    return Run(
        method=partial(
            BigGAN,
            G=partial(nets.Generator, latent=32, width=8, shared=16, attention=[16]),
            D=partial(nets.Discriminator, width=8, attention=[16]),
            n_critic=1,
            labels=True,
        ),
        data=partial(images, size=32),
        optim={"G": partial(adam, lr=5e-4), "D": partial(adam, lr=1e-3)},
        batch=32,
        images=60_000,
        ema=HalfLife(images=5_000),
    )
