"""Recipes of VQGAN."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import derived
from ganvas.methods import VQGAN
from ganvas.nets import latent_autoencoder as nets
from ganvas.nets.patchgan import PatchDiscriminator


def vqgan(count: int) -> Run:
    """`vq-f4` of the latent-diffusion code: 256 px to 64x64 of 8,192 codes.

    Adam with betas (.5, .9) at 4.5e-6 for each image of a batch of 8, the game from
    the start, its weight .75; a patch discriminator of 3 layers with batch norm. LPIPS
    needs weights: --set lpips=vgg. Taming Transformers' own are an eighth and a
    sixteenth of the side, with attention inside of their levels.
    """
    adam = partial(Adam, lr=8 * 4.5e-6, betas=(0.5, 0.9))
    return Run(
        method=partial(
            VQGAN,
            AE=partial(nets.VQAutoencoder),
            D=partial(PatchDiscriminator, norm="batch"),
            adversarial_weight=0.75,
        ),
        data=partial(derived, kind="same", size=256, flip=True),
        optim={"AE": adam, "D": adam},
        batch=8,
        images=100_000 * 8,
    )


def vqgan_small(count: int) -> Run:
    """`vqgan` for a laptop: 64 px to 16x16 of 512 codes, 60,000 images.

    Not the paper's: widths 32, 64 and 64, Adam 5e-4, the game after two thirds.
    """
    run = vqgan(count)
    adam = partial(Adam, lr=5e-4, betas=(0.5, 0.9))
    return replace(
        run,
        method=partial(
            VQGAN,
            AE=partial(nets.VQAutoencoder, latent=8, codes=512, widths=[32, 64, 64], blocks=1),
            D=partial(PatchDiscriminator, width=32, layers=2, norm="batch"),
            start=40_000,
        ),
        data=partial(derived, kind="same", size=64, flip=True),
        optim={"AE": adam, "D": adam},
        images=60_000,
    )
