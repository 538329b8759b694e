"""mobilenet-v2: MobileNetV2 trained on photographs.

Batch normalization is folded into its convolutions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.metrics.features.base import Extractor, filled, weights_file

FILE = "mobilenet_v2_1.0_224_dequantised.npz"
SHA256 = "cee5d3ec04671c97d674fb24e34acf67a4928df30bce2aa7e26de9bb252f1d8b"
# Expansion, width, how many, stride of the first: the paper's table 2.
_BLOCKS = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


class _Conv(nn.Conv2d):
    """Convolution with TensorFlow's "SAME" padding.

    An odd pixel of padding goes to the right and the bottom.
    """

    def forward(self, input: Tensor) -> Tensor:
        pad = []
        sizes = zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True)
        for n, k, s in sizes:
            total = max((-(-n // s) - 1) * s + k - n, 0)
            pad += [total // 2, total - total // 2]
        return super().forward(F.pad(input, pad) if any(pad) else input)


class MobileNetV2(nn.Module):
    """MobileNetV2 of width 1.

    Sandler et al., 2018, arXiv:1801.04381. In the form of TensorFlow's exports:
    operations are numbered in their order (sums and the pooling count, too, and have no
    weights), padding is "SAME", and class 0 is the background.
    """

    dim, classes = 1280, 1001

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleDict()
        self._blocks: list[
            tuple[list[str], bool]
        ] = []  # names of a block's convolutions; whether its input is added
        self._number = 0
        self._add(3, 32, 3, 2)
        width = 32
        for expansion, out, count, first in _BLOCKS:
            for stride in [first] + [1] * (count - 1):
                wide = width * expansion
                names = [self._add(width, wide)] if expansion > 1 else []
                names += [self._add(wide, wide, 3, stride, depthwise=True), self._add(wide, out)]
                skip = stride == 1 and width == out
                self._blocks.append((names, skip))
                self._number += skip
                width = out
        self._last = self._add(width, self.dim)
        self._number += 1
        self._classifier = self._add(self.dim, self.classes)

    def _add(
        self, cin: int, cout: int, kernel: int = 1, stride: int = 1, depthwise: bool = False
    ) -> str:
        name = f"{self._number:02d}_{'dw' if depthwise else 'conv'}"
        self.convs[name] = _Conv(cin, cout, kernel, stride, groups=cin if depthwise else 1)
        self._number += 1
        return name

    def maps(self, x: Tensor) -> Tensor:
        """RGB images [N, 3, H, W] in [-1, 1] -> [N, 1280, h, w]."""
        x = F.relu6(self.convs["00_conv"]((x * 127.5 - 0.5) / 128))  # 8 bits less 128, by 128
        for names, skip in self._blocks:
            inner = x
            for name in names[:-1]:
                inner = F.relu6(self.convs[name](inner), inplace=True)
            inner = self.convs[names[-1]](inner)  # no nonlinearity: the bottleneck is linear
            x = x + inner if skip else inner
        return F.relu6(self.convs[self._last](x))

    def forward(self, x: Tensor) -> Tensor:
        """RGB images [N, 3, H, W] in [-1, 1] -> [N, 1280]."""
        return self.maps(x).mean((2, 3))

    def class_maps(self, x: Tensor) -> Tensor:
        """The score of every class at every place [N, 1001, h, w].

        Their means are the logits.
        """
        return self.convs[self._classifier](self.maps(x))

    def with_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the scores of 1001 classes [N, 1001].

        These are the background and ImageNet's.
        """
        features = self(x)
        return features, self.convs[self._classifier](features[:, :, None, None]).flatten(1)


def load(weights: str | Path | None, resizing: str | None) -> Extractor:
    """The extractor "mobilenet-v2".

    weights: see `ganvas.metrics.features.base.weights_file`
    resizing: a name in `RESIZERS`; None: "bilinear-antialias"
    """
    path = weights_file("mobilenet-v2", [FILE], SHA256, weights)
    with torch.device("meta"):
        net = MobileNetV2()
    with np.load(path) as arrays:
        state = {f"convs.{name}": torch.from_numpy(arrays[name]) for name in arrays.files}
    net = filled(net, state, "mobilenet-v2", path)
    side = lambda longer: 96 if longer <= 64 else 224  # noqa: E731 (it was trained on the larger)
    return Extractor(
        "mobilenet-v2",
        net,
        MobileNetV2.dim,
        SHA256,
        side,
        resizing=resizing or "bilinear-antialias",
    )
