"""Multilayer perceptrons of the first GAN.

Generative Adversarial Nets, Goodfellow et al., 2014, arXiv:1406.2661, with the numbers
of the authors' code (goodfeli/adversarial, mnist.yaml).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ganvas.nets.layers import Dropout, Maxout, Size, one_hot, sides


def _uniform_init(module: nn.Module, bound: float) -> None:
    """Linear layers' weights ~ U(-bound, bound), biases 0."""
    for m in module.modules():
        if isinstance(m, nn.Linear):
            nn.init.uniform_(m.weight, -bound, bound)
            nn.init.zeros_(m.bias)


class MLPGenerator(nn.Module):
    """z [N, latent] -> images [N, channels, H, W] in [-1, 1], of any size.

    linear - ReLU for each of `hidden`, then linear - sigmoid, mapped from [0, 1] by 2s
    - 1. Weights ~ U(-.05, .05). arXiv:1406.2661, section 5; mnist.yaml. Differs: the
    output's bias starts at 0, not at the data's marginals.
    """

    def __init__(
        self,
        latent: int = 100,
        hidden: Sequence[int] = (1200, 1200),
        size: Size = 28,
        channels: int = 1,
    ) -> None:
        super().__init__()
        height, width = sides(size)
        widths = [latent, *hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.net = nn.Sequential(
            *layers, nn.Linear(widths[-1], channels * height * width), nn.Sigmoid()
        )
        self.latent = latent
        self.shape = (channels, height, width)
        _uniform_init(self, 0.05)

    def forward(self, z: Tensor) -> Tensor:
        """Map z [N, latent] to images [N, channels, H, W] in [-1, 1]."""
        return 2 * self.net(z).unflatten(1, self.shape) - 1


class MaxoutDiscriminator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> logits [N].

    (x + 1) / 2, then `layers` maxout layers of `units` with `pieces` each, then linear.
    Dropout in training keeps `input_keep` of the pixels and `hidden_keep` of each
    layer's units, and divides by that share. Weights ~ U(-.005, .005). arXiv:1406.2661,
    section 5; mnist.yaml (discriminator_input_include_probs,
    discriminator_input_scales).
    """

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
        """Map images x [N, channels, H, W] to logits [N]."""
        return self.net((x + 1) / 2).squeeze(1)


class ConditionalMLPGenerator(nn.Module):
    """z [N, latent] and labels y [N] -> images [N, channels, H, W] in [-1, 1].

    z to `noise_units` and y (one-hot) to `label_units`, ReLU each, both to
    `joint_units` ReLU, dropout, then linear - sigmoid, mapped from [0, 1] by 2s - 1.
    Conditional Generative Adversarial Nets, Mirza and Osindero, 2014, arXiv:1411.1784,
    section 4.1. Weights as in the code of the GAN of 2014, which theirs is built on:
    U(-.05, .05).
    """

    def __init__(
        self,
        classes: int,
        latent: int = 100,
        noise_units: int = 200,
        label_units: int = 1000,
        joint_units: int = 1200,
        keep: float = 0.5,
        size: Size = 28,
        channels: int = 1,
    ) -> None:
        super().__init__()
        height, width = sides(size)
        self.of_noise, self.of_label = (
            nn.Linear(latent, noise_units),
            nn.Linear(classes, label_units),
        )
        self.joint = nn.Sequential(
            nn.ReLU(),
            Dropout(1 - keep),
            nn.Linear(noise_units + label_units, joint_units),
            nn.ReLU(),
            Dropout(1 - keep),
            nn.Linear(joint_units, channels * height * width),
            nn.Sigmoid(),
        )
        self.latent, self.classes, self.shape = latent, classes, (channels, height, width)
        _uniform_init(self, 0.05)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Map z [N, latent] and labels y [N] to images [N, channels, H, W]."""
        label_features = self.of_label(one_hot(y, self.classes, z))
        return (
            2
            * self.joint(torch.cat([self.of_noise(z), label_features], 1)).unflatten(1, self.shape)
            - 1
        )


class ConditionalMaxoutDiscriminator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] and labels y [N] -> logits [N].

    (x + 1) / 2 to a maxout layer of `units` with 5 pieces, y (one-hot) to one of
    `label_units` with 5, both to one of `units` with 4, then linear; dropout before
    each and, in place of an input's, none. arXiv:1411.1784, section 4.1. Weights ~
    U(-.005, .005).
    """

    def __init__(
        self,
        classes: int,
        units: int = 240,
        label_units: int = 50,
        keep: float = 0.5,
        size: Size = 28,
        channels: int = 1,
    ) -> None:
        super().__init__()
        height, width = sides(size)
        self.of_image = Maxout(channels * height * width, units, 5)
        self.of_label = Maxout(classes, label_units, 5)
        self.joint = nn.Sequential(
            Dropout(1 - keep),
            Maxout(units + label_units, units, 4),
            Dropout(1 - keep),
            nn.Linear(units, 1),
        )
        self.classes = classes
        _uniform_init(self, 0.005)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Map images x [N, channels, H, W] and their labels y [N] to logits [N]."""
        image_features, label_features = (
            self.of_image(((x + 1) / 2).flatten(1)),
            self.of_label(one_hot(y, self.classes, x)),
        )
        return self.joint(torch.cat([image_features, label_features], 1)).squeeze(1)
