"""Recipes of DualGAN: the paper and the authors' code."""

from functools import partial

from torch.optim import RMSprop

from ganvas.core import Run
from ganvas.data import domains
from ganvas.methods import DualGAN
from ganvas.nets import dualgan as nets
from ganvas.nets import image_to_image, patchgan


def dualgan(count: int) -> Run:
    """Section 3 of arXiv:1704.02510.

    U-Net and 70x70 PatchGAN at 256x256, noise by dropout on three levels, RMSprop
    5e-5, weights clipped to .01 (of .01 to .1), 3 critic steps (2 to 4), batches of
    1 (1 to 4), cycle weights 500 (100 to 1000). RMSprop's decay .9 and 100 passes
    are the authors' code's. Smaller images need a shallower U-Net: --size 64 --set
    G.depth=6.
    """
    rmsprop = partial(RMSprop, lr=5e-5, alpha=0.9)
    return Run(
        method=partial(
            DualGAN,
            G=partial(image_to_image.UNetGenerator, dropout=3),
            D=partial(patchgan.PatchDiscriminator, norm="batch"),
        ),
        data=partial(domains, size=256, flip=False),
        optim={"G": rmsprop, "D": rmsprop},
        batch=1,
        images=100 * 3 * count,
    )


def dualgan_official(count: int) -> Run:
    """The authors' code, which differs from the paper (duxingren14/DualGAN).

    A gradient penalty of weight 10 with one critic step, a critic over the whole
    image, affine instance norm, 3x3 kernels with 5x5 at both ends, no dropout and so
    no noise (--set G.dropout=3 restores it), cycle weights 500; 100 passes as in its
    README. It normalizes its U-Net's innermost level, of one pixel at 256x256, which
    erases that level; here it is not normalized.
    """
    rmsprop = partial(RMSprop, lr=5e-5, alpha=0.9)
    return Run(
        method=partial(
            DualGAN,
            G=partial(image_to_image.UNetGenerator, norm="affine", kernel=3, ends=5),
            D=partial(nets.Critic),
            n_critic=1,
            clip=None,
            gp_weight=10.0,
        ),
        data=partial(domains, size=256, flip=False),
        optim={"G": rmsprop, "D": rmsprop},
        batch=1,
        images=100 * count,
    )
