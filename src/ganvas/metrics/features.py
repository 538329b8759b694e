"""Images as vectors: the networks over whose features distributions are compared. Figures over one extractor compare
with figures over the same extractor, told by its name and the hash of its weights, and with no others. None of these is
the Inception network of 2015, so no distance over them may be called FID."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.errors import UserError, did_you_mean

WEIGHTS_VARIABLE = "GANVAS_WEIGHTS"


class Extractor:
    """A named, fixed map from images to vectors.

    `name`; `dim`: length of a vector; `hash`: SHA-256 of the weights (of the file, where there is one). Calling it with
    images [N, C, H, W] in [-1, 1], of any size, with 1, 3 or 4 channels, gives float32 features [N, dim]. Images are
    first rounded to 8 bits, as saved pictures are; alpha is composited over middle gray; the result is resized to a
    square, bilinear with antialiasing, whatever the aspect ratio. Raises `UserError` for NaN pixels."""

    def __init__(
        self,
        name: str,
        net: nn.Module,
        dim: int,
        hash: str,
        side: Callable[[int], int],
        channels: int = 3,
    ) -> None:
        self.name, self.net, self.dim, self.hash = name, net.eval().requires_grad_(False), dim, hash
        self._side, self._channels = side, channels

    def side(self, height: int, width: int) -> int:
        """The square, in pixels, that images of this size are resized to."""
        return self._side(max(height, width))

    def resizer(self, height: int, width: int) -> str:
        """How images of this size are resized, in words for a record."""
        return f"bilinear-antialias-{self.side(height, width)}"

    def prepare(self, images: Tensor) -> Tensor:
        """What the network sees: [N, 3 or 1, side, side] in [-1, 1]."""
        if images.ndim != 4 or images.shape[1] not in (1, 3, 4):
            raise UserError(f"images must be [N, 1, 3 or 4 channels, height, width]; got {list(images.shape)}")
        x = images.detach().float()
        if not bool(torch.isfinite(x).all()):
            raise UserError("these images have NaN or infinite pixels, of which no measure can be taken")
        x = ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
        if x.shape[1] == 4:
            x = x[:, :3] * (x[:, 3:] + 1) / 2
        if x.shape[1] < self._channels:
            x = x.expand(-1, self._channels, -1, -1)
        elif x.shape[1] > self._channels:
            x = (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        side = self.side(*x.shape[-2:])
        return F.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return self.net.to(images.device)(self.prepare(images)).float()


class Statistics(NamedTuple):
    """Of features, in float64: `mean` [dim], `cov` [dim, dim] (divided by N - 1)."""

    mean: Tensor
    cov: Tensor


class Moments:
    """Mean and covariance of a stream, in float64, in memory that does not grow with it (Chan, Golub and LeVeque,
    1979)."""

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """features [N, dim]."""
        x = features.detach().to("cpu", torch.float64)
        n = len(x)
        if not n:
            return
        mean, total = x.mean(0), self.count + n
        x = x - mean
        shift = mean - self.mean
        self._scatter += x.T @ x + torch.outer(shift, shift) * (self.count * n / total)
        self.mean += shift * (n / total)
        self.count = total

    def statistics(self) -> Statistics:
        if self.count < 2:
            raise UserError(f"a covariance needs at least 2 images; got {self.count}")
        return Statistics(self.mean, self._scatter / (self.count - 1))


def feature_statistics(extractor: Extractor, batches: Iterable[Tensor]) -> Statistics:
    """Mean and covariance of the features of batches of images, each [N, C, H, W] in [-1, 1]."""
    moments = Moments(extractor.dim)
    for images in batches:
        moments.add(extractor(images))
    return moments.statistics()


def extractor(name: str, weights: str | Path | None = None) -> Extractor:
    """The extractor of this name: `random-conv-v1` (no weights needed), `squeezenet`, `lenet-mnist`.

    `weights`: the folder with the weights' files; None: the one that the environment variable GANVAS_WEIGHTS names.
    Raises `UserError` for an unknown name and for weights that are missing or not what the name stands for."""
    if name not in _EXTRACTORS:
        raise UserError(f"there is no extractor {name!r}. {did_you_mean(name, _EXTRACTORS)}")
    return _EXTRACTORS[name](weights)


# ---------------------------------------------------------------- random-conv-v1


class RandomConv(nn.Module):
    """Four 3x3 convolutions of stride 2 with ReLU; the features are every stage's channel means, side by side.

    Its weights are drawn once and for all. Random features judge by local structure and shape, not by what a picture
    shows: they rank the states of one training run, see noise, blur and missing modes, and favour no data set, where a
    classifier of photographs is at home with photographs only (Naeem et al., 2020, arXiv:2002.09797 use random
    embeddings so). The distance over them is not FID, and compares with itself only.

    The draw is made of raw words of the counter-based generator Philox (Salmon et al., 2011), which NumPy promises
    never to change, and of exactly rounded arithmetic: the same bits on every machine."""

    WIDTHS = (64, 128, 128, 128)
    dim = sum(WIDTHS)

    def __init__(self) -> None:
        super().__init__()
        words = np.random.Philox(key=20140610)  # the day on which the GAN appeared on arXiv

        def draw(*shape: int, scale: float) -> nn.Parameter:
            """U(-scale, scale)"""
            word = words.random_raw(math.prod(shape)) >> np.uint64(40)
            uniform = word.astype(np.float32) / np.float32(2**23) - 1
            return nn.Parameter(torch.from_numpy(uniform * np.float32(scale)).view(shape))

        stages, fan_in = [], 3 * 9
        for width in self.WIDTHS:
            conv = nn.Conv2d(fan_in // 9, width, 3, stride=2, padding=1, device="meta")  # draws nothing of torch's
            conv.weight = draw(
                width, fan_in // 9, 3, 3, scale=(6 / fan_in) ** 0.5
            )  # He et al., 2015: variance 2 / fan_in
            conv.bias = draw(width, scale=0.5)
            stages.append(conv)
            fan_in = width * 9
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        features = []
        for stage in self.stages:
            x = F.relu(stage(x))
            features.append(x.mean((2, 3)))
        return torch.cat(features, dim=1)


def _random_conv(weights: str | Path | None) -> Extractor:
    net = RandomConv()
    raw = b"".join(p.detach().numpy().tobytes() for p in net.parameters())
    return Extractor(
        "random-conv-v1", net, net.dim, hashlib.sha256(raw).hexdigest(), side=lambda longer: 32 if longer <= 32 else 64
    )


# ---------------------------------------------------------------- squeezenet


class _Fire(nn.Module):
    def __init__(self, cin: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(cin, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], dim=1)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0. Iandola et al., 2016, arXiv:1602.07360, table 1. With the weights of its authors' Caffe model,
    which takes BGR in 0..255 less a mean. Parameters are named as torchvision names them."""

    dim = 512
    CAFFE_MEAN = (104.0, 117.0, 123.0)  # B, G, R

    def __init__(self) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(), pool,
            _Fire(96, 16, 64), _Fire(128, 16, 64), _Fire(128, 32, 128), pool,
            _Fire(256, 32, 128), _Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256), pool,
            _Fire(512, 64, 256),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Identity(), nn.Conv2d(512, 1000, 1), nn.ReLU())

    def maps(self, x: Tensor) -> Tensor:
        """RGB images [N, 3, H, W] in [-1, 1] -> [N, 512, h, w]."""
        mean = x.new_tensor(self.CAFFE_MEAN).view(1, 3, 1, 1)
        return self.features((x.flip(1) + 1) * 127.5 - mean)

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        """RGB images [N, 3, H, W] in [-1, 1] -> scores of the 1000 ImageNet classes [N, 1000]."""
        return self.classifier(self.maps(x)).mean((2, 3))


