"""Recipes of the KL autoencoder."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import derived
from ganvas.methods import AutoencoderKL
from ganvas.nets import latent_autoencoder as nets
from ganvas.nets.patchgan import PatchDiscriminator

BATCH = 24


def autoencoder_kl(count: int) -> Run:
    """`autoencoder_kl_32x32x4` of the latent-diffusion code: 256 px to 32x32x4.

    Adam with betas (.5, .9) at 4.5e-6 for each image of a batch of 24, in two parts,
    the game after 50,000 steps, KL at 1e-6; a patch discriminator of 3 layers with
    batch norm. LPIPS needs weights: --set lpips=vgg.
    """
    adam = partial(Adam, lr=BATCH * 4.5e-6, betas=(0.5, 0.9))
    return Run(
        method=partial(
            AutoencoderKL,
            AE=partial(nets.KLAutoencoder),
            D=partial(PatchDiscriminator, norm="batch"),
            start=50_000 * BATCH,
        ),
        data=partial(derived, kind="same", size=256, flip=True),
        optim={"AE": adam, "D": adam},
        batch=BATCH,
        micro=12,
        images=100_000 * BATCH,
    )


def autoencoder_kl_small(count: int) -> Run:
    """`autoencoder_kl` for a laptop: 64 px to 16x16x4, 60,000 images.

    Not the paper's: widths 32, 64 and 64, Adam 5e-4, the game after two thirds.
    """
    run = autoencoder_kl(count)
    adam = partial(Adam, lr=5e-4, betas=(0.5, 0.9))
    return replace(
        run,
        method=partial(
            AutoencoderKL,
            AE=partial(nets.KLAutoencoder, widths=[32, 64, 64], blocks=1),
            D=partial(PatchDiscriminator, width=32, layers=2, norm="batch"),
            start=40_000,
        ),
        data=partial(derived, kind="same", size=64, flip=True),
        optim={"AE": adam, "D": adam},
        batch=12,
        micro=None,
        images=60_000,
    )
