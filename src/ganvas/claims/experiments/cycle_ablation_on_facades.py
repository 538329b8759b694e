"""CycleGAN, tables 4 and 5: the cycle and the GAN on facades, alone and together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import facades, plots
from ganvas.claims.kit.domains import as_tensor, two_domains
from ganvas.claims.kit.training import Comparison, Figures, Trained
from ganvas.core import Run
from ganvas.core.schedules import LinearDecay
from ganvas.data import Feed
from ganvas.methods import CycleGAN
from ganvas.metrics.fcn_score import confusion, segmentation
from ganvas.nets import image_to_image, patchgan

SIDE = 128
IMAGES = 32_000  # 200 epochs of 160
ALONE = 1e4  # weight of a cycle beside which the adversarial loss counts for nothing


@cache
def unpaired() -> Feed:
    """Photographs of one half of the facades and labels of the other half."""
    feed = facades.training(SIDE)
    raw = feed.raw()
    half = len(raw["a"]) // 2
    source = "facades and the labels of others"
    return two_domains(source, raw["b"][:half], raw["a"][half:], feed.info.fingerprint)


def run(cycle_weight: float) -> Run:
    """The paper's networks at half their width, without the identity loss."""
    adam = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
    return Run(
        method=partial(
            CycleGAN,
            G=partial(image_to_image.ResNetGenerator, width=32, blocks=6),
            D=partial(patchgan.PatchDiscriminator, width=32, layers=2),
            cycle_weight=cycle_weight,
            identity_weight=0.0,
        ),
        data=unpaired,
        optim={"G": adam, "D": adam},
        batch=1,
        images=IMAGES,
        lr=LinearDecay(start=IMAGES // 2, end=IMAGES),
    )


@torch.no_grad()
def labeled(trained: Trained) -> Tensor:
    """Label maps [N, 3, H, W] that the model makes of the test photographs."""
    _, photos = facades.test_pairs(SIDE)
    device = trained.engine.device
    return torch.cat([trained.model.translate(x.to(device)).cpu() for x in photos.split(8)])


def scores(maps: Tensor) -> dict[str, float]:
    """Pixel accuracy and mean intersection over union of maps of the test images."""
    labels, _ = facades.test_pairs(SIDE)
    counts = confusion(facades.classes(labels), facades.classes(maps), len(facades.PALETTE))
    found = segmentation(counts)
    return {"accuracy": found.pixel_accuracy, "iou": found.mean_iou}


def blind() -> dict[str, float]:
    """The scores of the best map that knows nothing of its photograph.

    The most frequent class of each place in the training label maps.
    """
    maps = as_tensor(facades.training(SIDE).raw()["a"])
    named = facades.classes(maps).mode(0).values
    palette = torch.tensor(facades.PALETTE).float() / 127.5 - 1
    count = len(facades.test_pairs(SIDE)[0])
    return scores(palette[named].movedim(-1, 0).expand(count, -1, -1, -1))


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The scores of all arms, and CycleGAN's lead over parts and a blind map."""
    found = {f"{arm}_{name}": v for arm, each in arms.items() for name, v in each.items()}
    parts, floor = max(arms[arm]["iou"] for arm in ("gan_alone", "cycle_alone")), blind()["iou"]
    return found | {
        "lead": arms["cyclegan"]["iou"] - parts,
        "blind_iou": floor,
        "lead_over_blind": arms["cyclegan"]["iou"] - floor,
    }


def series(trained: Trained) -> dict[str, object]:
    """Photographs, their labels and the model's, gray and small."""
    labels, photos = facades.test_pairs(SIDE)
    rows = {"photo": photos, "truth": labels, "made": labeled(trained)}
    return {k: plots.pixels(x[:8].mean(1, keepdim=True), 8, side=32) for k, x in rows.items()}


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"cyclegan": run(10.0), "gan_alone": run(0.0), "cycle_alone": run(ALONE)},
        controls=["gan_alone", "cycle_alone"],
        measure=lambda trained: scores(labeled(trained)),
        figures=figures,
        series=series,
        device="cuda",
    ),
    plot=plots.pictures(
        {
            "photographs": lambda s: s["cyclegan"]["photo"],
            "true labels": lambda s: s["cyclegan"]["truth"],
            "CycleGAN, IOU": lambda s: s["cyclegan"]["made"],
            "GAN alone, IOU": lambda s: s["gan_alone"]["made"],
            "cycle alone, IOU": lambda s: s["cycle_alone"]["made"],
        },
        {
            "CycleGAN, IOU": "cyclegan_iou",
            "GAN alone, IOU": "gan_alone_iou",
            "cycle alone, IOU": "cycle_alone_iou",
        },
    ),
    ready=lambda: facades.test_pairs(SIDE),
)
