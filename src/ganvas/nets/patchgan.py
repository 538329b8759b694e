"""Discriminators that score patches or pixels.

In the layout and with the key names of junyanz/pytorch-CycleGAN-and-pix2pix.
"""

from __future__ import annotations

from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.init import normal_init
from ganvas.nets.layers import Blur, Size, sides
from ganvas.nets.norm import Norm, norm2d


def receptive_field(layers: int) -> int:
    """Side in pixels of the patch that one score of `PatchDiscriminator` depends on.

    For `layers`: 16, 34, 70, 142, ...
    """
    field = 7  # two convolutions of side 4 and stride 1
    for _ in range(max(layers, 1)):
        field = 2 * field + 2
    return field


class PatchDiscriminator(nn.Module):
    """Images in [-1, 1] -> scores, one for each overlapping patch.

    [N, channels, H, W] -> [N, 1, H', W']; H' is about H / 2^layers.

    `layers` convolutions of stride 2 and one of stride 1 with `width` min(2^i, 8)
    channels (with no `layers` as with one, which then does not widen), each followed by
    a normalization (the first by none) and LeakyReLU(.2), then one of stride 1 to a
    single channel. With 3 `layers` the 70x70 PatchGAN:
    pix2pix, Isola et al., 2017, arXiv:1611.07004, appendix 6.1.2. `channels` is 6 if
    pairs are scored. Convolutions under batch norm have no bias, as in the authors'
    code; `bias`: whether those before a normalization have one. `size`: of the images,
    if it is known: too small ones are then refused at once. `blur`: halve by a
    convolution of stride 1 and a blur, as CUT's does (Park et al., 2020,
    arXiv:2007.15651). Weights ~ N(0, .02).
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        layers: int = 3,
        norm: Norm = "instance",
        size: Size | None = None,
        blur: bool = False,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        stride = 1 if blur else 2
        bias = norm != "batch" if bias is None else bias
        halving = [nn.Sequential(nn.ReflectionPad2d(1), Blur(pad=0, stride=2))] if blur else []
        blocks: list[nn.Module] = [
            nn.Conv2d(channels, width, 4, stride, 1),
            nn.LeakyReLU(0.2, inplace=True),
            *halving,
        ]
        a = width
        for i in range(min(layers, 1), layers + 1):
            b = width * min(1 << i, 8)
            last = i == layers
            blocks += [
                nn.Conv2d(a, b, 4, 1 if last else stride, 1, bias=bias),
                norm2d(norm, b),
                nn.LeakyReLU(0.2, inplace=True),
                *([] if last else halving),
            ]
            a = b
        self.model = nn.Sequential(*blocks, nn.Conv2d(a, 1, 4, 1, 1))
        self.least = 3 << max(layers, 1)  # leaves 2x2 before the last convolution
        if size is not None:
            self._large_enough(*sides(size))
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Score images x [N, channels, H, W]: [N, 1, H', W'].

        Raises `UserError` for images smaller than the layers need.
        """
        self._large_enough(*x.shape[-2:])
        return self.model(x)

    def _large_enough(self, height: int, width: int) -> None:
        if min(height, width) < self.least:
            raise UserError(
                f"a patch discriminator got images of {height}x{width} (height x width); it needs "
                "sides of at least "
                f"{self.least} pixels. Use larger images, or fewer `layers`."
            )


class PixelDiscriminator(nn.Module):
    """Images in [-1, 1] -> scores, each from its pixel alone.

    [N, channels, H, W] -> [N, 1, H, W].

    1x1 convolutions: `width`, LeakyReLU(.2), 2 `width`, normalization, LeakyReLU(.2),
    1. The 1x1 PixelGAN: pix2pix, Isola et al., 2017, arXiv:1611.07004, appendix 6.1.2.
    Biases as in the authors' code; `bias`: as of `PatchDiscriminator`. Weights ~ N(0,
    .02).
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        norm: Norm = "instance",
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        bias = norm != "batch" if bias is None else bias
        self.net = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            norm2d(norm, 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Score the pixels of images x [N, channels, H, W]: [N, 1, H, W]."""
        return self.net(x)
