"""Small StyleGANs of digits that do not grow."""

from __future__ import annotations

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import HalfLife
from ganvas.data import images as data
from ganvas.methods import StyleGAN
from ganvas.nets import progan, stylegan

WIDTHS = [32, 32, 16]  # channels at 4, 8 and 16 px
ADAM = partial(Adam, lr=2e-3, betas=(0.0, 0.99), eps=1e-8)


def stylegan_of_digits(images: int, mapping: int) -> Run:
    """StyleGAN of scikit-learn's digits at 16 px, at its full size from the start.

    mapping: layers of the mapping network, z and w of length 32
    """
    return Run(
        method=partial(
            StyleGAN,
            G=partial(stylegan.Generator, latent=32, style=32, mapping=mapping, widths=WIDTHS),
            D=partial(progan.ProgressiveDiscriminator, widths=WIDTHS, blur=True),
            start=16,
            r1_weight=1.0,
        ),
        data=partial(data, "digits", size=16),
        optim={"G": ADAM, "D": ADAM},
        batch=32,
        images=images,
        ema=HalfLife(images=2_000),
    )
