from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.data import images
from ganvas.methods import ProGAN
from ganvas.nets import progressive
from ganvas.schedules import PerStep


def _progan(side: int, images_in_all: int, labels: bool) -> Run:
    adam = partial(Adam, lr=1e-3, betas=(0.0, 0.99), eps=1e-8)
    return Run(
        method=partial(
            ProGAN,
            G=partial(progressive.ProgressiveGenerator),
            D=partial(progressive.ProgressiveDiscriminator),
            batches={256: 14, 512: 6, 1024: 3},  # appendix A, section A.1
            labels=labels,
        ),
        data=partial(images, size=side, flip=True),
        optim={"G": adam, "D": adam},
        batch=16,
        images=images_in_all,
        ema=PerStep(0.999),
    )


def progan(count: int) -> Run:
    """Appendix A of arXiv:1710.10196 (version 2): 600,000 images per phase, Adam 1e-3 with betas (0, .99), weights averaged
    by .999 per step; 12 million images in all at 1024x1024. Here 128x128 by default."""
    return _progan(128, 12_000_000, labels=False)


def progan_labels(count: int) -> Run:
    """`progan` with labels, as the authors' code has it for labelled data: the class beside z, and a D that also names it.
    32x32 by default (CIFAR-10's side); 12 million images in all, as there."""
    return _progan(32, 12_000_000, labels=True)
