"""Recipes of Dong et al., 2017."""

from functools import partial
from typing import Literal

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import domains
from ganvas.methods import Dong2017
from ganvas.nets.dong2017 import Discriminator, Encoder, Generator

HALF = 32  # images of each domain in a batch of 64


def dong2017(count: int) -> Run:
    """The first version of the authors' code (zsdonghao/Unsup-Im2Im).

    z ~ U(-1, 1)^98 and 2 numbers for the class, width 64, 64x64 pixels, batches of
    64, Adam 2e-4 with beta1 .5, 25 epochs. It had no encoder yet: ours is that of
    the last version, with Adam 1e-4 and 30,000 updates.
    """
    return _run(
        partial(Generator),
        game=25 * count,
        data=partial(domains, size=64, flip=False),
        noise="uniform",
    )


def dong2017_official(count: int) -> Run:
    """The last version of the authors' code.

    z ~ N(0, 1)^100, 5 numbers for the class, a generator of width 128, 100 epochs of
    the game, then 30,000 updates of the encoder at 1e-4; mirrored crops of 64 from
    69 pixels.
    """
    return _run(
        partial(Generator, latent=100, embedding=5, width=128),
        game=100 * count,
        data=partial(domains, size=64, load=69, flip=True),
        noise="normal",
    )


def _run(G: partial, game: int, data: partial, noise: Literal["uniform", "normal"]) -> Run:
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            Dong2017, G=G, D=partial(Discriminator), E=partial(Encoder), game=game, noise=noise
        ),
        data=data,
        optim={"G": adam, "D": adam, "E": partial(Adam, lr=1e-4, betas=(0.5, 0.999))},
        batch=HALF,
        images=game + 30_000 * HALF,
    )
