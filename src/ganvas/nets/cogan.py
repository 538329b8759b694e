"""Networks in pairs, whose layers near the latent are one and the same.

Coupled Generative Adversarial Networks, Liu and Tuzel, 2016, arXiv:1606.07536, in the
form of the authors' code for 28x28 (its edges of digits).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.init import normal_init
from ganvas.nets.layers import Size, sides
from ganvas.nets.norm import BatchNorm2d

LEAST = 20  # pixels: of less the discriminators' two poolings leave nothing


def _grid(size: Size) -> tuple[int, int]:
    """Grid (height, width) from which the layers reach `size`.

    These are three doublings, each a pixel short, and an edge of 3.
    """
    height, width = sides(size)
    if min(height, width) < LEAST or (height + 4) % 8 or (width + 4) % 8:
        near = "x".join(str(max(LEAST, round((side + 4) / 8) * 8 - 4)) for side in (height, width))
        raise UserError(
            f"this network cannot make {height}x{width} (height x width): both sides must be "
            f"{LEAST}, 28, 36, ... (a "
            f"multiple of 8, less 4). Nearest: {near}."
        )
    return (height + 4) // 8, (width + 4) // 8


Layers = Sequence[Callable[[], nn.Module]]


def _generating(latent: int, widths: Sequence[int], grid: tuple[int, int], channels: int) -> Layers:
    """The five layers of a generator from a grid (height, width)."""

    def then(width: int, conv: nn.Module) -> nn.Module:
        return nn.Sequential(conv, BatchNorm2d(width, affine=False), nn.PReLU())

    w0, w1, w2, w3 = widths
    return [
        lambda: then(w0, nn.ConvTranspose2d(latent, w0, grid)),
        lambda: then(w1, nn.ConvTranspose2d(w0, w1, 3, 2, 1)),
        lambda: then(w2, nn.ConvTranspose2d(w1, w2, 3, 2, 1)),
        lambda: then(w3, nn.ConvTranspose2d(w2, w3, 3, 2, 1)),
        lambda: nn.ConvTranspose2d(w3, channels, 6, 1, 1),
    ]


def _scoring(widths: Sequence[int], size: Size, channels: int) -> Layers:
    """The four layers of a discriminator of images of `size`."""
    height, width = (2 * side - 4 for side in _grid(size))
    w0, w1, w2 = widths
    return [
        lambda: nn.Sequential(nn.Conv2d(channels, w0, 5), nn.MaxPool2d(2)),
        lambda: nn.Sequential(nn.Conv2d(w0, w1, 5), nn.MaxPool2d(2)),
        lambda: nn.Sequential(nn.Conv2d(w1, w2, (height, width)), nn.PReLU()),
        lambda: nn.Sequential(nn.Conv2d(w2, 2, 1)),
    ]


def _split(layers: Layers, tied: range, domains: int = 2) -> tuple[nn.Sequential, nn.ModuleList]:
    """(the layers that the domains share, what each has of its own).

    tied: which are shared.
    """
    if tied.start < 0 or tied.stop > len(layers) or len(tied) == len(layers):
        raise UserError(
            f"`tied` must be from 0 to {len(layers) - 1}: each domain needs a layer of its own"
        )
    shared = nn.Sequential(*(make() for i, make in enumerate(layers) if i in tied))
    own = [
        nn.Sequential(*(make() for i, make in enumerate(layers) if i not in tied))
        for _ in range(domains)
    ]
    return shared, nn.ModuleList(own)


class Generators(nn.Module):
    """z -> (images of domain a, images of domain b), both in [-1, 1] and of one z.

    z [N, latent] -> [N, channels, H, W] each.

    Transposed convolutions: to a grid (4x4 for 28 px), three of 3x3 and stride 2, each
    followed by batch norm without gains and by PReLU, and 6x6 to the image and tanh(h /
    2) (the code's sigmoid in images' units); `widths` are the channels in between. The
    first `tied` of the five are both domains' own; 0: two generators. Sides of 8 g - 4.
    Weights ~ N(0, .02).
    """

    def __init__(
        self,
        latent: int = 100,
        widths: Sequence[int] = (1024, 512, 256, 128),
        tied: int = 4,
        size: Size = 28,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.latent = latent
        layers = _generating(latent, widths, _grid(size), channels)
        self.tied, self.own = _split(layers, range(tied))
        normal_init(self)

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        """Map z [N, latent] to an image of each domain, [N, channels, H, W]."""
        h = self.tied(z.flatten(1)[:, :, None, None])
        return tuple((own(h) / 2).tanh() for own in self.own)


class Discriminators(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] of a domain (0: a, 1: b) -> logits [N].

    Convolutions: two of 5x5, each followed by the maximum of every 2x2, one over the
    grid that remains (4x4 for 28 px) and PReLU, and 1x1 to two scores, of generated and
    of real, whose difference is the logit; `widths` are the channels in between. The
    last `tied` of the four are both domains' own; 0: two discriminators.
    """

    def __init__(
        self,
        widths: Sequence[int] = (20, 50, 500),
        tied: int = 3,
        size: Size = 28,
        channels: int = 1,
    ) -> None:
        super().__init__()
        layers = _scoring(widths, size, channels)
        self.tied, self.own = _split(layers, range(4 - tied, 4))

    def scores(self, x: Tensor, domain: int) -> Tensor:
        """[N, 2]: of generated, of real."""
        return self.tied(self.own[domain](x)).flatten(1)

    def forward(self, x: Tensor, domain: int) -> Tensor:
        """Map images x [N, channels, H, W] of a domain (0: a, 1: b) to logits [N]."""
        generated, real = self.scores(x, domain).unbind(1)
        return real - generated


class Generator(nn.Module):
    """z [N, latent] -> images [N, channels, H, W] in [-1, 1] of one domain alone.

    The layers of `Generators`, as the authors' code has them for comparison.
    """

    def __init__(
        self,
        latent: int = 100,
        widths: Sequence[int] = (1024, 512, 256, 128),
        size: Size = 28,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.latent = latent
        layers = _generating(latent, widths, _grid(size), channels)
        self.layers = nn.Sequential(*(make() for make in layers))
        normal_init(self)

    def forward(self, z: Tensor) -> Tensor:
        """Map z [N, latent] to images [N, channels, H, W]."""
        return (self.layers(z.flatten(1)[:, :, None, None]) / 2).tanh()


class Discriminator(nn.Module):
    """Images [N, channels, H, W] -> scores [N, 2] of "generated" and "real".

    The layers of `Discriminators`, of one domain alone.
    """

    def __init__(
        self, widths: Sequence[int] = (20, 50, 500), size: Size = 28, channels: int = 1
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(make() for make in _scoring(widths, size, channels)))

    def forward(self, x: Tensor) -> Tensor:
        """Score images x [N, channels, H, W]: [N, 2]."""
        return self.layers(x).flatten(1)
