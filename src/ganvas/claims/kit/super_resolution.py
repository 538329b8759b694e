"""SRResNet and SRGAN trained on T91, by content in pixels or in VGG19's features."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.kit.data import place
from ganvas.claims.kit.training import Trained
from ganvas.core import Clock, Run, Shape
from ganvas.core.errors import UserError
from ganvas.core.schedules import Cosine
from ganvas.data import Feed, super_resolution
from ganvas.data.degradations import reduced
from ganvas.media.decode import read
from ganvas.media.resize import bicubic
from ganvas.media.samples import as_array, to_channels
from ganvas.methods import SRGAN
from ganvas.metrics.features import WEIGHTS_VARIABLE
from ganvas.metrics.lpips import LPIPS, lpips
from ganvas.metrics.psnr_ssim import psnr
from ganvas.nets.super_resolution import MSRResNet, SRDiscriminator

SCALE, PROTOCOL = 4, "y-crop4"
VGG = "vgg19_normalised/vgg19_3/vgg_normalised_conv3_1.pth"  # below GANVAS_WEIGHTS
PRETRAIN, GAME, BATCH = 12_000, 4_800, 8  # crops
TUNING = 10  # images of T91 by which the weight of the game is chosen
WEIGHTS = (1e-4, 4e-4, 1.6e-3)  # of the adversarial loss

Images = dict[str, tuple[Tensor, Tensor]]  # name -> reduced and whole, [1, 3, H, W] each


def opened(file: Path) -> Tensor:
    """An image file in [-1, 1], [1, 3, H, W]."""
    pixels = as_array(to_channels(read(str(file)), 3))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 127.5 - 1


def as_bytes(x: Tensor) -> Tensor:
    """[-1, 1] -> uint8, as images are saved."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def training() -> Feed:
    """Crops of T91 and their reductions."""
    return super_resolution(place("t91"), size=64, scale=SCALE)


@cache
def tuning() -> Images:
    """The first images of T91, cut to multiples of the scale, and their reductions."""
    found = {}
    for file in sorted(Path(place("t91")).glob("*.png"))[:TUNING]:
        whole = opened(file)
        height, width = (side // SCALE * SCALE for side in whole.shape[2:])
        whole = whole[..., :height, :width]
        found[file.stem] = (reduced(whole, scale=SCALE), whole)
    return found


@cache
def set5() -> Images:
    """Set5 and its official reductions."""
    whole, small = (Path(place(name)) for name in ("set5", "set5_lr_x4"))
    return {f.stem: (opened(small / f.name), opened(f)) for f in sorted(whole.glob("*.png"))}


@cache
def perceptual() -> LPIPS:
    """LPIPS over SqueezeNet. Raises `UserError` if its weights are missing."""
    return lpips("squeeze-caffe")


def vgg() -> str:
    """The file of VGG19's weights. Raises `UserError` if it is missing."""
    file = Path(os.environ.get(WEIGHTS_VARIABLE, "")) / VGG
    if not file.is_file():
        raise UserError(
            f"this claim compares VGG19's features, and {file} is missing: set {WEIGHTS_VARIABLE} "
            "to a folder that has the normalized encoders"
        )
    return str(file)


def rate(clock: Clock) -> float:
    """Factor of the learning rate: half a cosine to a fifth, which is the game's."""
    return Cosine(1.0, 0.2, PRETRAIN)(clock)


def srgan(
    shape: Shape,
    *,
    features: bool,
    G: Callable[..., nn.Module],
    D: Callable[..., nn.Module],
    pretrain: int,
    adversarial_weight: float,
) -> SRGAN:
    """`SRGAN` with content in VGG19's relu2_2, or in pixels."""
    return SRGAN(
        shape,
        G,
        D,
        vgg=vgg() if features else None,
        layer="relu2_2",
        pretrain=pretrain,
        adversarial_weight=adversarial_weight,
    )


def run(features: bool, adversarial_weight: float) -> Run:
    """`PRETRAIN` crops by squared error, then `GAME` crops by the content and D."""
    return Run(
        method=partial(
            srgan,
            features=features,
            G=partial(MSRResNet, width=32, blocks=5),
            D=partial(SRDiscriminator, width=16),
            pretrain=PRETRAIN,
            adversarial_weight=adversarial_weight,
        ),
        data=training,
        optim={p: partial(Adam, lr=1e-3, betas=(0.9, 0.999)) for p in "GD"},
        batch=BATCH,
        images=PRETRAIN + GAME,
        lr=rate,
        precision="bf16",
    )


@torch.no_grad()
def enlarged(trained: Trained, images: Images) -> dict[str, Tensor]:
    """The reduced images, enlarged and rounded to bytes, in [-1, 1]."""
    model = trained.model
    return {k: as_bytes(model.translate(x)) / 127.5 - 1 for k, (x, _) in images.items()}


def scores(made: dict[str, Tensor], images: Images) -> dict[str, float]:
    """PSNR of luma, dB, and LPIPS, means over images."""
    pairs = [(made[k], y) for k, (_, y) in images.items()]
    return {
        "psnr": fmean(float(psnr((a + 1) / 2, (b + 1) / 2, PROTOCOL)) for a, b in pairs),
        "lpips": fmean(float(perceptual()(a, b)) for a, b in pairs),
    }


def measure(trained: Trained) -> dict[str, float]:
    """Scores on Set5, and LPIPS on training images, by which weights are chosen."""
    chosen_by = scores(enlarged(trained, tuning()), tuning())["lpips"]
    return scores(enlarged(trained, set5()), set5()) | {"training_lpips": chosen_by}


def by_bicubic() -> dict[str, float]:
    """The scores of bicubic enlargement on Set5."""
    made = {k: bicubic(as_bytes(x), SCALE) / 127.5 - 1 for k, (x, _) in set5().items()}
    return scores(made, set5())


def ready(features: bool = False) -> None:
    """Raises `UserError` if images or weights are missing. features: also VGG19's."""
    for needed in (training, set5, perceptual, *([vgg] if features else [])):
        needed()
