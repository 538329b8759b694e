"""Multilayer perceptrons of the first GAN: Generative Adversarial Nets, Goodfellow et al., 2014, arXiv:1406.2661, with
the numbers of the authors' code (goodfeli/adversarial, mnist.yaml)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ganvas.nets.layers import Dropout, Maxout, Size, sides


def _uniform_init(module: nn.Module, bound: float) -> None:
    """Linear layers' weights ~ U(-bound, bound), biases 0."""
    for m in module.modules():
        if isinstance(m, nn.Linear):
            nn.init.uniform_(m.weight, -bound, bound)
            nn.init.zeros_(m.bias)


class MLPGenerator(nn.Module):
    """z [N, latent] -> images [N, channels, H, W] in [-1, 1], of any size.

    linear - ReLU for each of `hidden`, then linear - sigmoid, mapped from [0, 1] by 2s - 1. Weights ~ U(-.05, .05).
    arXiv:1406.2661, section 5; mnist.yaml. Differs: the output's bias starts at 0, not at the data's marginals."""

    def __init__(
        self, latent: int = 100, hidden: Sequence[int] = (1200, 1200), size: Size = 28, channels: int = 1
    ) -> None:
        super().__init__()
        height, width = sides(size)
        widths = [latent, *hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(widths[-1], channels * height * width), nn.Sigmoid())
        self.latent = latent
        self.shape = (channels, height, width)
        _uniform_init(self, 0.05)

    def forward(self, z: Tensor) -> Tensor:
        return 2 * self.net(z).unflatten(1, self.shape) - 1


class MaxoutDiscriminator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> logits [N].

    (x + 1) / 2, then `layers` maxout layers of `units` with `pieces` each, then linear. Dropout in training keeps
    `input_keep` of the pixels and `hidden_keep` of each layer's units, and divides by that share. Weights ~ U(-.005,
    .005). arXiv:1406.2661, section 5; mnist.yaml (discriminator_input_include_probs, discriminator_input_scales)."""

    def __init__(
        self,
        units: int = 240,
        pieces: int = 5,
        layers: int = 2,
        size: Size = 28,
        channels: int = 1,
        input_keep: float = 0.8,
        hidden_keep: float = 0.5,
    ) -> None:
        super().__init__()
        height, width = sides(size)
        widths = [channels * height * width] + [units] * layers
        blocks: list[nn.Module] = [nn.Flatten(), Dropout(1 - input_keep)]
        for a, b in pairwise(widths):
            blocks += [Maxout(a, b, pieces), Dropout(1 - hidden_keep)]
        self.net = nn.Sequential(*blocks, nn.Linear(widths[-1], 1))
        _uniform_init(self, 0.005)

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x + 1) / 2).squeeze(1)
