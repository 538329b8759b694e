"""Recipes of Real-ESRGAN."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import PerStep
from ganvas.data import super_resolution
from ganvas.data.real_degradation import RealDegradation
from ganvas.methods import RealESRGAN
from ganvas.nets.super_resolution import CompactNet, RRDBNet, UNetDiscriminator

BATCH = 48


def realesrgan(count: int) -> Run:
    """Section 4.1 of arXiv:2107.10833.

    23 blocks; 10^6 updates by pixels at 2e-4, 400,000 of the game at 1e-4; batches of
    48 crops of 256x256, 4 times reduced; Adam with betas (.9, .99); the average of
    decay .999 per update. Give VGG19's weights: --set vgg=vgg19-dcbb9e9d.pth.
    """
    adam = partial(Adam, lr=1e-4, betas=(0.9, 0.99))
    return Run(
        method=partial(
            RealESRGAN,
            G=partial(RRDBNet),
            D=partial(UNetDiscriminator),
            pretrain=1_000_000 * BATCH,
        ),
        data=partial(super_resolution, size=256, scale=4, degrade=RealDegradation(sharpen=True)),
        optim={"G": adam, "D": adam},
        batch=BATCH,
        images=1_400_000 * BATCH,
        ema=PerStep(0.999),
    )


def realesrgan_compact(count: int) -> Run:
    """Real-ESRGAN's stages with its compact network (SRVGGNetCompact).

    32 convolutions of 64 channels at the small size, as in the authors' model
    realesr-general-x4v3: a fifteenth of the multiplications of `realesrgan`, for CPUs
    and video. By pixels first, then the game with the U-Net discriminator. No settings
    of that model's training are published: all numbers are those of `realesrgan`. Give
    VGG19's weights: --set vgg=vgg19-dcbb9e9d.pth.
    """
    run = realesrgan(count)
    assert isinstance(run.method, partial)
    method = partial(
        run.method.func, **{**run.method.keywords, "G": partial(CompactNet, layers=32)}
    )
    return replace(run, method=method)
