"""Recipes of pix2pix; its applications are in `restore`."""

from dataclasses import replace
from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import pairs
from ganvas.methods import Pix2Pix
from ganvas.nets import image_to_image, patchgan


def pix2pix(count: int) -> Run:
    """Section 3.3 and appendix 6 of arXiv:1611.07004.

    Adam 2e-4 with beta1 .5, batches of 1, U-Net at 256x256 cropped from 286x286, with
    dropout on the three innermost levels, 70x70 PatchGAN; 200 epochs as for facades.
    The rate's decay to 0 over the second half is from the authors' PyTorch code (the
    paper's rate is constant); its dropout, one level further out, is --set
    G.dropout=true. Images that are not square are cropped to their centers (both codes
    squeeze them). Smaller images need a shallower U-Net: --size 128 --set G.depth=7.

    The paper's variants: --set l1_weight=0 (cGAN alone), adversarial_weight=0 (L1
    alone) or conditional=false (D sees the output alone: GAN, and L1+GAN), table 1;
    G.skip=false (the encoder-decoder), table 2; D.layers=1 or 5 (16x16 and 286x286
    patches; 1x1 is `pix2pix_pixel`), table 3. Least squares in place of cross
    entropy, as the authors' PyTorch code offers: --set loss=lsgan. For A|B images
    with the photograph on the left, as in facades, --set data.direction=b2a
    generates photographs from labels.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            Pix2Pix,
            G=partial(image_to_image.UNetGenerator, dropout=3),
            D=partial(patchgan.PatchDiscriminator, norm="batch"),
        ),
        data=partial(pairs, size=256, load=286, flip=True),
        optim={"G": adam, "D": adam},
        batch=1,
        images=200 * count,
        lr=LinearDecay(start=100 * count, end=200 * count),
    )


def pix2pix_pixel(count: int) -> Run:
    """`pix2pix` with the 1x1 PixelGAN of table 3 and appendix 6.1.2.

    Its D scores colors and no structure.
    """
    run = pix2pix(count)
    G = partial(image_to_image.UNetGenerator, dropout=3)
    return replace(
        run, method=partial(Pix2Pix, G=G, D=partial(patchgan.PixelDiscriminator, norm="batch"))
    )
