"""Recipe of CycleGAN."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import domains
from ganvas.methods import CycleGAN
from ganvas.nets import image_to_image, patchgan


def cyclegan(count: int) -> Run:
    """Section 4 and appendix 7 of arXiv:1703.10593.

    Adam 2e-4, batches of 1, ResNet-9 at 256x256 cropped from 286x286, 70x70
    PatchGAN; 100 epochs at a constant rate, 100 decaying to 0. Images that are not
    square are cropped to their centers (the authors' codes squeeze them).
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            CycleGAN,
            G=partial(image_to_image.ResNetGenerator),
            D=partial(patchgan.PatchDiscriminator),
        ),
        data=partial(domains, size=256, load=286, flip=True),
        optim={"G": adam, "D": adam},
        batch=1,
        images=200 * count,
        lr=LinearDecay(start=100 * count, end=200 * count),
    )
