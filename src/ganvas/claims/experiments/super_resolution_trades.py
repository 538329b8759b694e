"""SRGAN, tables 1 and 2: squared error has the better PSNR, the game the better pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from ganvas.claims.claim import Check, Claim, Finding
from ganvas.claims.kit.data import place
from ganvas.core import Clock, Run, config
from ganvas.core.allocator import retain_heap
from ganvas.core.errors import UserError
from ganvas.core.schedules import Cosine
from ganvas.data import Feed, super_resolution
from ganvas.engine.engine import Engine
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
PICTURE, TOP, LEFT, CROP = "butterfly", 80, 100, 44  # what the plot shows, in pixels
PRETRAIN, GAME, BATCH = 12_000, 2_400, 8  # images


def rate(clock: Clock) -> float:
    """Times Adam's own: down along half a cosine to a fifth while pixels are compared, and that fifth in the game."""
    return Cosine(1.0, 0.2, PRETRAIN)(clock)


RUN = Run(
    method=partial(
        SRGAN,
        G=partial(MSRResNet, width=32, blocks=5),
        D=partial(SRDiscriminator, width=16),
        pretrain=PRETRAIN,
        layer="relu3_1",
        adversarial_weight=1e-4,
        pixel_weight=1.0,
    ),
    data=partial(super_resolution, size=64, scale=SCALE),
    optim={p: partial(Adam, lr=1e-3, betas=(0.9, 0.999)) for p in "GD"},
    batch=BATCH,
    images=PRETRAIN + GAME,
    lr=rate,
    precision="bf16",
)


class Needed(NamedTuple):
    training: Feed
    test: dict[str, tuple[Tensor, Tensor]]  # by name: reduced and whole, [1, 3, H, W] in [-1, 1]
    lpips: LPIPS
    vgg: str


def ready() -> Needed:
    """Pictures to train on, Set5 with its reductions by MATLAB, LPIPS, and the file of VGG19's weights."""
    measure = lpips("squeeze-caffe")
    vgg = Path(os.environ[WEIGHTS_VARIABLE]) / VGG
    if not vgg.is_file():
        raise UserError(
            f"this claim compares VGG19's features, and {vgg} is not there: put the normalised encoders there"
        )
    whole, small = (Path(place(name)) for name in ("set5", "set5_lr_x4"))
    test = {f.stem: (_opened(small / f.name), _opened(f)) for f in sorted(whole.glob("*.png"))}
    return Needed(RUN.data(source=place("t91")), test, measure, str(vgg))


def _opened(file: Path) -> Tensor:
    pixels = as_array(to_channels(read(str(file)), 3))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 127.5 - 1


def experiment(seed: int) -> Finding:
    retain_heap()
    needed = ready()
    run = replace(config.override(RUN, f"vgg={needed.vgg}"), seed=seed)
    engine = Engine(run, needed.training)
    made: dict[str, dict[str, Tensor]] = {
        "bicubic": {k: bicubic(_bytes(x), SCALE) / 127.5 - 1 for k, (x, _) in needed.test.items()}
    }
    for name, until in (("srresnet", PRETRAIN), ("srgan", run.images)):
        while engine.clock.images < until:
            engine.step()
        model: Any = engine.model()
        with torch.no_grad():
            made[name] = {
                k: _bytes(model.translate(x)) / 127.5 - 1 for k, (x, _) in needed.test.items()
            }
    figures: dict[str, float] = {}
    points: dict[str, Any] = {}
    for name, pictures in made.items():
        pairs = [(pictures[k], y) for k, (_, y) in needed.test.items()]
        db = [float(psnr((a + 1) / 2, (b + 1) / 2, PROTOCOL)) for a, b in pairs]
        far = [float(needed.lpips(a, b)) for a, b in pairs]
        figures[f"psnr_{name}"], figures[f"lpips_{name}"] = fmean(db), fmean(far)
        points[name] = {"psnr": db, "lpips": far}
    figures["psnr_gain"] = figures["psnr_srresnet"] - figures["psnr_bicubic"]
    figures["psnr_given_up"] = figures["psnr_srresnet"] - figures["psnr_srgan"]
    figures["lpips_gained"] = figures["lpips_srresnet"] - figures["lpips_srgan"]
    shown = {k: _small(p[PICTURE]) for k, p in made.items()} | {
        "truth": _small(needed.test[PICTURE][1])
    }
    return Finding(figures, {"points": points, **shown})


