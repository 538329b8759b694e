"""SPADE, section 4.3: more of the label map is seen in images than of concatenation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import facades, pix2pix_arms, plots
from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import Feed, label_maps
from ganvas.methods import SPADE, Pix2PixHD
from ganvas.nets import image_to_image, multiscale
from ganvas.nets import spade as nets

SIDE = 64
IMAGES = 20_000
LABELS = len(facades.PALETTE)
NAMES = {"spade": "SPADE", "concatenated": "pix2pixHD", "pix2pix": "pix2pix"}


def data() -> Feed:
    """Label maps and photographs to train on."""
    source = place("facades")
    return label_maps(source, size=SIDE, load=72, palette="facades", direction="b2a")


def spade() -> Run:
    """`spade_small` for 20,000 images."""
    return Run(
        method=partial(
            SPADE,
            G=partial(nets.Generator, width=8, hidden=16),
            D=partial(
                multiscale.MultiscaleDiscriminator, width=16, layers=3, scales=2, spectrally=True
            ),
        ),
        data=data,
        optim={
            "G": partial(Adam, lr=2e-4, betas=(0.0, 0.9)),
            "D": partial(Adam, lr=8e-4, betas=(0.0, 0.9)),
        },
        batch=4,
        images=IMAGES,
        lr=LinearDecay(start=IMAGES // 2, end=IMAGES),
    )


def concatenated() -> Run:
    """pix2pixHD's global generator, which has the label planes as its input."""
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            Pix2PixHD,
            G=partial(image_to_image.ResNetGenerator, width=12, blocks=4, downs=3),
            D=partial(multiscale.MultiscaleDiscriminator, width=16, layers=3, scales=2),
        ),
        data=data,
        optim={"G": adam, "D": adam},
        batch=4,
        images=IMAGES,
        lr=LinearDecay(start=IMAGES // 2, end=IMAGES),
    )


@torch.no_grad()
def measure(trained: Trained) -> Figures:
    """What a segmenter of photographs reads off the images of the test label maps."""
    maps, photos = facades.test_pairs(SIDE)
    made = torch.cat([trained.model.translate(part) for part in maps.split(8)])
    truth, net = facades.classes(maps), facades.segmenter(SIDE)
    found = {}
    for name, x in (("", made), ("photo_", photos)):
        said = torch.cat([net(part).argmax(1) for part in x.split(8)])
        found[f"{name}accuracy"] = float((said == truth).float().mean())
        found[f"{name}iou"] = mean_iou(said, truth)
    return found


def mean_iou(said: Tensor, truth: Tensor) -> float:
    """Intersection over union, mean over the classes that there are. [N, H, W] each."""
    both = torch.bincount((truth * LABELS + said).flatten(), minlength=LABELS**2)
    table = both.view(LABELS, LABELS).double()
    hit, union = table.diag(), table.sum(0) + table.sum(1) - table.diag()
    return float((hit / union.clamp(min=1))[table.sum(1) > 0].mean())


def figures(arms: Mapping[str, Figures]) -> Figures:
    """All measures, and SPADE's gains over the better of the others."""
    others = [arms[arm] for arm in ("concatenated", "pix2pix")]
    return {
        **flat(arms),
        "iou_gain": arms["spade"]["iou"] - max(found["iou"] for found in others),
        "accuracy_gain": arms["spade"]["accuracy"] - max(found["accuracy"] for found in others),
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"spade": spade(), "concatenated": concatenated(), "pix2pix": pix2pix_arms.run()},
        controls=["concatenated", "pix2pix"],
        measure=measure,
        figures=figures,
    ),
    plot=plots.bars(
        {f"{arm}_iou": name for arm, name in NAMES.items()} | {"spade_photo_iou": "photographs"},
        {f"{arm}_accuracy": name for arm, name in NAMES.items()}
        | {"spade_photo_accuracy": "photographs"},
        labels=("class IoU of the read labels", "pixel accuracy"),
    ),
    ready=lambda: facades.test_pairs(SIDE),
)
