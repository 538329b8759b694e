"""Networks of CUT: features of a generator's encoder, and their projection.

Contrastive Learning for Unpaired Image-to-Image Translation, Park et al., 2020,
arXiv:2007.15651. With the key names of taesungp/contrastive-unpaired-translation. The
generator is `image_to_image.ResNetGenerator`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganvas.core.errors import ConfigError
from ganvas.nets.image_to_image import ResNetBlock, ResNetGenerator


def encode(G: ResNetGenerator, x: Tensor, taps: Sequence[int]) -> list[Tensor]:
    """The outputs [N, C, H', W'] of some layers of G for images x [N, C, H, W].

    taps: numbers of layers, ascending; no layer after the last of them is computed
    """
    found = []
    for i in range(taps[-1] + 1):
        x = G.model[i](x)
        if i in taps:
            found.append(x)
    return found


class PatchMLP(nn.Module):
    """Features [N, C, H, W] of several layers -> vectors [N, P, width] of length 1.

    For each layer linear, ReLU, linear on the features at P places (section 3.2; a
    width of 256). `channels`: of each layer.
    """

    def __init__(self, channels: Sequence[int] = (3, 128, 256, 256, 256), width: int = 256) -> None:
        super().__init__()
        for i, c in enumerate(channels):
            mlp = nn.Sequential(nn.Linear(c, width), nn.ReLU(), nn.Linear(width, width))
            self.add_module(f"mlp_{i}", mlp)

    def forward(self, features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Project each layer's features at its places.

        places: for each layer indices [P] into its H W positions, row by row
        """
        projected = []
        for i, (feature, place) in enumerate(zip(features, places, strict=True)):
            patches = feature.flatten(2)[:, :, place].mT
            vectors = self.get_submodule(f"mlp_{i}")(patches)
            projected.append(vectors / (vectors.norm(dim=2, keepdim=True) + 1e-7))
        return projected


def feature_channels(G: ResNetGenerator, taps: Sequence[int], channels: int) -> list[int]:
    """The channels of the features that `encode` finds in G.

    channels: of images

    Raises `ConfigError` for layers that G does not have, or not in its encoder.
    """
    last = max(i for i, layer in enumerate(G.model) if isinstance(layer, ResNetBlock))
    if not taps or list(taps) != sorted(set(taps)) or taps[0] < 0 or taps[-1] > last:
        raise ConfigError(
            f"taps={list(taps)}: expected numbers of layers of the generator's encoder, "
            f"ascending, 0 to {last}"
        )
    device = next(G.parameters()).device
    side = 2 * G.multiple
    with torch.no_grad():
        x = torch.zeros(1, channels, side, side, device=device)
        return [feature.shape[1] for feature in encode(G, x, taps)]
