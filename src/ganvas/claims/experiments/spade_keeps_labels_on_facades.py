"""SPADE, section 4.3: more of the label map is seen in images than of concatenation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

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
from ganvas.metrics.fcn_score import fcn_score
from ganvas.nets import image_to_image, multiscale
from ganvas.nets import spade as nets

SIDE = 64
IMAGES = 20_000
PART = 8  # images in one forward pass
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
    maps, _ = facades.test_pairs(SIDE)
    images = torch.cat([trained.model.translate(part) for part in maps.split(PART)])
    photos = {f"photo_{name}": value for name, value in scores_of_photos().items()}
    return {**scores(images), **photos}


def scores(images: Tensor) -> dict[str, float]:
    """Pixel accuracy and mean IoU of the labels read off images of the test maps."""
    truth = facades.classes(facades.test_pairs(SIDE)[0])
    found = fcn_score(
        images.split(PART), truth.split(PART), facades.segmenter(SIDE), len(facades.PALETTE)
    )
    return {"accuracy": found.pixel_accuracy, "iou": found.mean_iou}


@cache
def scores_of_photos() -> dict[str, float]:
    """The scores of the test photographs, the same for all arms."""
    return scores(facades.test_pairs(SIDE)[1])


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
