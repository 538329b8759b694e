"""Recipes of StyleGAN3."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import HalfLife
from ganvas.data import images
from ganvas.methods import StyleGAN3
from ganvas.nets import stylegan2
from ganvas.nets import stylegan3 as nets

R1_EVERY = 16
SHARE = R1_EVERY / (R1_EVERY + 1)  # of D's rate, for an R1 turn of its own


def stylegan3(count: int) -> Run:
    """Configuration T of arXiv:2106.12423 at 256x256: batches of 32, 25 million images.

    Adam with betas (0, .99): 2.5e-3 for G, 2e-3 for D, D's scaled for R1 once every 16
    steps; R1 at a weight of 2; half as wide as at 1024 px. Configuration R: --set
    G.radial=true G.base=32768 G.width=1024. On a CPU a step takes minutes.
    """
    return Run(
        method=partial(
            StyleGAN3,
            G=partial(nets.Generator, base=16_384),
            D=partial(stylegan2.Discriminator, base=16_384),
        ),
        data=partial(images, size=256, flip=True),
        optim={
            "G": partial(Adam, lr=2.5e-3, betas=(0.0, 0.99), eps=1e-8),
            "D": partial(Adam, lr=2e-3 * SHARE, betas=(0.0, 0.99**SHARE), eps=1e-8),
        },
        batch=32,
        images=25_000_000,
        ema=HalfLife(images=10_000),
    )


def stylegan3_small(count: int) -> Run:
    """For a laptop: 32x32 with 8 layers of 32 channels, 60,000 images."""
    run = stylegan3(count)
    widths = [32, 32, 32, 16]  # of D, at 4, 8, 16 and 32 px
    return replace(
        run,
        method=partial(
            StyleGAN3,
            G=partial(nets.Generator, latent=32, style=32, depth=8, base=1024, width=32),
            D=partial(stylegan2.Discriminator, widths=widths, mapping=2),
            r1_weight=0.1,
        ),
        data=partial(images, size=32),
        images=60_000,
        ema=HalfLife(images=2_000),
    )
