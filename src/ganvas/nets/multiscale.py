"""Patch discriminators at several scales that give their features, too.

High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs, Wang et
al., 2018, arXiv:1711.11585, section 3.2; SPADE, arXiv:1903.07291, appendix A.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.nets.init import normal_init, xavier_init
from ganvas.nets.norm import Norm, norm2d
from ganvas.nets.spectral import spectral

WIDEST = 512  # channels
XAVIER_GAIN = 0.02  # of SPADE's code


class PatchNet(nn.Module):
    """Images [N, C, H, W] -> maps of each layer, the last of them scores [N, 1, h, w].

    `layers` convolutions of 4x4 and stride 2, the last of stride 1, each with `norm`
    but the first and LeakyReLU(.2), then one to the scores. `bias`: of the convolutions
    before a normalization; None: unless `spectrally`.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        layers: int,
        spectrally: bool,
        norm: Norm = "instance",
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        # Instance norm would remove a bias; pix2pixHD's code has one, SPADE's none.
        bias = not spectrally if bias is None else bias
        wide = [min(width << i, WIDEST) for i in range(layers)]
        first = nn.Sequential(nn.Conv2d(channels, width, 4, 2, 2), nn.LeakyReLU(0.2))
        self.layers = nn.ModuleList([first])
        for i in range(1, layers):
            stride = 1 if i == layers - 1 else 2
            conv = nn.Conv2d(wide[i - 1], wide[i], 4, stride, 2, bias=bias)
            self.layers.append(nn.Sequential(conv, norm2d(norm, wide[i]), nn.LeakyReLU(0.2)))
        self.layers.append(nn.Conv2d(wide[-1], 1, 4, 1, 2))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of all layers for images x; the last are scores."""
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return maps


class MultiscaleDiscriminator(nn.Module):
    """Images [N, C, H, W] -> for each scale the maps of `PatchNet`, whole images first.

    Each scale gets the images of the one before reduced by average pooling. `layers`:
    convolutions before the one to the scores. `spectrally`: normalize the weights of
    the inner layers (SPADE). `norm`, `bias`: as of `PatchNet`. Weights ~ N(0, .02), or
    Xavier's with gain .02 (SPADE).
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        layers: int = 4,
        scales: int = 2,
        spectrally: bool = False,
        norm: Norm = "instance",
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchNet(channels, width, layers, spectrally, norm, bias) for _ in range(scales)
        )
        normal_init(self)
        if spectrally:
            xavier_init(self, XAVIER_GAIN)
            for net in self.scales:
                for layer in list(net.layers)[1:-1]:  # pyright: ignore[reportArgumentType]
                    spectral(layer[0])

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Maps of all layers at each scale for images x."""
        found = []
        for i, net in enumerate(self.scales):
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) if i else x
            found.append(net(x))
        return found
