"""Recipes of UNIT: the paper and the authors' code."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import StepDecay
from ganvas.data import domains
from ganvas.methods import UNIT
from ganvas.nets import unit as nets

STEPS = 1_000_000


def unit(count: int) -> Run:
    """Section 4 of arXiv:1703.00848.

    One shared block on either side of the latent, weights 10, .1, 100, .1 and 100,
    Adam 1e-4 with beta1 .5, batches of 1. Size and length, 256x256 and a million
    steps, are the authors' code's.
    """
    adam = partial(Adam, lr=1e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            UNIT,
            E=partial(nets.Encoders),
            G=partial(nets.Decoders),
            D=partial(nets.MultiscaleDiscriminator),
        ),
        data=partial(domains, size=256, flip=True),
        optim={"G": adam, "D": adam},
        batch=1,
        images=STEPS,
    )


def unit_official(count: int) -> Run:
    """The authors' code (mingyuliutw/UNIT), which shares nothing.

    Least squares, weights 1, .01, 10, .01 and 10, Adam 1e-4 with beta1 .5 and a
    weight decay of 1e-4, halved every 100,000 steps; a million steps at 256x256.
    Unlike there, images that are not square are cropped to their centers (theirs: at
    random along the longer side), and the gains of the decoders' layer norms start
    at 1 (theirs: U(0, 1)).
    """
    adam = partial(Adam, lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-4)
    return Run(
        method=partial(
            UNIT,
            E=partial(nets.Encoders),
            G=partial(nets.Decoders),
            D=partial(nets.MultiscaleDiscriminator),
            shared=0,
            adversarial="lsgan",
            gan_weight=1.0,
            kl_weight=0.01,
            recon_weight=10.0,
            cycle_kl_weight=0.01,
            cycle_weight=10.0,
        ),
        data=partial(domains, size=256, flip=True),
        optim={"G": adam, "D": adam},
        batch=1,
        images=STEPS,
        lr=StepDecay(every=100_000, factor=0.5),
    )
