"""Recipes of pix2pixHD."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import label_maps
from ganvas.methods import Pix2PixHD
from ganvas.nets import image_to_image, multiscale
from ganvas.nets import pix2pixhd as nets


def pix2pixhd(count: int) -> Run:
    """The global generator of arXiv:1711.11585 at 512x512: batches of 1, 200 epochs.

    Adam 2e-4 with beta1 .5, to 0 over the second half; 9 residual blocks at a 16th of
    the side, D at two scales (section 3.2 and the authors' code). Images that are not
    square are cropped to their centers.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            Pix2PixHD,
            G=partial(image_to_image.ResNetGenerator, downs=4),
            D=partial(multiscale.MultiscaleDiscriminator, layers=4, scales=2),
        ),
        data=partial(label_maps, size=512, flip=True),
        optim={"G": adam, "D": adam},
        batch=1,
        images=200 * count,
        lr=LinearDecay(start=100 * count, end=200 * count),
    )


def pix2pixhd_local(count: int) -> Run:
    """`pix2pixhd` with the local enhancer: 1024x1024, D at three scales.

    200 epochs of the global generator at half the size, 10 of the enhancer, 90 of both
    (the authors' scripts of 512 pixels and of whole images of 2048x1024; that of crops:
    20 and 180). D has three scales in all stages (there: two for the first). The rate
    falls in the last 50 only.
    """
    run = pix2pixhd(count)
    return replace(
        run,
        method=partial(
            Pix2PixHD,
            G=partial(nets.LocalEnhancer, head=True),
            D=partial(multiscale.MultiscaleDiscriminator, layers=4, scales=3),
            coarse=200 * count,
            fixed=10 * count,
        ),
        data=partial(label_maps, size=1024, flip=True),
        images=300 * count,
        lr=LinearDecay(start=250 * count, end=300 * count),
    )
