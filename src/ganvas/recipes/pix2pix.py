from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import pairs
from ganvas.methods import Pix2Pix
from ganvas.nets import patch, translate
from ganvas.schedules import LinearDecay


def pix2pix(count: int) -> Run:
    """Section 3.3 and appendix 6 of arXiv:1611.07004: Adam 2e-4 with beta1 .5, batches of 1, U-Net at 256x256 cropped from
    286x286, 70x70 PatchGAN; 200 epochs as for facades, the second half decaying to 0 as in the authors' PyTorch code.
    Smaller images need a shallower U-Net: --size 128 --set G.depth=7."""
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            Pix2Pix,
            G=partial(translate.UNetGenerator, dropout=True),
            D=partial(patch.PatchDiscriminator, norm="batch"),
        ),
        data=partial(pairs, size=256, load=286, flip=True),
        optim={"G": adam, "D": adam},
        batch=1,
        images=200 * count,
        lr=LinearDecay(start=100 * count, end=200 * count),
    )
