"""lenet-mnist: LeNet-5, trained on handwritten digits."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.metrics.features.base import Extractor, filled, weights_file

FILE = "mnist_lenet.pth"
SHA256 = "7b3591ba5a63752a7e728d7f7e511266556a2ec66844810da9f475e07019b85e"


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al., 1998) in today's form.

    ReLU, max pooling, fully connected ends. Features: the 84 units of F6 and the 10
    scores. For gray images [N, 1, 32, 32] in [-1, 1] with white strokes on black,
    MNIST's 28 pixels enlarged.
    """

    dim, classes = 94, 10

    def __init__(self) -> None:
        super().__init__()
        self.convnet = nn.ModuleDict(
            {"c1": nn.Conv2d(1, 6, 5), "c3": nn.Conv2d(6, 16, 5), "c5": nn.Conv2d(16, 120, 5)}
        )
        self.fc = nn.ModuleDict({"f6": nn.Linear(120, 84), "f7": nn.Linear(84, 10)})

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, 1, 32, 32] in [-1, 1] to features [N, 94]."""
        x = F.max_pool2d(F.relu(self.convnet["c1"]((x + 1) / 2)), 2)  # it was trained on [0, 1]
        x = F.max_pool2d(F.relu(self.convnet["c3"](x)), 2)
        x = F.relu(self.convnet["c5"](x)).flatten(1)
        x = F.relu(self.fc["f6"](x))
        return torch.cat([x, self.fc["f7"](x)], dim=1)

    def with_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and the scores of the ten digits [N, 10]."""
        features = self(x)
        return features, features[:, -10:]


def load(weights: str | Path | None, resizing: str | None) -> Extractor:
    """The extractor "lenet-mnist".

    weights: see `ganvas.metrics.features.base.weights_file`
    resizing: a name in `RESIZERS`; None: "bilinear-antialias"
    """
    path = weights_file("lenet-mnist", [FILE], SHA256, weights)
    with torch.device("meta"):
        net = LeNet()
    net = filled(net, torch.load(path, map_location="cpu", weights_only=True), "lenet-mnist", path)
    resizing = resizing or "bilinear-antialias"
    return Extractor(
        "lenet-mnist", net, LeNet.dim, SHA256, side=lambda longer: 32, channels=1, resizing=resizing
    )
