"""Facades: label maps as classes, a segmenter of photographs, and measures of images.

Photographs and label maps are [N, 3, H, W] in [-1, 1], classes [N, H, W].
"""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam

from ganvas.claims.kit.data import place
from ganvas.data import Feed, pairs
from ganvas.media.color import to_lab
from ganvas.nets.image_to_image import UNetGenerator

# Colors of the labels of the CMP facades, background first.
PALETTE = (
    *((0, 0, 222), (0, 48, 255), (0, 128, 255), (0, 208, 255), (32, 255, 224), (112, 255, 144)),
    *((192, 255, 64), (255, 240, 0), (255, 160, 0), (255, 80, 0), (255, 0, 0), (174, 0, 1)),
)
TEST = 80  # pairs
STEPS, BATCH = 1500, 8  # of the segmenter
SHARPNESS = 10.0  # the segmenter's tanh -> logits
LEVELS = 64  # of a histogram
RANGES = ((0.0, 100.0), (-100.0, 100.0), (-100.0, 100.0))  # of L, a and b
FINE = 1 / 8  # cycles a pixel


def training(size: int, load: int | None = None) -> Feed:
    """Labels and photographs to train on. load: size before the crop."""
    return pairs(place("facades"), size=size, load=load, flip=load is not None, direction="b2a")


@cache
def test_pairs(size: int) -> tuple[Tensor, Tensor]:
    """(labels, photographs) of the first `TEST` test pairs."""
    feed = pairs(place("facades"), size=size, direction="b2a", flip=False, part="test")
    batch = next(iter(feed.batches(TEST)))
    return batch.x.contiguous(), batch.y.contiguous()


def classes(labels: Tensor) -> Tensor:
    """Label maps [N, 3, H, W] -> numbers of the nearest colors [N, H, W]."""
    palette = torch.tensor(PALETTE, device=labels.device).float() / 127.5 - 1
    pixels = labels.movedim(1, -1).flatten(0, 2)
    return torch.cdist(pixels, palette).argmin(1).view(len(labels), *labels.shape[2:])


@cache
def segmenter(size: int) -> nn.Module:
    """A U-Net that was trained on the training pairs to label photographs.

    [N, 3, H, W] -> logits [N, 12, H, W]. The same for every seed of an experiment.
    """
    feed = training(size, load=size + size // 8)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(0)
        make = partial(UNetGenerator, width=16, depth=size.bit_length() - 1, norm="instance")
        net = make(channels_out=len(PALETTE))
        adam = Adam(net.parameters(), lr=1e-3)
        for i in range(STEPS):
            batch = feed.draw(i * BATCH, BATCH, seed=0)
            adam.zero_grad()
            cross_entropy(SHARPNESS * net(batch.y), classes(batch.x)).backward()
            adam.step()
    return net.eval().requires_grad_(False)


def energy(x: Tensor) -> float:
    """Mean power of the gray images above `FINE` cycles a pixel."""
    gray = x.mean(1)
    power = torch.fft.fft2(gray).abs().square() / gray[0].numel()
    rows, columns = (torch.fft.fftfreq(side) for side in gray.shape[1:])
    fine = torch.hypot(rows[:, None], columns[None]) > FINE
    return float(power[:, fine].sum(1).mean())


def color_agreement(x: Tensor, truth: Tensor) -> dict[str, float]:
    """Intersections of the histograms of L, a and b over all pixels, 0 to 1."""
    found = {}
    channels = zip("Lab", to_lab(x).unbind(1), to_lab(truth).unbind(1), RANGES, strict=True)
    for name, one, other, (low, high) in channels:
        one, other = (
            torch.histc(values.clamp(low, high), LEVELS, low, high) / values.numel()
            for values in (one, other)
        )
        found[name] = float(torch.minimum(one, other).sum())
    return found
