"""StarGAN's networks: one generator for all domains, which takes labels.

StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image
Translation, Choi et al., 2018, arXiv:1711.09020, tables 4 and 5. In the layout and with
the key names of yunjey/stargan. Borders are zeros: reflected ones would leave the
planes of the labels constant, and instance norm removes constants.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.layers import Size, divisible, one_hot, sides
from ganvas.nets.norm import InstanceNorm2d

HALVINGS = 2  # of the generator


class TrackedInstanceNorm2d(InstanceNorm2d):
    """Instance norm with gains, biases and running statistics, [N, C, H, W].

    As `torch.nn.InstanceNorm2d` with `affine` and `track_running_stats`.

    running: whether evaluation uses the running statistics (as torch does); False: each
        image's own, as in training
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, running: bool = True, momentum: float = 0.1) -> None:
        super().__init__(channels, affine=True)
        self.running, self.momentum = running, momentum
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x [N, C, H, W].

        Raises `UserError` for a single pixel if its own statistics are used.
        """
        if not self.training and self.running:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if self.training:
            var, mean = torch.var_mean(x.detach().flatten(2), 2)
            for running, new in ((self.running_mean, mean), (self.running_var, var)):
                running.lerp_(new.mean(0).to(running.dtype), self.momentum)
        return super().forward(x)

    def extra_repr(self) -> str:
        """The arguments that the layer was built with."""
        return f"{super().extra_repr()}, running={self.running}"


class ResidualBlock(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x))))), 3x3 without biases, [N, C, H, W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            TrackedInstanceNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            TrackedInstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to the same shape."""
        return x + self.main(x)


class Generator(nn.Module):
    """Images [N, channels, H, W] and labels -> images of that shape in [-1, 1].

    H and W multiples of 4. Labels are appended to the image as constant planes. Then a
    7x7 convolution to `width`, two halvings, `blocks` residual blocks of 4 `width`, two
    doublings and a 7x7 convolution, without biases; tanh. Weights as torch draws them.

    labels: length of the label vector: attributes, classes, or both with a mask
    """

    def __init__(
        self, channels: int = 3, labels: int = 5, width: int = 64, blocks: int = 6
    ) -> None:
        super().__init__()
        self.channels, self.labels = channels, labels

        def then(conv: nn.Module, c: int) -> list[nn.Module]:
            return [conv, TrackedInstanceNorm2d(c), nn.ReLU(inplace=True)]

        layers = then(nn.Conv2d(channels + labels, width, 7, 1, 3, bias=False), width)
        widths = [width << i for i in range(HALVINGS)]
        for c in widths:
            layers += then(nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False), 2 * c)
        layers += [ResidualBlock(width << HALVINGS) for _ in range(blocks)]
        for c in reversed(widths):
            layers += then(nn.ConvTranspose2d(2 * c, c, 4, 2, 1, bias=False), c)
        layers += [nn.Conv2d(width, channels, 7, 1, 3, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def use_running(self, running: bool) -> None:
        """Whether evaluation uses the running statistics, or each image's own."""
        for layer in self.modules():
            if isinstance(layer, TrackedInstanceNorm2d):
                layer.running = running

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Translate images x [N, channels, H, W] to labels c.

        c: label vectors [N, labels], or classes [N] (int64)

        Raises `UserError` for sides that are no multiples of 4, and for labels of
        another length.
        """
        divisible(x, 1 << HALVINGS, least=1 << HALVINGS)
        if not (c.shape == (len(x), self.labels) or (c.dim() == 1 and not c.is_floating_point())):
            raise UserError(
                f"this generator got labels of shape {list(c.shape)} for {len(x)} images; expected "
                f"vectors {[len(x), self.labels]}, or classes {[len(x)]} as whole numbers"
            )
        planes = one_hot(c, self.labels, x)[:, :, None, None]
        return self.main(torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1))


class Discriminator(nn.Module):
    """Images [N, channels, H, W] -> (scores [N, 1, h, w], logits [N, labels]).

    `layers` 4x4 convolutions of stride 2 from `width` channels on, which double, each
    with LeakyReLU(.01) and without a norm; then a 3x3 convolution to the scores and one
    of the whole map to the logits. Weights as torch draws them.

    size: of the images, at least 2^`layers`; remainders are cut off
    """

    def __init__(
        self,
        size: Size = 128,
        channels: int = 3,
        labels: int = 5,
        width: int = 64,
        layers: int = 6,
    ) -> None:
        super().__init__()
        height, breadth = sides(size)
        self.map = (height >> layers, breadth >> layers)
        self.layers = layers
        main: list[nn.Module] = []
        for i in range(layers):
            before = channels if i == 0 else width << i - 1
            main += [nn.Conv2d(before, width << i, 4, 2, 1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*main)
        last = width << layers - 1
        self.conv1 = nn.Conv2d(last, 1, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(last, labels, self.map, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Score images x [N, channels, H, W].

        Raises `UserError` for images of another size.
        """
        if tuple(side >> self.layers for side in x.shape[2:]) != self.map:
            wanted = "x".join(str(side << self.layers) for side in self.map)
            raise UserError(
                f"this discriminator takes images of {wanted} (height x width) and up to "
                f"{(1 << self.layers) - 1} pixels more; got {x.shape[2]}x{x.shape[3]}"
            )
        h = self.main(x)
        return self.conv1(h), self.conv2(h).flatten(1)
