"""Recipes of SRResNet and SRGAN."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import PerStep
from ganvas.data import super_resolution
from ganvas.methods import SRGAN, SRResNet
from ganvas.nets import super_resolution as nets
from ganvas.nets.super_resolution import MSRResNet, SRDiscriminator, VGGStyleDiscriminator

BATCH = 16


def srresnet(count: int) -> Run:
    """Section 3.2 of arXiv:1609.04802: the network without the game.

    Batches of 16 crops of 96x96, 4 times reduced, Adam 1e-4 with beta1 .9, 10^6
    updates.
    """
    return Run(
        method=partial(SRResNet, G=partial(nets.SRResNet)),
        data=partial(super_resolution, size=96, scale=4),
        optim={"G": partial(Adam, lr=1e-4, betas=(0.9, 0.999))},
        batch=BATCH,
        images=1_000_000 * BATCH,
    )


def srgan(count: int) -> Run:
    """Section 3.2 of arXiv:1609.04802.

    10^6 updates of SRResNet, then 10^5 of the game at 1e-4 and 10^5 at 1e-5, content
    by VGG19's relu5_4 divided by 12.75, adversarial weight 1e-3. Give VGG19's
    weights: --set vgg=vgg19-dcbb9e9d.pth; without them the content is pixels, and
    --set adversarial_weight=2.5e-4 makes it the paper's SRGAN-MSE (pixels are
    compared in [0, 1], not in [-1, 1]).
    """
    adam = partial(Adam, lr=1e-4, betas=(0.9, 0.999))
    return Run(
        method=partial(
            SRGAN,
            G=partial(nets.SRResNet),
            D=partial(SRDiscriminator),
            pretrain=1_000_000 * BATCH,
            slow=1_100_000 * BATCH,
        ),
        data=partial(super_resolution, size=96, scale=4),
        optim={"G": adam, "D": adam},
        batch=BATCH,
        images=1_200_000 * BATCH,
    )


def srgan_basicsr(count: int) -> Run:
    """XPixelGroup/BasicSR's form, which is not the paper's.

    No batch norm in G, D of strided 4x4 convolutions at 128x128, absolute distances,
    VGG19 before the activation (conv5_4), pixels at 1e-2 and D at 5e-3, Adam 1e-4
    with betas (.9, .99), the average of decay .999 per update, 400,000 updates after
    the pretraining. Its files also halve the rate of the game at 50, 100, 200 and
    300 thousand updates, and pretrain at 2e-4 with four cosine restarts; here the rate
    is 1e-4 throughout.
    """
    adam = partial(Adam, lr=1e-4, betas=(0.9, 0.99))
    return Run(
        method=partial(
            SRGAN,
            G=partial(MSRResNet),
            D=partial(VGGStyleDiscriminator),
            pretrain=1_000_000 * BATCH,
            layer="conv5_4",
            content_scale=1.0,
            adversarial_weight=5e-3,
            pixel_weight=1e-2,
            l1=True,
        ),
        data=partial(super_resolution, size=128, scale=4, turn=True),
        optim={"G": adam, "D": adam},
        batch=BATCH,
        images=1_400_000 * BATCH,
        ema=PerStep(0.999),
    )


def srgan_compact(count: int) -> Run:
    """`srgan_basicsr` with Real-ESRGAN's compact network (SRVGGNetCompact), for CPUs.

    A quarter of the multiplications of MSRResNet. No settings of such a training are
    published: all numbers are those of `srgan_basicsr`. Start from a run of `compact`
    with --from and --set pretrain=0, or train both stages in one run.
    """
    run = srgan_basicsr(count)
    assert isinstance(run.method, partial)
    method = partial(run.method.func, **{**run.method.keywords, "G": partial(nets.CompactNet)})
    return replace(run, method=method)
