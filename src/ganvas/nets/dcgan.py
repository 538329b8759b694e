"""DCGAN's networks.

Unsupervised Representation Learning with Deep Convolutional GANs, Radford et al., 2015,
arXiv:1511.06434, section 3, in the layout (4x4 kernels, key names) of pytorch/examples,
whose files load as they are.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from ganvas.nets.init import normal_init
from ganvas.nets.layers import Size, doublings, with_labels
from ganvas.nets.norm import BatchNorm2d


def _he_init(net: nn.Module, slope: float = 0.0) -> None:
    """He's initialization by the number of inputs that reach one output.

    arXiv:1502.01852, equations 10 and 15. For an enlarging kernel of 4x4 with a stride
    of 2 these are 4 pixels.
    """
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, slope)
        elif isinstance(m, nn.ConvTranspose2d):
            reach = m.kernel_size[0] ** 2 / 4 if m.stride == (2, 2) else 1
            nn.init.normal_(m.weight, 0.0, math.sqrt(2 / (m.in_channels * reach)))


def _up(a: int, b: int, kernel: int, bias: bool) -> nn.Module:
    """A layer that maps [N, a, H, W] to [N, b, 2 H, 2 W]."""
    return nn.ConvTranspose2d(a, b, kernel, 2, (kernel - 1) // 2, kernel % 2, bias=bias)


def halvings(
    width: int, size: Size, channels: int, kernel: int = 4, norm: bool = True
) -> tuple[nn.Sequential, int, tuple[int, int]]:
    """The discriminator's convolutions of stride 2, their final channels and grid."""
    k, grid = doublings(size)
    widths = [width << i for i in range(k)]
    padding = (kernel - 1) // 2
    layers = [
        nn.Conv2d(channels, width, kernel, 2, padding, bias=not norm),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    for a, b in pairwise(widths):
        layers += [
            nn.Conv2d(a, b, kernel, 2, padding, bias=not norm),
            BatchNorm2d(b) if norm else nn.Identity(),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return nn.Sequential(*layers), widths[-1], grid


class Generator(nn.Module):
    """z [N, latent] or [N, latent, 1, 1] -> images [N, channels, H, W] in [-1, 1].

    A transposed convolution to a grid of 4x4 with `width` 2^(k-1) channels, then k - 1
    of stride 2 that halve the channels, each followed by batch norm and ReLU, then one
    of stride 2 and tanh, for a side of 4 * 2^k. At 64 px exactly pytorch/examples'
    generator. A rectangle starts from a larger grid. `classes`: how many labels y [N]
    are joined to z, one-hot. Weights ~ N(0, .02), gains ~ N(1, .02). `norm=False`: as
    in `Discriminator`. `kernel`: 4, or 5 as in the authors' code.
    """

    def __init__(
        self,
        latent: int = 100,
        width: int = 64,
        size: Size = 64,
        channels: int = 3,
        classes: int = 0,
        norm: bool = True,
        kernel: int = 4,
    ) -> None:
        super().__init__()
        k, grid = doublings(size)
        self.latent, self.classes = latent, classes
        widths = [width << i for i in reversed(range(k))]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent + classes, widths[0], grid, bias=not norm)
        ]
        for a, b in pairwise([*widths, channels]):
            layers += [
                BatchNorm2d(a) if norm else nn.Identity(),
                nn.ReLU(inplace=True),
                _up(a, b, kernel, bias=not norm),
            ]
        self.main = nn.Sequential(*layers, nn.Tanh())
        normal_init(self)
        if not norm:
            _he_init(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generate images [N, channels, H, W] in [-1, 1].

        z: [N, latent] or [N, latent, 1, 1]
        y: labels [N]; not None if there are `classes`
        """
        return self.main(with_labels(z.flatten(1)[:, :, None, None], y, self.classes))


class Discriminator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> logits [N].

    k convolutions of stride 2 with `width` to `width` 2^(k-1) channels, each followed
    by batch norm (the first by none) and LeakyReLU(.2), then one over the remaining
    grid, for a side of 4 * 2^k. At 64 px exactly pytorch/examples' discriminator before
    its sigmoid. `classes`: how many labels y [N] are joined to the image, each a plane
    of ones or zeros; with `projection` they add the product of the last features with
    the label's embedding to the logit instead (Miyato and Koyama, 2018,
    arXiv:1802.05637, equation 4). `norm=False`: biases in place of batch norm, for
    critics with a gradient penalty, and He's initialization (arXiv:1502.01852), since
    no norm makes up for weights of .02. `kernel` as the generator's.
    """

    def __init__(
        self,
        width: int = 64,
        size: Size = 64,
        channels: int = 3,
        norm: bool = True,
        classes: int = 0,
        kernel: int = 4,
        projection: bool = False,
    ) -> None:
        super().__init__()
        self.planes = 0 if projection else classes
        trunk, features, grid = halvings(width, size, channels + self.planes, kernel, norm)
        self.main = nn.Sequential(*trunk, nn.Conv2d(features, 1, grid, bias=False))
        self.embed = (
            nn.Embedding(classes, features * math.prod(grid)) if projection and classes else None
        )
        normal_init(self)
        if not norm:
            _he_init(self, 0.2)
        if self.embed is not None:  # every class starts from the shared logit
            nn.init.zeros_(self.embed.weight)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Map images x [N, channels, H, W] to logits [N].

        y: labels [N]; not None if there are `classes`
        """
        x = with_labels(x, y, self.planes)
        if self.embed is None:
            return self.main(x).flatten()
        assert y is not None, "this discriminator was built for labels"
        features = self.main[:-1](x)
        return self.main[-1](features).flatten() + (self.embed(y) * features.flatten(1)).sum(1)
