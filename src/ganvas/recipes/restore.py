"""Applications of pix2pix: mosaic removal, colorization, photographs from drawings."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import derived, pairs
from ganvas.methods import Pix2Pix
from ganvas.nets import colorization, image_to_image, patchgan, restoration

# Sides may be any multiple of 64, and batches of 4 agree with single images.
unet = partial(image_to_image.UNetGenerator, depth=6, norm="instance")


def restore(count: int) -> Run:
    """pix2pix on the pairs of `ganvas data mosaic`: images with and without a mosaic.

    Rates, weights and epochs as in `pix2pix`. Ours: the network corrects its input
    instead of drawing all of it (DeblurGAN, arXiv:1711.07064); no random crops, which
    would resize the blocks; no dropout, so that an image has one result; instance norm,
    so that training in batches of 4 agrees with the use on single images; a U-Net of
    depth 6, so that sides may be any multiple of 64: --size 128. The result is
    plausible detail and no evidence of the original. Do not use it on images of
    people.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            Pix2Pix,
            G=partial(restoration.Corrected, net=unet),
            D=partial(patchgan.PatchDiscriminator),
        ),
        data=partial(pairs, size=256, flip=True),
        optim={"G": adam, "D": adam},
        batch=4,
        images=200 * count,
        lr=LinearDecay(start=100 * count, end=200 * count),
    )


def colour(count: int) -> Run:
    """Colors for gray photographs: a network from L to a and b of L*a*b*.

    As in figure 1 and the authors' PyTorch code, 256x256, mirrored, batches of 4,
    rates and weights as in `pix2pix`. The output has the lightness of the input,
    since chroma outside sRGB is reduced. Ours: L1 and D compare red, green and blue,
    where the code's L1 is on a and b (over 110) and its D sees L, a and b; the U-Net
    of `restore`; and 200 epochs as for the paper's small sets (its own
    colorization: 6 of ImageNet's; quoted from memory).
    """
    return replace(
        restore(count),
        method=partial(
            Pix2Pix,
            G=partial(colorization.Colouring, net=unet),
            D=partial(patchgan.PatchDiscriminator),
        ),
        data=partial(derived, kind="gray", size=256, flip=True),
    )


def edges(count: int) -> Run:
    """Photographs from drawings: dark lines on white.

    The lines are computed from the photographs by a difference of Gaussians; the
    paper's section 5 uses a network (HED). 256x256 cropped from 286x286, batches of
    4; rates and weights as in `pix2pix`, the U-Net of `restore`, 200 epochs (the paper:
    15 of 50,000 shoes; quoted from memory).
    """
    return replace(
        restore(count),
        method=partial(Pix2Pix, G=unet, D=partial(patchgan.PatchDiscriminator)),
        data=partial(derived, kind="edges", size=256, load=286, flip=True),
    )
