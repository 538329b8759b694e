"""DeOldify's networks: a U-Net around a ResNet, and its critic.

DeOldify by Jason Antic (2018 to 2020; a project, not a paper) on fastai's DynamicUnet.
The layers lie as in its files: `layers` of the U-Net, all of the critic in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from ganvas.core import rng
from ganvas.nets.layers import Strided1x1, divisible
from ganvas.nets.norm import BatchNorm2d
from ganvas.nets.spectral import Spectral, spectral

RANGE = 3.0  # of the output, in ImageNet's deviations
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; He et al., 2015, arXiv:1512.03385."""

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.downsample = _shortcut(channels_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to [N, width, H / stride, W / stride]."""
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the last is four times wider."""

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = BatchNorm2d(4 * width)
        self.downsample = _shortcut(channels_in, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to [N, 4 width, H / stride, W / stride]."""
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        return F.relu(self.bn3(self.conv3(h)) + self.downsample(x))


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    if channels_in == channels_out and stride == 1:
        return nn.Sequential()
    conv = Strided1x1(channels_in, channels_out, 1, stride, bias=False)
    return nn.Sequential(conv, BatchNorm2d(channels_out))


def resnet_encoder(
    block: type[BasicBlock | Bottleneck], widths: Sequence[int], blocks: Sequence[int], stem: int
) -> nn.Sequential:
    """A ResNet without its pooling and classifier, in the order of torchvision's."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, stem, 7, 2, 3, bias=False),
        BatchNorm2d(stem),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = stem
    for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        stage: list[nn.Module] = []
        for j in range(count):
            stage.append(block(channels, width, 2 if i and not j else 1))
            channels = width * block.expansion
        layers.append(nn.Sequential(*stage))
    return nn.Sequential(*layers)


class SelfAttention(nn.Module):
    """x + gamma V softmax(Q^T K), the softmax over the queries, as in fastai.

    [N, C, H, W] -> the same; queries and keys of C / 8 channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Conv1d(channels, channels // 8, 1, bias=False) for _ in range(2))
        self.value = nn.Conv1d(channels, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Add to each place of x what all places say of it."""
        flat = x.flatten(2)
        q, k, v = self.query(flat), self.key(flat), self.value(flat)
        weights = (q.transpose(1, 2) @ k).softmax(1)
        return x + (self.gamma * (v @ weights)).view_as(x)


def _conv(
    channels_in: int,
    channels_out: int,
    kernel: int = 3,
    norm: bool = False,
    activate: bool = True,
    attention: bool = False,
) -> nn.Sequential:
    """Convolution, ReLU, batch norm and self-attention, in this order, as there."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels_out, kernel, 1, (kernel - 1) // 2, bias=not norm)
    ]
    layers += [nn.ReLU()] if activate else []
    layers += [BatchNorm2d(channels_out)] if norm else []
    layers += [SelfAttention(channels_out)] if attention else []
    return nn.Sequential(*layers)


class Shuffle(nn.Module):
    """1x1 convolution, ReLU, pixel shuffle to twice the size, and a blur of 2x2."""

    def __init__(self, channels_in: int, channels_out: int, norm: bool) -> None:
        super().__init__()
        self.conv = _conv(channels_in, 4 * channels_out, 1, norm, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, in, H, W] to [N, out, 2 H, 2 W]."""
        x = F.pixel_shuffle(F.relu(self.conv(x)), 2)
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, 1)


class WideBlock(nn.Module):
    """Twice the size, joined with the encoder's map, one convolution ("wide")."""

    def __init__(self, up: int, skip: int, out: int, attention: bool) -> None:
        super().__init__()
        self.shuf = Shuffle(up, out, norm=True)
        self.bn = BatchNorm2d(skip)
        self.conv = _conv(out + skip, out, norm=True, attention=attention)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Join x, enlarged, with the encoder's map `skip`."""
        return self.conv(_joined(self.shuf(x), self.bn(skip)))


class DeepBlock(nn.Module):
    """Twice the size, joined with the encoder's map, two convolutions ("deep")."""

    def __init__(self, up: int, skip: int, out: int, attention: bool) -> None:
        super().__init__()
        self.shuf = Shuffle(up, up // 2, norm=True)
        self.bn = BatchNorm2d(skip)
        self.conv1 = _conv(up // 2 + skip, out, norm=True)
        self.conv2 = _conv(out, out, norm=True, attention=attention)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Join x, enlarged, with the encoder's map `skip`."""
        return self.conv2(self.conv1(_joined(self.shuf(x), self.bn(skip))))


def _joined(x: Tensor, skip: Tensor) -> Tensor:
    if x.shape[2:] != skip.shape[2:]:
        x = F.interpolate(x, size=skip.shape[2:])
    return F.relu(torch.cat([x, skip], 1))


class WeightNorm(nn.Module):
    """A convolution's weight as lengths of its rows and their directions.

    Salimans and Kingma, 2016, arXiv:1602.07868, equation 2.
    """

    def forward(self, length: Tensor, direction: Tensor) -> Tensor:
        """Lengths [out, 1, 1, 1], directions [out, in, k, k] -> weights."""
        return length * direction / direction.flatten(1).norm(dim=1).view_as(length)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Lengths and directions of weights."""
        return weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1), weight


class _Residual(nn.Module):
    """x + two convolutions with ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_conv(channels, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers[1](self.layers[0](x))


Kind = Literal["wide", "deep"]
ENCODERS: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class UNet(nn.Module):
    """Images [N, 3, H, W] in [-1, 1] -> images in [-1, 1], sides multiples of 32.

    Inside, both are normalized by ImageNet's mean and deviation, as in the project.

    kind: "wide" (stable, video: resnet101, factor 2) or "deep" (artistic: resnet34,
        factor 1.5)
    encoder: "resnet34" or "resnet101"
    factor: width of the decoder: "wide" 512 times it, "deep" relative to what a block
        joins
    stem: channels of the encoder's first map; its stages have 1, 2, 4 and 8 times that
    blocks: of the encoder's stages; None: as `encoder`
    decoder: channels of its four blocks; None: by `factor`
    attention: in the second block of the decoder
    limit: of the output, in ImageNet's deviations; None: no limit
    normalized: spectrally; False for weights that are already
    """

    multiple = 32

    def __init__(
        self,
        channels_in: int = 3,
        channels_out: int = 3,
        kind: Kind = "wide",
        encoder: str = "resnet101",
        factor: float = 2.0,
        stem: int = 64,
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        decoder: Sequence[int] | None = None,
        attention: bool = True,
        limit: float | None = RANGE,
        normalized: bool = True,
    ) -> None:
        super().__init__()
        self.limit = limit
        block, counts = ENCODERS[encoder]
        widths = widths or [stem, 2 * stem, 4 * stem, 8 * stem]
        body = resnet_encoder(block, widths, blocks or counts, stem)
        maps = [w * block.expansion for w in widths]
        x = maps[-1]
        middle = nn.Sequential(_conv(x, 2 * x, norm=True), _conv(2 * x, x, norm=True))
        skips = [maps[2], maps[1], maps[0], stem]
        doubling: list[nn.Module] = []
        for i, skip in enumerate(skips):
            last, joined = i == 3, x // 2 + skip
            if decoder is not None:
                out = decoder[i]
            elif kind == "wide":
                out = int(512 * factor) // (4 if last else 2)
            else:
                out = int((joined // 2 if last else joined) * factor)
            made = WideBlock if kind == "wide" else DeepBlock
            doubling.append(made(x, skip, out, attention=attention and i == 1))
            x = out
        shuffle = Shuffle(x, x, norm=False)
        head = _conv(x + channels_in, channels_out, 1, activate=False)
        self.layers = nn.ModuleList(
            [
                body,
                BatchNorm2d(maps[-1]),
                nn.ReLU(),
                middle,
                *doubling,
                shuffle,
                nn.Identity(),  # joins the input
                _Residual(x + channels_in),
                head,
            ]
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d | nn.Conv1d):
                nn.init.kaiming_normal_(m.weight)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
        if normalized:
            register_parametrization(shuffle.conv[0], "weight", WeightNorm(), unsafe=True)
            for part in (middle, *doubling, self.layers[-2], head):
                _spectral(part)

    def raw(self, x: Tensor) -> Tensor:
        """Normalized images to normalized images, in [-limit, limit] if given."""
        divisible(x, self.multiple, self.multiple)
        body, *rest = self.layers
        h, kept = x, []
        for i, layer in enumerate(body):  # type: ignore[arg-type]
            h = layer(h)
            if i in (2, 4, 5, 6):
                kept.append(h)
        h = rest[2](rest[1](rest[0](h)))
        for block, skip in zip(rest[3:7], reversed(kept), strict=True):
            h = block(h, skip)
        h = torch.cat([rest[7](h), x], 1)
        h = rest[10](rest[9](h))
        return h if self.limit is None else (h.sigmoid() * 2 - 1) * self.limit

    def forward(self, x: Tensor) -> Tensor:
        """Color images x [N, 3, H, W] in [-1, 1], to the same range."""
        mean, deviation = (
            torch.tensor(values, device=x.device, dtype=x.dtype).view(3, 1, 1) * 2
            for values in (MEAN, DEVIATION)
        )
        return (self.raw((x - mean + 1) / deviation) * deviation + mean - 1).clamp(-1, 1)


class ChannelDropout(nn.Module):
    """Whole channels set to 0 with probability p in training, [N, C, H, W]."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Set channels of x to 0 in training."""
        if not self.training or self.p == 0:
            return x
        kept = rng.uniform(len(x), x.shape[1], 1, 1, device=x.device) >= self.p
        return x * kept / (1 - self.p)


class Critic(nn.Sequential):
    """Images [N, 3, H, W] -> scores [N, k], one for each place of the last map.

    blocks: halvings after the first
    dropout: of whole channels, half of it after the first layer
    normalized: spectrally; False for weights that are already
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 256,
        blocks: int = 3,
        dropout: float = 0.15,
        normalized: bool = True,
    ) -> None:
        layers: list[nn.Module] = [_critic_conv(channels, width, 4), ChannelDropout(dropout / 2)]
        for i in range(blocks):
            layers += [
                _critic_conv(width, width, 3),
                ChannelDropout(dropout),
                _critic_conv(width, 2 * width, 4, attention=not i),
            ]
            width *= 2
        layers += [
            _critic_conv(width, width, 3),
            nn.Sequential(nn.Conv2d(width, 1, 4, bias=False)),
            nn.Flatten(),
        ]
        super().__init__(*layers)
        for m in self.modules():
            if isinstance(m, nn.Conv2d | nn.Conv1d):
                nn.init.kaiming_normal_(m.weight)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
        if normalized:
            _spectral(self)


def _critic_conv(a: int, b: int, kernel: int, attention: bool = False) -> nn.Sequential:
    """Convolution, of stride 2 if the kernel is 4x4, and LeakyReLU(.2)."""
    conv = nn.Conv2d(a, b, kernel, 2 if kernel == 4 else 1, 1)
    more = [SelfAttention(b)] if attention else []
    return nn.Sequential(conv, nn.LeakyReLU(0.2), *more)


def _spectral(net: nn.Module) -> None:
    for m in list(net.modules()):
        if isinstance(m, nn.Conv2d):
            spectral(m)
        elif isinstance(m, nn.Conv1d):
            register_parametrization(m, "weight", Spectral(m.weight), unsafe=True)
