"""Super-resolution networks.

Generators take images [N, `channels`, h, w] in [0, 1], sides being multiples of
`multiple`, and give [N, C, `scale` h, `scale` w], about in [0, 1]; discriminators score
images [N, C, H, W].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.core.errors import UserError
from ganvas.nets.layers import divisible
from ganvas.nets.norm import BatchNorm2d
from ganvas.nets.spectral import spectral

# ---------------------------------------------------------------- Ledig et al.'s


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            BatchNorm2d(width),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class SRResNet(nn.Module):
    """SRGAN's generator.

    Ledig et al., 2017, arXiv:1609.04802, figure 4: 9x9 to `width` channels, `blocks`
    residual blocks with batch norm under one long skip, a 3x3 convolution to four times
    the channels and PixelShuffle for every doubling, 9x9 to the image. `scale`: a power
    of two. `bounded`: the image is (tanh(x) + 1) / 2, as in leftthomas/SRGAN.
    activated: the body ends in PReLU in place of batch norm, as that project had it
    at first.
    """

    multiple: int = 1

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        blocks: int = 16,
        scale: int = 4,
        bounded: bool = False,
        activated: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.scale, self.bounded = channels, scale, bounded
        self.first = nn.Sequential(nn.Conv2d(channels, width, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.after = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.PReLU() if activated else BatchNorm2d(width)
        )
        ups = [
            (nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU())
            for _ in range(_doublings(scale))
        ]
        self.up = nn.Sequential(*(layer for up in ups for layer in up))
        self.last = nn.Conv2d(width, channels, 9, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge images x [N, channels, H, W] `scale` times."""
        x = self.first(x)
        made = self.last(self.up(x + self.after(self.body(x))))
        return (made.tanh() + 1) / 2 if self.bounded else made


def _doublings(scale: int) -> int:
    if scale < 2 or scale & (scale - 1):
        raise UserError(
            f"this network enlarges by a power of two; got scale={scale}. Give 2, 4 or 8"
        )
    return scale.bit_length() - 1