def _squeezenet(weights: str | Path | None) -> Extractor:
    with torch.device("meta"):
        net = SqueezeNet()
    digest = _load(net, "squeezenet", "squeezenet1_0_imagenet_caffe_bgr.pth", weights)
    # Small pictures gain little from 224 pixels, which cost five times as much as 96.
    return Extractor("squeezenet", net, net.dim, digest, side=lambda longer: 96 if longer <= 64 else 224)


# ---------------------------------------------------------------- lenet-mnist


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al., 1998) in today's form: ReLU, max pooling, fully connected ends. Features: the 84 units of
    F6 and the 10 scores. For gray images [N, 1, 32, 32] in [-1, 1] with white strokes on black, MNIST's 28 pixels
    enlarged."""

    dim = 94

    def __init__(self) -> None:
        super().__init__()
        self.convnet = nn.ModuleDict({"c1": nn.Conv2d(1, 6, 5), "c3": nn.Conv2d(6, 16, 5), "c5": nn.Conv2d(16, 120, 5)})
        self.fc = nn.ModuleDict({"f6": nn.Linear(120, 84), "f7": nn.Linear(84, 10)})

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.convnet["c1"]((x + 1) / 2)), 2)  # it was trained on [0, 1]
        x = F.max_pool2d(F.relu(self.convnet["c3"](x)), 2)
        x = F.relu(self.convnet["c5"](x)).flatten(1)
        x = F.relu(self.fc["f6"](x))
        return torch.cat([x, self.fc["f7"](x)], dim=1)


def _lenet(weights: str | Path | None) -> Extractor:
    with torch.device("meta"):
        net = LeNet()
    digest = _load(net, "lenet-mnist", "mnist_lenet.pth", weights)
    return Extractor("lenet-mnist", net, net.dim, digest, side=lambda longer: 32, channels=1)


# ---------------------------------------------------------------- weights


def _load(net: nn.Module, name: str, file: str, weights: str | Path | None) -> str:
    """Fill `net` from a state_dict file in the weights' folder; returns the file's SHA-256."""
    folder = weights or os.environ.get(WEIGHTS_VARIABLE)
    if not folder:
        raise UserError(
            f"the extractor {name} needs the file {file}: say in which folder it lies (--features-dir, or the "
            f"environment variable {WEIGHTS_VARIABLE}), or use random-conv-v1, which needs none"
        )
    path = Path(folder) / file
    if not path.is_file():
        raise UserError(
            f"the extractor {name} needs {file}, which is not in {folder}: put it there, or name another folder"
        )
    try:
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
    except Exception as e:  # torch raises unlike things for unlike damage
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise UserError(f"{path} does not hold the weights of {name} ({reason}): fetch it again") from None
    return hashlib.sha256(path.read_bytes()).hexdigest()


_EXTRACTORS: dict[str, Callable[[str | Path | None], Extractor]] = {
    "random-conv-v1": _random_conv,
    "squeezenet": _squeezenet,
    "lenet-mnist": _lenet,
}
