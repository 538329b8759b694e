"""squeezenet: SqueezeNet 1.0 with its authors' weights, trained on photographs."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.metrics.features.base import Extractor, filled, weights_file

FILE = "squeezenet1_0_imagenet_caffe_bgr.pth"
SHA256 = "1f7f39ce080a602f8a58c6194f1f5bd8cf404b61a30cde2d410c95b5f5f22956"


class Fire(nn.Module):
    """SqueezeNet's block. Section 3.2."""

    def __init__(self, cin: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(cin, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, cin, H, W] to [N, 2 expand, H, W]."""
        x = F.relu_(self.squeeze(x))
        return F.relu_(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0.

    Iandola et al., 2016, arXiv:1602.07360, table 1. With the weights of its authors'
    Caffe model, which takes BGR in 0..255 less a mean. Parameters are named as
    torchvision names them.
    """

    dim, classes = 512, 1000
    CAFFE_MEAN = (104.0, 117.0, 123.0)  # B, G, R

    def __init__(self) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(inplace=True), pool,
            Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), pool,
            Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), pool,
            Fire(512, 64, 256),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Identity(), nn.Conv2d(512, 1000, 1), nn.ReLU(inplace=True)
        )

    def maps(self, x: Tensor) -> Tensor:
        """RGB images [N, 3, H, W] in [-1, 1] -> [N, 512, h, w]."""
        mean = x.new_tensor(self.CAFFE_MEAN).view(1, 3, 1, 1)
        return self.features((x.flip(1) + 1) * 127.5 - mean)

    def forward(self, x: Tensor) -> Tensor:
        """Map RGB images [N, 3, H, W] in [-1, 1] to features [N, 512]."""
        return self.maps(x).mean((2, 3))

    def class_maps(self, x: Tensor) -> Tensor:
        """The score of every class at every place [N, 1000, h, w].

        Their means are the logits.
        """
        return self.classifier(self.maps(x))

    def with_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the scores of the 1000 ImageNet classes [N, 1000]."""
        maps = self.maps(x)
        return maps.mean((2, 3)), self.classifier(maps).mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        """Score ImageNet's classes [N, 1000] in RGB images [N, 3, H, W] in [-1, 1]."""
        return self.with_logits(x)[1]


def load(weights: str | Path | None, resizing: str | None) -> Extractor:
    """The extractor "squeezenet".

    weights: see `ganvas.metrics.features.base.weights_file`
    resizing: a name in `RESIZERS`; None: "bilinear-antialias"
    """
    path = weights_file("squeezenet", [FILE], SHA256, weights)
    with torch.device("meta"):
        net = SqueezeNet()
    net = filled(net, torch.load(path, map_location="cpu", weights_only=True), "squeezenet", path)
    # Small images gain little from 224 pixels, which cost five times as much as 96.
    side = lambda longer: 96 if longer <= 64 else 224  # noqa: E731
    return Extractor(
        "squeezenet", net, SqueezeNet.dim, SHA256, side, resizing=resizing or "bilinear-antialias"
    )
