"""random-conv-v1: an extractor that needs no weights' file."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.metrics.features.base import Extractor


class RandomConv(nn.Module):
    """Four 3x3 convolutions of stride 2 with ReLU.

    The features are every stage's channel means, side by side.

    Its weights are drawn once and for all. Random features depend on local structure
    and shape, not on what an image shows: they rank the states of one training run, see
    noise, blur and missing modes, and favor no data set, whereas a classifier of
    photographs is at home with photographs only (Naeem et al., 2020, arXiv:2002.09797
    use random embeddings so). The distance over them is not FID, and compares with
    itself only.

    The draw is made of raw words of the counter-based generator Philox (Salmon et al.,
    2011), which NumPy promises never to change, and of exactly rounded arithmetic: the
    same bits on every machine.
    """

    WIDTHS = (64, 128, 128, 128)
    dim = sum(WIDTHS)

    def __init__(self) -> None:
        super().__init__()
        words = np.random.Philox(key=20140610)  # the day on which the GAN appeared on arXiv

        def draw(*shape: int, scale: float) -> nn.Parameter:
            """Draw from U(-scale, scale)."""
            word = words.random_raw(math.prod(shape)) >> np.uint64(40)
            uniform = word.astype(np.float32) / np.float32(2**23) - 1
            return nn.Parameter(torch.from_numpy(uniform * np.float32(scale)).view(shape))

        stages, fan_in = [], 3 * 9
        for width in self.WIDTHS:
            conv = nn.Conv2d(
                fan_in // 9, width, 3, stride=2, padding=1, device="meta"
            )  # draws nothing of torch's
            conv.weight = draw(
                width, fan_in // 9, 3, 3, scale=(6 / fan_in) ** 0.5
            )  # He et al., 2015: variance 2 / fan_in
            conv.bias = draw(width, scale=0.5)
            stages.append(conv)
            fan_in = width * 9
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, 3, H, W] in [-1, 1] to features [N, dim]."""
        features = []
        for stage in self.stages:
            x = F.relu(stage(x))
            features.append(x.mean((2, 3)))
        return torch.cat(features, dim=1)


def load(weights: str | Path | None, resizing: str | None) -> Extractor:
    """The extractor "random-conv-v1", which has no file: `weights` is ignored.

    resizing: a name in `RESIZERS`; None: "bilinear-antialias"
    """
    net = RandomConv()
    raw = b"".join(p.detach().numpy().tobytes() for p in net.parameters())
    digest = hashlib.sha256(raw).hexdigest()
    side = lambda longer: 32 if longer <= 32 else 64  # noqa: E731
    return Extractor(
        "random-conv-v1", net, net.dim, digest, side, resizing=resizing or "bilinear-antialias"
    )