class SRDiscriminator(nn.Module):
    """SRGAN's discriminator.

    arXiv:1609.04802, figure 4: eight 3x3 convolutions of `width` to 8 `width` channels,
    every second of stride 2, batch norm after all but the first, LeakyReLU .2, then two
    dense layers. Images -> logits [N]. Sides are multiples of 16.
    size: None for images of any size, whose mean features the dense layers take, as in
        leftthomas/SRGAN
    """

    def __init__(
        self, channels: int = 3, size: tuple[int, int] | None = (96, 96), width: int = 64
    ) -> None:
        super().__init__()
        height, length = size or (16, 16)  # of pooled features remains one place
        divisible(torch.empty(0, 0, height, length), 16, 16)
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        before = width
        for i in range(1, 8):
            after = width << (i // 2)
            conv = nn.Conv2d(before, after, 3, stride=1 + i % 2, padding=1)
            layers += [conv, BatchNorm2d(after), nn.LeakyReLU(0.2, inplace=True)]
            before = after
        self.features = nn.Sequential(*layers, *[nn.AdaptiveAvgPool2d(1)] * (size is None))
        self.dense = nn.Sequential(
            nn.Linear(before * (height // 16) * (length // 16), 16 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(16 * width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images x [N, channels, H, W] of `size` to logits [N]."""
        return self.dense(self.features(x).flatten(1)).flatten()


# ----------------------------------------- XPixelGroup/BasicSR, with its weights' names


def _small(net: nn.Module) -> None:
    """Initialize by He's rule times .1, biases 0: near the identity (BasicSR)."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight)
            m.weight.data.mul_(0.1)
            assert m.bias is not None
            nn.init.zeros_(m.bias)


class _PlainBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


class MSRResNet(nn.Module):
    """BasicSR's SRResNet.

    Residual blocks without batch norm; their output is added to the image enlarged
    bilinearly. `scale`: 2, 3 or 4. `out`: see `CompactNet`.
    """

    multiple: int = 1

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        blocks: int = 16,
        scale: int = 4,
        out: int | None = None,
    ) -> None:
        super().__init__()
        if scale not in (2, 3, 4):
            raise UserError(f"this network enlarges by 2, 3 or 4; got scale={scale}")
        self.channels, self.scale, self.step = channels, scale, 2 if scale == 4 else scale
        self.conv_first = nn.Conv2d(channels, width, 3, padding=1)
        self.body = nn.Sequential(*(_PlainBlock(width) for _ in range(blocks)))
        self.upconv1 = nn.Conv2d(width, width * self.step**2, 3, padding=1)
        self.upconv2 = nn.Conv2d(width, width * 4, 3, padding=1) if scale == 4 else None
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, out or channels, 3, padding=1)
        _small(self)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge images x [N, channels, H, W] `scale` times."""
        h = self.body(F.leaky_relu(self.conv_first(x), 0.1, inplace=True))
        for up in (self.upconv1, self.upconv2):
            if up is not None:
                h = F.leaky_relu(F.pixel_shuffle(up(h), self.step), 0.1, inplace=True)
        h = self.conv_last(F.leaky_relu(self.conv_hr(h), 0.1, inplace=True))
        return h + F.interpolate(x, scale_factor=self.scale, mode="bilinear")


class _Dense(nn.Module):
    """Five convolutions, each of which sees the results of all before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.conv4 = (
            nn.Conv2d(width + i * growth, growth, 3, padding=1) for i in range(4)
        )
        self.conv5 = nn.Conv2d(width + 4 * growth, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(F.leaky_relu(conv(torch.cat(seen, 1)), 0.2, inplace=True))
        return x + 0.2 * self.conv5(torch.cat(seen, 1))


class _RRDB(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (_Dense(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """ESRGAN's generator: residual blocks in residual dense blocks.

    Wang et al., 2018, arXiv:1809.00219, section 3.1. `scale`: 1, 2, 3, 4 or 8. It ends
    in `doublings` (None: three for 8, else two), or for 3 in one enlargement by `step`,
    as in ESRGAN's first code. If they exceed `scale`, pixels are folded into channels
    first (Real-ESRGAN, arXiv:2107.10833); then sides are multiples of `multiple`.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        blocks: int = 23,
        growth: int = 32,
        scale: int = 4,
        out: int | None = None,
        doublings: int | None = None,
    ) -> None:
        super().__init__()
        self.step, ups, possible = 2, doublings, [1, 2, 3, 4, 8]
        if ups is None:
            self.step, ups = {3: (3, 1), 8: (2, 3)}.get(scale, (2, 2))
        else:
            possible = [1 << i for i in range(min(ups, 8) + 1)]
        if scale not in possible:
            raise UserError(f"this network enlarges by {possible}; got scale={scale}")
        self.channels, self.scale, self.multiple = channels, scale, self.step**ups // scale
        self.conv_first = nn.Conv2d(channels * self.multiple**2, width, 3, padding=1)
        self.body = nn.Sequential(*(_RRDB(width, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        self.ups = [f"conv_up{i + 1}" for i in range(ups)]
        for name in self.ups:
            self.add_module(name, nn.Conv2d(width, width, 3, padding=1))
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, out or channels, 3, padding=1)
        _small(self)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge images x [N, channels, H, W] `scale` times.

        Raises `UserError` for sides that are no multiples of `multiple`.
        """
        divisible(x, self.multiple, least=self.multiple)
        h = self.conv_first(F.pixel_unshuffle(x, self.multiple))
        h = h + self.conv_body(self.body(h))
        for name in self.ups:
            h = F.leaky_relu(self.enlarged(h, self.get_submodule(name)), 0.2, inplace=True)
        return self.conv_last(F.leaky_relu(self.conv_hr(h), 0.2, inplace=True))

    def enlarged(self, h: Tensor, conv: nn.Module) -> Tensor:
        """Enlarge features h [N, width, H, W] `step` times."""
        return conv(F.interpolate(h, scale_factor=self.step, mode="nearest"))


class CompactNet(nn.Module):
    """Real-ESRGAN's compact network.

    `layers` convolutions at the small size and PixelShuffle at the end; the image
    enlarged by repeating pixels is added. `prelu`: activations are PReLU, or ReLU.
    out: output channels, as many as the image's unless it has one.
    """

    multiple: int = 1

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        layers: int = 16,
        scale: int = 4,
        prelu: bool = True,
        out: int | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.scale = channels, scale
        body: list[nn.Module] = []
        for i in range(layers + 1):
            body.append(nn.Conv2d(width if i else channels, width, 3, padding=1))
            body.append(nn.PReLU(width) if prelu else nn.ReLU(inplace=True))
        self.body = nn.Sequential(
            *body, nn.Conv2d(width, (out or channels) * scale**2, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge images x [N, channels, H, W] `scale` times."""
        return F.pixel_shuffle(self.body(x), self.scale) + F.interpolate(
            x, scale_factor=self.scale, mode="nearest"
        )


class VGGStyleDiscriminator(nn.Module):
    """BasicSR's VGG-style discriminator.

    3x3 convolutions and 4x4 ones of stride 2 in turn, batch norm after all but the
    first, then 100 units over 4x4 places. Images of `size`, 128 to 159 or 256 to 319
    (there: 128 or 256) -> logits [N].
    """

    def __init__(
        self, channels: int = 3, size: tuple[int, int] = (128, 128), width: int = 64
    ) -> None:
        super().__init__()
        self.stages = int(math.log2(max(size[0], 1))) - 2
        if self.stages not in (5, 6) or any(side >> self.stages != 4 for side in size):
            raise UserError(
                "this discriminator takes sides of 128 to 159 or 256 to 319 pixels; got "
                f"{size[0]}x{size[1]}: give the size 128 (--size 128)"
            )
        before = channels
        for i in range(self.stages):
            after = width << min(i, 3)
            for j, kernel in enumerate((3, 4)):
                plain = i == 0 and j == 0
                conv = nn.Conv2d(before if j == 0 else after, after, kernel, 1 + j, 1, bias=plain)
                self.add_module(f"conv{i}_{j}", conv)
                if not plain:
                    self.add_module(f"bn{i}_{j}", BatchNorm2d(after))
            before = after
        self.linear1 = nn.Linear(before * 16, 100)
        self.linear2 = nn.Linear(100, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images x [N, channels, H, W] of `size` to logits [N]."""
        for i in range(self.stages):
            for j in range(2):
                x = self.get_submodule(f"conv{i}_{j}")(x)
                if i or j:
                    x = self.get_submodule(f"bn{i}_{j}")(x)
                x = F.leaky_relu(x, 0.2, inplace=True)
        return self.linear2(F.leaky_relu(self.linear1(x.flatten(1)), 0.2, inplace=True)).flatten()


class UNetDiscriminator(nn.Module):
    """Real-ESRGAN's discriminator, a U-Net that scores every pixel.

    arXiv:2107.10833, section 3.3. Images [N, C, H, W] -> logits [N, 1, H, W]; sides are
    multiples of 8.

    Three 4x4 convolutions of stride 2 that double the width, three 3x3 ones that halve
    it, each after a bilinear enlargement and followed by the features of its size on
    the way down, added (unless `skip` is False); two more and the score. All but the
    first and the last are without bias and, if `normalised`, under spectral
    normalization. LeakyReLU .2.
    """

    def __init__(
        self, channels: int = 3, width: int = 64, normalised: bool = True, skip: bool = True
    ) -> None:
        super().__init__()
        self.skip = skip
        self.conv0 = nn.Conv2d(channels, width, 3, padding=1)
        for i in (1, 2, 3):
            self.add_module(
                f"conv{i}",
                nn.Conv2d(width << i - 1, width << i, 4, stride=2, padding=1, bias=False),
            )
        for i in (4, 5, 6):
            self.add_module(
                f"conv{i}", nn.Conv2d(width << 7 - i, width << 6 - i, 3, padding=1, bias=False)
            )
        for i in (7, 8):
            self.add_module(f"conv{i}", nn.Conv2d(width, width, 3, padding=1, bias=False))
        self.conv9 = nn.Conv2d(width, 1, 3, padding=1)
        if normalised:
            for i in range(1, 9):
                spectral(self.get_submodule(f"conv{i}"))

    def forward(self, x: Tensor) -> Tensor:
        """Map images x [N, channels, H, W] to logits [N, 1, H, W].

        Raises `UserError` for sides that are no multiples of 8.
        """

        def layer(i: int, x: Tensor) -> Tensor:
            return F.leaky_relu(self.get_submodule(f"conv{i}")(x), 0.2)

        divisible(x, 8, least=8)
        down = [layer(0, x)]
        for i in (1, 2, 3):
            down.append(layer(i, down[-1]))
        h = down.pop()
        for i in (4, 5, 6):
            h, same = layer(i, F.interpolate(h, scale_factor=2, mode="bilinear")), down.pop()
            h = h + same if self.skip else h
        return self.conv9(layer(8, layer(7, h)))
