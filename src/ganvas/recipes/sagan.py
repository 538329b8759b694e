"""Recipes of SAGAN: the paper, the authors' code, and one for a laptop."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import HalfLife
from ganvas.data import images
from ganvas.methods import SAGAN
from ganvas.nets import biggan as nets

_G = partial(
    nets.Generator, latent=128, width=64, shared=0, split=False, attention=[32], init="glorot"
)
_D = partial(nets.Discriminator, width=64, attention=[32], init="glorot")


def sagan(count: int) -> Run:
    """arXiv:1805.08318, section 4, at 128 px.

    Attention at 32x32 in G and D (its best FID), spectral normalization in both,
    Adam with betas (0, .9), 4e-4 for D and 1e-4 for G, one update each; batches of
    256, 1,000,000 of them, as in the authors' readme. Needs labels; without: --set
    labels=false.
    """
    adam = partial(Adam, betas=(0.0, 0.9))
    return Run(
        method=partial(SAGAN, G=_G, D=_D, labels=True),
        data=partial(images, size=128),
        optim={"G": partial(adam, lr=1e-4), "D": partial(adam, lr=4e-4)},
        batch=256,
        images=1_000_000 * 256,
    )


def sagan_official(count: int) -> Run:
    """The default flags of the authors' code.

    brain-research/self-attention-gan, ad9612e: the networks and rates of `sagan`;
    beta2 .999; four GPUs with batches of 64 each, 256 in all; 2,000,000 steps. There
    G moves first, and batch norm in G has the statistics of each GPU's 64 images;
    here they are those of the whole batch.
    """
    run = sagan(count)
    adam = partial(Adam, betas=(0.0, 0.999))
    optim = {"G": partial(adam, lr=1e-4), "D": partial(adam, lr=4e-4)}
    return Run(**{**vars(run), "optim": optim, "images": 2_000_000 * 256})


def sagan_digits(count: int) -> Run:
    """A small SAGAN that a laptop trains in minutes. Not the paper's.

    32 px, width 8, attention at 16x16, batches of 32, the paper's rates times four,
    averaged weights.
    """
    adam = partial(Adam, betas=(0.0, 0.9))
    return Run(
        method=partial(
            SAGAN,
            G=partial(_G.func, **{**_G.keywords, "width": 8, "latent": 32, "attention": [16]}),
            D=partial(_D.func, **{**_D.keywords, "width": 8, "attention": [16]}),
            labels=True,
        ),
        data=partial(images, size=32),
        optim={"G": partial(adam, lr=4e-4), "D": partial(adam, lr=16e-4)},
        batch=32,
        images=60_000,
        ema=HalfLife(images=5_000),
    )
