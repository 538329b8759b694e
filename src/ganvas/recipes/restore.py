"""pix2pix, put to use: mosaics filled in, gray photographs coloured, drawings made photographs."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import derived, pairs
from ganvas.methods import Pix2Pix
from ganvas.nets import colorization, image_to_image, patchgan


def restore(count: int) -> Run:
    """pix2pix on the pairs of `ganvas data mosaic`: pictures with a mosaic, and without. Rates, weights and epochs as in
    `pix2pix`. Ours: no random crops, which would resize the blocks; no dropout, so that a picture has one answer; instance
    norm, so that batches of 4 train what one picture then gets; a U-Net of depth 6, so that any multiple of 64 will do:
    --size 128. What comes back is plausible detail and no evidence of what was there, and it is not for pictures of people."""
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            Pix2Pix,
            G=partial(image_to_image.UNetGenerator, depth=6, norm="instance"),
            D=partial(patchgan.PatchDiscriminator),
        ),
        data=partial(pairs, size=256, flip=True),
        optim={"G": adam, "D": adam},
        batch=4,
        images=200 * count,
        lr=LinearDecay(start=100 * count, end=200 * count),
    )


def colour(count: int) -> Run:
    """Colours for gray photographs: a network from L to a and b of L*a*b*, as in figure 1 and the authors' PyTorch code,
    256x256, mirrored, batches of 4, rates and weights as in `pix2pix`. The lightness of what comes out is that of what went
    in, since chroma that sRGB does not have is reduced. Ours: L1 and D compare red, green and blue, where the code's L1 is on
    a and b (over 110) and its D sees L, a and b; networks as in `restore`; and 200 epochs as for the paper's small sets (its
    own colouring: 6 of ImageNet's; quoted from memory)."""
    return replace(
        restore(count),
        method=partial(
            Pix2Pix,
            G=partial(colorization.Colouring, net=partial(image_to_image.UNetGenerator, depth=6, norm="instance")),
            D=partial(patchgan.PatchDiscriminator),
        ),
        data=partial(derived, kind="gray", size=256, flip=True),
    )


def edges(count: int) -> Run:
    """Photographs from drawings: dark lines on white, which are made of the photographs themselves by a difference of
    Gaussians where the paper's section 5 has a network (HED). 256x256 cropped from 286x286, batches of 4; rates and weights
    as in `pix2pix`, networks as in `restore`, 200 epochs (the paper: 15 of 50,000 shoes; quoted from memory)."""
    return replace(restore(count), data=partial(derived, kind="edges", size=256, load=286, flip=True))
