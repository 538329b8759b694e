"""Image-to-image generators: ResNet and U-Net.

In the layout and with the key names of junyanz/pytorch-CycleGAN-and-pix2pix, whose
files load as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganvas.nets.init import normal_init
from ganvas.nets.layers import Blur, Dropout, divisible
from ganvas.nets.norm import Norm, norm2d


class ResNetBlock(nn.Module):
    """x + norm(conv(dropout(ReLU(norm(conv(x)))))), 3x3 with reflected borders.

    [N, C, H, W] -> the same. `reflect` False: borders of 0. `bias`: as of
    `ResNetGenerator`.
    """

    def __init__(
        self,
        width: int,
        norm: Norm,
        dropout: bool,
        reflect: bool = True,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        bias = norm in ("instance", "affine") if bias is None else bias
        pad = [nn.ReflectionPad2d(1)] if reflect else []
        layers = [
            *pad,
            nn.Conv2d(width, width, 3, padding=int(not reflect), bias=bias),
            norm2d(norm, width),
            nn.ReLU(inplace=True),
        ]
        if dropout:
            layers.append(Dropout(0.5))
        layers += [
            *pad,
            nn.Conv2d(width, width, 3, padding=int(not reflect), bias=bias),
            norm2d(norm, width),
        ]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to the same shape, H and W at least 2."""
        return x + self.conv_block(x)


