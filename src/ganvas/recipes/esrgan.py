"""Recipes of ESRGAN, and of Real-ESRGAN's compact network."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import PerStep, StepDecay
from ganvas.data import super_resolution
from ganvas.methods import ESRGAN, SRResNet
from ganvas.nets import super_resolution as nets

BATCH = 16


def esrgan(count: int) -> Run:
    """Section 4.1 of arXiv:1809.00219, and XPixelGroup/BasicSR's file of it.

    23 blocks; 10^6 updates by pixels at 2e-4, halved every 200,000; 400,000 of the game
    at 1e-4, halved at 50, 100, 200 and 300 thousand; batches of 16 crops of 128x128, 4
    times reduced, mirrored and turned; Adam with betas (.9, .99) and the average of
    decay .999 per update are the file's (the paper: (.9, .999), none). Give VGG19's
    weights: --set vgg=vgg19-dcbb9e9d.pth; without them the content is pixels.
    """
    adam = partial(Adam, lr=1e-4, betas=(0.9, 0.99))
    return Run(
        method=partial(
            ESRGAN,
            G=partial(nets.RRDBNet),
            D=partial(nets.VGGStyleDiscriminator),
            pretrain=1_000_000 * BATCH,
            halve_pretrain=200_000 * BATCH,
            halve_game=tuple(n * BATCH for n in (50_000, 100_000, 200_000, 300_000)),
        ),
        data=partial(super_resolution, size=128, scale=4, turn=True),
        optim={"G": adam, "D": adam},
        batch=BATCH,
        images=1_400_000 * BATCH,
        ema=PerStep(0.999),
    )


def compact(count: int) -> Run:
    """Real-ESRGAN's compact network (SRVGGNetCompact) by pixels alone.

    16 convolutions of 64 channels at the small size: a tenth of the work of ESRGAN's
    network, for CPUs and video. |y - G(x)|_1, Adam 2e-4 with betas (.9, .99), halved
    every 200,000 of 10^6 updates, batches of 16 crops of 96x96, 4 times reduced.
    """
    return Run(
        method=partial(SRResNet, G=partial(nets.CompactNet), l1=True),
        data=partial(super_resolution, size=96, scale=4),
        optim={"G": partial(Adam, lr=2e-4, betas=(0.9, 0.99))},
        batch=BATCH,
        images=1_000_000 * BATCH,
        lr=StepDecay(every=200_000 * BATCH, factor=0.5),
        ema=PerStep(0.999),
    )
