"""pix2pix from labels to facades at 64 px: the variants of its tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.kit import facades
from ganvas.claims.kit.training import Trained
from ganvas.core import Run, rng
from ganvas.core.schedules import LinearDecay
from ganvas.methods import Pix2Pix
from ganvas.nets import image_to_image, patchgan

SIDE = 64
IMAGES = 20_000
PATCH_16 = partial(patchgan.PatchDiscriminator, layers=1)  # a quarter of the side, as 70 of 256


def run(
    D: Callable[..., nn.Module] = PATCH_16, skip: bool = True, l1: float = 100.0, gan: float = 1.0
) -> Run:
    """The paper's networks at a quarter of their width, instance norm, batches of 4."""
    adam = partial(Adam, lr=4e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            Pix2Pix,
            G=partial(
                image_to_image.UNetGenerator,
                width=16,
                depth=6,
                norm="instance",
                dropout=True,
                skip=skip,
            ),
            D=partial(D, width=16, norm="instance"),
            l1_weight=l1,
            adversarial_weight=gan,
        ),
        data=partial(facades.training, SIDE, load=72),
        optim={"G": adam, "D": adam},
        batch=4,
        images=IMAGES,
        lr=LinearDecay(start=IMAGES // 2, end=IMAGES),
    )


@torch.no_grad()
def generated(trained: Trained) -> tuple[Tensor, Tensor, Tensor]:
    """(test labels, their photographs, generated ones), dropout on as in the paper."""
    labels, photos = facades.test_pairs(SIDE)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "dropout"))
        return labels, photos, trained.model.translate(labels)
