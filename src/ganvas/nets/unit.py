"""UNIT's networks: an autoencoder for each of two domains, with one latent space.

Unsupervised Image-to-Image Translation Networks, Liu et al., 2017, arXiv:1703.00848, in
the form of the authors' code (mingyuliutw/UNIT). Unlike there, the blocks next to the
latent may be both domains' own, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.init import normal_init
from ganvas.nets.layers import divisible
from ganvas.nets.norm import InstanceNorm2d


class Block(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x))))), 3x3 with reflected borders, instance norm.

    [N, C, H, W] -> the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            InstanceNorm2d(width),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to the same shape, H and W at least 2."""
        return x + self.main(x)


class LayerNorm(nn.Module):
    """Layer norm over an image: (x - mean) / (deviation + eps).

    Times a gain and plus a bias for each channel, [N, C, H, W]; mean and deviation are
    over all of an image's numbers. After Ba et al., 2016, arXiv:1607.06450, with the
    unbiased deviation of the authors' code. Gains start at 1; there they start at
    random, U(0, 1).
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.gain, self.bias = (
            nn.Parameter(torch.ones(channels)),
            nn.Parameter(torch.zeros(channels)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x [N, C, H, W] over C, H and W."""
        var, mean = torch.var_mean(x, (1, 2, 3), keepdim=True)
        return (x - mean) / (var.sqrt() + self.eps) * self.gain[:, None, None] + self.bias[
            :, None, None
        ]


def _split(
    blocks: int, shared: int, width: int, domains: int
) -> tuple[list[list[nn.Module]], nn.Sequential]:
    """(each domain's own blocks, the shared ones)."""
    if not 0 <= shared <= blocks:
        raise UserError(
            f"`shared` is {shared}; of {blocks} blocks from 0 to {blocks} can be shared"
        )
    own: list[list[nn.Module]] = [
        [Block(width) for _ in range(blocks - shared)] for _ in range(domains)
    ]
    return own, nn.Sequential(*(Block(width) for _ in range(shared)))


def _each(channels: int | Sequence[int], domains: int) -> Sequence[int]:
    """The channels of each domain's images."""
    return [channels] * domains if isinstance(channels, int) else channels


def _he_init(net: nn.Module) -> None:
    """arXiv:1502.01852, as the authors' code has it; biases 0."""
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight)
            assert m.bias is not None
            nn.init.zeros_(m.bias)


class Encoders(nn.Module):
    """Images in [-1, 1] of a domain (0: a, 1: b) -> the mean of their latents.

    [N, channels, H, W] -> [N, latent, H', W'].

    7x7 to `width` channels, `halvings` of 4x4 and stride 2 that double them, each
    followed by instance norm and ReLU, and `blocks` residual blocks, the last `shared`
    of which are both domains' own. H and W multiples of 2^halvings. Without sharing, at
    the default sizes, each is the encoder of the authors' code. He's initialization, as
    there. `channels`: of both domains' images, or of each one's.
    """

    def __init__(
        self,
        channels: int | Sequence[int] = 3,
        width: int = 64,
        halvings: int = 2,
        blocks: int = 4,
        shared: int = 1,
        domains: int = 2,
    ) -> None:
        super().__init__()
        self.halvings, self.latent = halvings, width << halvings
        self.multiple = 1 << halvings
        own, self.shared = _split(blocks, shared, self.latent, domains)

        def down(kernel: int, a: int, b: int, stride: int) -> list[nn.Module]:
            pad = nn.ReflectionPad2d((kernel - 1) // 2)
            return [pad, nn.Conv2d(a, b, kernel, stride), InstanceNorm2d(b), nn.ReLU(inplace=True)]

        self.own = nn.ModuleList()
        for blocks_of, c in zip(own, _each(channels, domains), strict=True):
            layers = down(7, c, width, 1)
            for i in range(halvings):
                layers += down(4, width << i, width << i + 1, 2)
            self.own.append(nn.Sequential(*layers, *blocks_of))
        _he_init(self)

    def forward(self, x: Tensor, domain: int) -> Tensor:
        """Map images x [N, channels, H, W] of a domain to latents [N, latent, H', W'].

        Raises `UserError` for sides that are no multiples of 2^halvings.
        """
        divisible(x, self.multiple, least=2 * self.multiple)
        return self.shared(self.own[domain](x))


class Decoders(nn.Module):
    """Latents -> images in [-1, 1] of a domain (0: a, 1: b).

    [N, latent, H', W'] -> [N, channels, H, W].

    `blocks` residual blocks, the first `shared` of which are both domains' own,
    `doublings` of repeated pixels and 5x5 that halve the channels, each followed by
    layer norm and ReLU, then 7x7 and tanh. As `Encoders`.
    """

    def __init__(
        self,
        channels: int | Sequence[int] = 3,
        latent: int = 256,
        doublings: int = 2,
        blocks: int = 4,
        shared: int = 1,
        domains: int = 2,
    ) -> None:
        super().__init__()
        own, self.shared = _split(blocks, shared, latent, domains)
        self.own = nn.ModuleList()
        for blocks_of, c in zip(own, _each(channels, domains), strict=True):
            layers, a = blocks_of, latent
            for _ in range(doublings):
                up = [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(2), nn.Conv2d(a, a // 2, 5)]
                layers += [*up, LayerNorm(a // 2), nn.ReLU(inplace=True)]
                a //= 2
            self.own.append(
                nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(a, c, 7), nn.Tanh())
            )
        _he_init(self)

    def forward(self, h: Tensor, domain: int) -> Tensor:
        """Map latents h [N, latent, H', W'] to images [N, channels, H, W]."""
        return self.own[domain](self.shared(h))


class MultiscaleDiscriminator(nn.Module):
    """Images in [-1, 1] -> scores at each of `scales`, each half the last one's size.

    [N, channels, H, W] -> [N, 1, H', W'] each.

    At each `layers` convolutions of 4x4 and stride 2 with `width` channels, doubled
    each time, each followed by LeakyReLU(.2), then 1x1. After Wang et al., 2018,
    arXiv:1711.11585, section 3.2. Weights ~ N(0, .02). `norm`: channels -> a layer
    after all of these convolutions but the first.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        layers: int = 4,
        scales: int = 3,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.least = 1 << layers + scales - 1  # the smallest scale's last convolution sees 2x2

        def one() -> nn.Module:
            found: list[nn.Module] = []
            for i in range(layers):
                a = width << i - 1 if i else channels
                found += [
                    nn.ReflectionPad2d(1),
                    nn.Conv2d(a, width << i, 4, 2),
                    *([norm(width << i)] if norm is not None and i else []),
                    nn.LeakyReLU(0.2, inplace=True),
                ]
            return nn.Sequential(*found, nn.Conv2d(width << layers - 1, 1, 1))

        self.scales = nn.ModuleList(one() for _ in range(scales))
        normal_init(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Score images x [N, channels, H, W]: [N, 1, H', W'] at each scale.

        Raises `UserError` for images too small for the smallest scale.
        """
        height, width = x.shape[-2:]
        if min(height, width) < self.least:
            raise UserError(
                f"a multi-scale discriminator got images of {height}x{width} (height x width); it "
                "needs sides of at least "
                f"{self.least} pixels. Use larger images, or fewer `layers` or `scales`."
            )
        found = []
        for i, net in enumerate(self.scales):
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) if i else x
            found.append(net(x))
        return tuple(found)
