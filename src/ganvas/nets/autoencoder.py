"""Encoders and decoders.

An encoder tells of every image a Gaussian over its latent z: [N, 2, latent], the means
and the logarithms of the variances. A decoder takes z to images before their tanh, so
that 2 of its outputs are the logit of a pixel between black and white.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from ganvas.nets.init import normal_init
from ganvas.nets.layers import Size, doublings, sides
from ganvas.nets.norm import BatchNorm1d, BatchNorm2d


class MLPEncoder(nn.Module):
    """Images [N, channels, H, W] -> [N, 2, latent].

    Linear - tanh - linear, weights ~ N(0, .01). Kingma and Welling, 2013,
    arXiv:1312.6114, appendix C and section 5 (500 units).
    """

    def __init__(
        self, latent: int = 20, hidden: int = 500, size: Size = 28, channels: int = 1
    ) -> None:
        super().__init__()
        height, width = sides(size)
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * height * width, hidden),
            nn.Tanh(),
            nn.Linear(hidden, 2 * latent),
        )
        normal_init(self, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Map images x [N, channels, H, W] to mean and log variance [N, 2, latent]."""
        return self.net(x).unflatten(1, (2, -1))


class MLPDecoder(nn.Module):
    """z [N, latent] -> [N, channels, H, W] before tanh: linear - tanh - linear.

    As `MLPEncoder`.
    """

    def __init__(
        self, latent: int = 20, hidden: int = 500, size: Size = 28, channels: int = 1
    ) -> None:
        super().__init__()
        height, width = sides(size)
        self.latent, self.shape = latent, (channels, height, width)
        self.net = nn.Sequential(
            nn.Linear(latent, hidden), nn.Tanh(), nn.Linear(hidden, channels * height * width)
        )
        normal_init(self, 0.01)

    def forward(self, z: Tensor) -> Tensor:
        """Map z [N, latent] to [N, channels, H, W] before tanh."""
        return self.net(z).unflatten(1, self.shape)


def _halvings(size: Size) -> tuple[int, tuple[int, int]]:
    """(n, grid): `size` is a grid whose shorter side is 8, doubled n times."""
    k, (height, width) = doublings(size, least=2)
    return k - 1, (2 * height, 2 * width)


def _down(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, 5, 2, 2, bias=False),
        BatchNorm2d(channels_out),
        nn.ReLU(),
    ]


class Encoder(nn.Module):
    """Images [N, channels, H, W] -> [N, 2, latent].

    n 5x5 convolutions of stride 2 with `width` to `width` 2^(n-1) channels, then linear
    to 32 `width`, each followed by batch norm and ReLU, then linear, for a side of 8 *
    2^n. At 64 px that of Larsen et al., 2015, arXiv:1512.09300 (appendix).
    """

    def __init__(
        self, latent: int = 128, width: int = 64, size: Size = 64, channels: int = 3
    ) -> None:
        super().__init__()
        n, (height, wide) = _halvings(size)
        widths = [channels, *(width << i for i in range(n))]
        self.net = nn.Sequential(
            *[layer for a, b in pairwise(widths) for layer in _down(a, b)],
            nn.Flatten(),
            nn.Linear(widths[-1] * height * wide, 32 * width, bias=False),
            BatchNorm1d(32 * width),
            nn.ReLU(),
            nn.Linear(32 * width, 2 * latent),
        )
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images x [N, channels, H, W] to mean and log variance [N, 2, latent]."""
        return self.net(x).unflatten(1, (2, -1))


class Decoder(nn.Module):
    """z [N, latent] -> [N, channels, H, W] before tanh.

    Linear to a grid of 8x8 with `width` 2^(n-1) channels, n 5x5 transposed convolutions
    of stride 2 with as many down to 2 `width` and at last `width` / 2, each followed by
    batch norm and ReLU, then a 5x5 convolution. At 64 px that of Larsen et al.
    """

    def __init__(
        self, latent: int = 128, width: int = 64, size: Size = 64, channels: int = 3
    ) -> None:
        super().__init__()
        n, grid = _halvings(size)
        self.latent = latent
        first = width << n - 1
        widths = [first, *(width << i for i in reversed(range(1, n))), max(width // 2, 1)]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.ConvTranspose2d(a, b, 5, 2, 2, 1, bias=False), BatchNorm2d(b), nn.ReLU()]
        self.net = nn.Sequential(
            nn.Linear(latent, first * grid[0] * grid[1], bias=False),
            BatchNorm1d(first * grid[0] * grid[1]),
            nn.ReLU(),
            nn.Unflatten(1, (first, *grid)),
            *layers,
            nn.Conv2d(widths[-1], channels, 5, padding=2),
        )
        normal_init(self)

    def forward(self, z: Tensor) -> Tensor:
        """Map z [N, latent] to [N, channels, H, W] before tanh."""
        return self.net(z)


class FeatureDiscriminator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> (logits [N], features [N, C, h, w]).

    A 5x5 convolution to `width` / 2 with ReLU, n of stride 2 with 2 `width` to `width`
    2^(n-1) channels, then linear to 8 `width`, each followed by batch norm and ReLU,
    then linear. The features are the output of the last convolution, before its batch
    norm. At 64 px that of Larsen et al., with the layer of the authors' code
    (recon_depth=9). The convolutions have He's initialization (arXiv:1502.01852), so
    that features spread by about 1 whatever the width, as they must beside L_prior.
    """

    def __init__(self, width: int = 64, size: Size = 64, channels: int = 3) -> None:
        super().__init__()
        n, (height, wide) = _halvings(size)
        first, most = max(width // 2, 1), width << n - 1
        widths = [first, *(min(width << i + 1, most) for i in range(n))]
        convolutions = [layer for a, b in pairwise(widths) for layer in _down(a, b)]
        self.features = nn.Sequential(
            nn.Conv2d(channels, first, 5, padding=2), nn.ReLU(), *convolutions[:-1]
        )
        self.score = nn.Sequential(
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(most * height * wide, 8 * width, bias=False),
            BatchNorm1d(8 * width),
            nn.ReLU(),
            nn.Linear(8 * width, 1),
        )
        normal_init(self)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images x [N, channels, H, W] to (logits [N], features [N, C, h, w])."""
        *convolutions, norm = self.features
        features = x
        for layer in convolutions:
            features = layer(features)
        return self.score(norm(features)).squeeze(1), features
