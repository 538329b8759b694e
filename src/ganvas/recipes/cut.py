"""Recipes of CUT and FastCUT."""

from functools import partial

from torch.optim import Adam

from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import domains
from ganvas.methods import CUT
from ganvas.nets import cut as networks
from ganvas.nets import image_to_image, patchgan


def _run(count: int, constant: int, decay: int, **settings: object) -> Run:
    """Section 4 and appendix C.1 of arXiv:2007.15651, and the authors' code.

    That code no longer enlarges images before it crops them while the rate falls.
    """
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    end = constant + decay
    return Run(
        method=partial(
            CUT,
            G=partial(image_to_image.ResNetGenerator, blur_down=True, blur_up=True),
            F=partial(networks.PatchMLP),
            D=partial(patchgan.PatchDiscriminator, blur=True),
            **settings,
        ),
        data=partial(domains, size=256, load=286, flip=True),
        optim={"G": adam, "D": adam},
        batch=1,
        images=end * count,
        lr=LinearDecay(start=constant * count, end=end * count),
    )


def cut(count: int) -> Run:
    """CUT: both contrastive losses, 200 epochs at a constant rate, 200 decaying to 0.

    Adam 2e-4, batches of 1, ResNet-9 without aliasing at 256x256 cropped from 286x286,
    70x70 PatchGAN without aliasing, 256 patches of five layers, MLPs of 256 units.
    """
    return _run(count, 200, 200)


def fastcut(count: int) -> Run:
    """FastCUT: weight 10, no identity, mirrored inputs; 150 and 50 epochs."""
    return _run(count, 150, 50, nce_weight=10.0, identity_weight=0.0, flip=True)
