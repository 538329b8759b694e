"""ResNet-20 of CIFAR-10 with its authors' weights: a classifier that judges images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from ganvas.metrics.features.base import filled, weights_file

FILE = "cifar10_resnet20.th"
SHA256 = "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8"


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without weights (He et al., option A)."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.stride, self.more = stride, (outer - inner) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map features [N, C, H, W], at half the size if the stride is 2."""
        h = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        short = x[:, :, :: self.stride, :: self.stride]
        return relu(h + pad(short, (0, 0, 0, 0, self.more, self.more)))


class ResNet20(nn.Module):
    """ResNet-20 of CIFAR-10 (He et al., 2015, arXiv:1512.03385, section 4.2).

    Images [N, 3, 32, 32] in [-1, 1] -> logits [N, 10]. Names as in
    github.com/akamaster/pytorch_resnet_cifar10.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = ((16, 16), (16, 32), (32, 64))
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                Block(inner, outer, outer // inner), Block(outer, outer, 1), Block(outer, outer, 1)
            )
            for inner, outer in widths
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to logits."""
        return self.linear(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Map images to the features [N, 64] before the last layer."""
        mean = x.new_tensor([0.485, 0.456, 0.406])[:, None, None]
        std = x.new_tensor([0.229, 0.224, 0.225])[:, None, None]
        x = relu(self.bn1(self.conv1(((x + 1) / 2 - mean) / std)))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))


def resnet20() -> ResNet20:
    """The network with its authors' weights. Raises `UserError` if they are missing."""
    path = weights_file("cifar10-resnet20", [FILE], SHA256, None)
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    net = ResNet20()
    filled(net, state, "cifar10-resnet20", path)
    return net