def _bytes(x: Tensor) -> Tensor:
    """[-1, 1] -> uint8, as pictures are saved."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def _small(x: Tensor) -> list[Any]:
    """A part of an image [1, 3, H, W] as gray values 0 to 255."""
    return _bytes(x[0].mean(0)[TOP : TOP + CROP, LEFT : LEFT + CROP]).tolist()


def plot(figure: Any, seeds: Sequence[Mapping[str, Any]]) -> None:
    """The trade: PSNR and LPIPS of every seed; and a part of a picture, first seed."""
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.1))
    axes = left.subplots()
    for i, name in enumerate(("bicubic", "srresnet", "srgan")):
        at = [[s["figures"][f"{m}_{name}"] for s in seeds] for m in ("lpips", "psnr")]
        axes.plot(*at, "o", color=f"C{i}", label=name)
    axes.set(xlabel="LPIPS, squeeze-caffe (lower looks more alike)", ylabel="PSNR of luma, dB")
    axes.legend()
    pictures = ("bicubic", "srresnet", "srgan", "truth")
    for panel, name in zip(right.subplots(2, 2).flat, pictures, strict=True):
        panel.imshow(np.array(seeds[0]["series"][name]), cmap="gray", vmin=0, vmax=255)
        panel.set(xticks=[], yticks=[])
        panel.set_title(name, fontsize="small")


CLAIM = Claim(
    name="super-resolution-trades",
    paper="Ledig et al., 2017, Photo-Realistic Single Image Super-Resolution Using a GAN, arXiv:1609.04802",
    section="sections 3.3 to 3.5, tables 1 and 2",
    sentence="A deep residual network trained by squared error sets the PSNR; the same network trained on by features and a "
    "discriminator has a lower PSNR, and pictures that look more like the real ones.",
    experiment=experiment,
    experiment_in_words="Trained on the 91 pictures that super-resolution papers train on, in crops of 64 px and "
    "batches of 8, reduced 4 times by MATLAB's bicubic; tested on Set5 with its official reductions (GANVAS_DATA "
    "names the folder that has t91, set5 and set5_lr_x4, GANVAS_WEIGHTS that of the weights). G is BasicSR's form "
    "of SRResNet, not the paper's: width 32 and 5 blocks (the paper: 64 and 16), no batch norm, and what it makes "
    "is added to the bilinearly enlarged picture. Tried with another seed, the paper's form at that size was at "
    "27.2 dB after 18 s, where this one was at 29.9 after 10. 12,000 crops by squared error of pixels, Adam 1e-3 "
    "down to 2e-4 along a cosine; then 2,400 crops of the game at 2e-4: D of width 16, content by relu3_1 of VGG19 "
    "(the normalised encoders of universal style transfer, which end there; the paper: relu5_4 of the official "
    "weights) times 1/12.75, adversarial weight 1e-4 (the paper: 1e-3), and the squared error of pixels with weight "
    "1 beside it, which the paper has not. In bf16. Trials with that other seed had been seen when the bounds were "
    "set: 30.6 dB after 12,000 crops, and games from a net at 30.1 dB: 1,056 crops as here gave up 0.6 dB for 0.005 "
    "of LPIPS, 1,584 with adversarial weight 1e-3, pixel weight 3 and Adam 1e-4 gave up 0.6 dB for 0.001.",
    checks=(
        Check(
            "psnr_gain",
            ">=",
            1.0,
            "the paper's is 3.6 dB after 10^6 updates; a processor's minutes should give at least 1",
        ),
        Check(
            "psnr_given_up",
            ">",
            0.0,
            "the paper's order; how much is given up depends on the weights of the game",
        ),
        Check(
            "lpips_gained",
            ">",
            0.0,
            "LPIPS stands for the paper's mean opinion score, which rose from 3.37 to 3.58",
        ),
    ),
    figures_in_words={
        "psnr_bicubic": "PSNR of bicubic enlargement, dB, mean of Set5's five pictures, luma, 4 pixels of border left out",
        "psnr_srresnet": "the same of SRResNet",
        "psnr_srgan": "the same of SRGAN",
        "psnr_gain": "SRResNet's PSNR over bicubic's, dB",
        "psnr_given_up": "SRResNet's PSNR over SRGAN's, dB",
        "lpips_bicubic": "LPIPS over squeeze-caffe (not the official backbone) of bicubic enlargement, mean of the five",
        "lpips_srresnet": "the same of SRResNet",
        "lpips_srgan": "the same of SRGAN",
        "lpips_gained": "SRResNet's LPIPS less SRGAN's",
    },
    paper_figures={
        "Set5, PSNR": "bicubic 28.43 dB, SRResNet 32.05 dB, SRGAN 29.40 dB",
        "Set5, mean opinion score": "bicubic 1.97, SRResNet 3.37, SRGAN 3.58, the original 4.32",
    },
    plot=plot,
    ready=ready,
    minutes=6,
)