class ResNetGenerator(nn.Module):
    """Images [N, channels_in, H, W] -> images [N, channels_out, H, W] in [-1, 1].

    H and W multiples of 2^`downs`, twice that at least.

    c7s1-64, d128, d256, `blocks` of R256, u128, u64, c7s1-3, tanh, for a `width` of 64.
    CycleGAN, Zhu et al., 2017, arXiv:1703.10593, appendix 7.2 (9 blocks from 256 px, 6
    below), after Johnson et al., arXiv:1603.08155. Convolutions have biases only if
    `norm` is an instance norm, as in the authors' code. Weights ~ N(0, .02).

    blur_down, blur_up: halved by a convolution of stride 1 and a blur, doubled by
    interpolation and a convolution, so that nothing aliases (Zhang, 2019,
    arXiv:1904.11486), as CUT's generator is (Park et al., 2020, arXiv:2007.15651).
    downs: halvings; pix2pixHD's global generator has 4. `reflect`: of `ResNetBlock`.
    bias: whether convolutions before a normalization have one, if not as said.
    """

    def __init__(
        self,
        channels_in: int = 3,
        channels_out: int = 3,
        width: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        dropout: bool = False,
        blur_down: bool = False,
        blur_up: bool = False,
        downs: int = 2,
        reflect: bool = True,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        self.multiple = 1 << downs
        bias = norm in ("instance", "affine") if bias is None else bias

        def then(conv: nn.Module, channels: int) -> list[nn.Module]:
            return [conv, norm2d(norm, channels), nn.ReLU(inplace=True)]

        layers = [nn.ReflectionPad2d(3), *then(nn.Conv2d(channels_in, width, 7, bias=bias), width)]
        widths = [width << i for i in range(downs)]
        for c in widths:
            layers += then(nn.Conv2d(c, 2 * c, 3, 1 if blur_down else 2, 1, bias=bias), 2 * c)
            if blur_down:
                layers.append(nn.Sequential(nn.ReflectionPad2d(1), Blur(pad=0, stride=2)))
        layers += [ResNetBlock(width << downs, norm, dropout, reflect, bias) for _ in range(blocks)]
        for c in reversed(widths):
            if blur_up:
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear"))
                layers += then(nn.Conv2d(2 * c, c, 3, 1, 1, bias=bias), c)
            else:
                layers += then(
                    nn.ConvTranspose2d(2 * c, c, 3, 2, 1, output_padding=1, bias=bias), c
                )
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels_out, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Translate images x [N, channels_in, H, W] in [-1, 1].

        Raises `UserError` for sides that are no multiples of 2^`downs`, or below twice
        that.
        """
        divisible(x, self.multiple, least=2 * self.multiple)
        return self.model(x)


class UNetBlock(nn.Module):
    """One level of the U-Net with all levels `inside` it.

    cat(x, up(inside(down(x)))), the outermost and those without `skip` without the cat.
    [N, channels_in, H, W] -> [N, channels_in + channels_out, H, W], without it [N,
    channels_out, H, W].
    """

    def __init__(
        self,
        channels_in: int,
        width: int,
        channels_out: int,
        inside: UNetBlock | None,
        norm: Norm,
        dropout: bool = False,
        outermost: bool = False,
        kernel: int = 4,
        skip: bool = True,
    ) -> None:
        super().__init__()
        bias = norm in ("instance", "affine")
        down = nn.Conv2d(channels_in, width, kernel, 2, (kernel - 1) // 2, bias=bias)
        up = nn.ConvTranspose2d(
            2 * width if inside is not None and skip else width,
            channels_out,
            kernel,
            2,
            (kernel - 1) // 2,
            output_padding=kernel % 2,
            bias=bias or outermost,
        )
        middle = [] if inside is None else [inside]
        if outermost:
            layers = [down, *middle, nn.ReLU(inplace=True), up, nn.Tanh()]
        else:
            normed = [] if inside is None else [norm2d(norm, width)]
            layers = [
                nn.LeakyReLU(0.2, inplace=True),
                down,
                *normed,
                *middle,
                nn.ReLU(inplace=True),
                up,
                norm2d(norm, channels_out),
            ]
            if dropout:
                layers.append(Dropout(0.5))
        self.model = nn.Sequential(*layers)
        self.joins = skip and not outermost

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, channels_in, H, W] to as many pixels."""
        y = self.model(x)
        return torch.cat([x, y], 1) if self.joins else y


class UNetGenerator(nn.Module):
    """Images [N, channels_in, H, W] -> images [N, channels_out, H, W] in [-1, 1].

    H and W multiples of 2^depth.

    `depth` halvings with `width` min(2^i, 8) channels and as many doublings, each level
    joined to its mirror image. pix2pix, Isola et al., 2017, arXiv:1611.07004, appendix
    6.1 (depth 8 at 256 px, 7 at 128). `dropout` acts on the inner levels with 8 `width`
    channels except the innermost, as in the authors' code, or on that many innermost
    ones as it says (DualGAN's: 3); in training mode only, so that noise means leaving
    it on. `kernel`: the convolutions' side, `ends` that of the outermost two if it is
    another. Without `skip` no level is joined: the paper's encoder-decoder. Weights ~
    N(0, .02).
    """

    def __init__(
        self,
        channels_in: int = 3,
        channels_out: int = 3,
        width: int = 64,
        depth: int = 8,
        norm: Norm = "batch",
        dropout: bool | int = False,
        kernel: int = 4,
        ends: int | None = None,
        skip: bool = True,
    ) -> None:
        super().__init__()
        assert depth >= 2, "a U-Net of depth 1 has no levels to join"
        widths = [width * min(1 << i, 8) for i in range(depth)]
        block: UNetBlock | None = None
        for i in range(depth - 1, 0, -1):
            outer, inner = widths[i - 1], widths[i]
            drops = (
                outer == inner and block is not None if dropout is True else i >= depth - dropout
            )
            block = UNetBlock(outer, inner, outer, block, norm, drops, kernel=kernel, skip=skip)
        self.model = UNetBlock(
            channels_in,
            width,
            channels_out,
            block,
            norm,
            outermost=True,
            kernel=ends or kernel,
            skip=skip,
        )
        self.multiple = 1 << depth
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Translate images x [N, channels_in, H, W] in [-1, 1].

        Raises `UserError` for sides that are no multiples of 2^depth.
        """
        divisible(x, self.multiple, least=self.multiple)
        return self.model(x)
