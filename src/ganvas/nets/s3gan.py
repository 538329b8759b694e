"""S3GAN's discriminator and classifier: BigGAN's blocks with heads for other tasks.

High-Fidelity Image Generation With Fewer Labels, Lucic et al., 2019, arXiv:1903.02271,
sections 3.2 and 3.3, figure 3; heads as in google/compare_gan. All layers start
orthogonal (there, the projection's by Glorot's rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ganvas.core.errors import UserError
from ganvas.nets.biggan import Init, Trunk, initialize
from ganvas.nets.conditional import Projection
from ganvas.nets.layers import Size, sides
from ganvas.nets.spectral import spectral_

ROTATIONS = 4  # by 0, 90, 180 and 270 degrees


class Reading(NamedTuple):
    """A network's features of images and its logits.

    features: sums over pixels [N, d]
    rotation: logits of the four rotations [N, 4]
    classes: logits of the classes [N, classes]; None without that head
    """

    features: Tensor
    rotation: Tensor
    classes: Tensor | None


class Classifier(Trunk):
    """Images [N, channels, H, W] in [-1, 1] -> rotations and classes.

    `reads_classes` False: without the classes' logits.
    """

    def __init__(
        self,
        width: int = 96,
        size: Size = 128,
        channels: int = 3,
        classes: int = 0,
        attention: Sequence[int] = (),
        multiples: Sequence[int] | None = None,
        normalised: bool = True,
        init: Init = "orthogonal",
        reads_classes: bool = True,
    ) -> None:
        super().__init__(width, size, channels, attention, multiples)
        height, breadth = sides(size)
        if height != breadth:
            raise UserError(
                f"S3GAN turns images by 90 degrees, so they must be square; got "
                f"{height}x{breadth} (height x width): give one side as size"
            )
        self.rotation = nn.Linear(self.width_out, ROTATIONS)
        reads = classes if reads_classes else 0
        self.classes = nn.Linear(self.width_out, reads) if reads else None
        self.add_layers(classes)
        initialize(self, init)
        if normalised:
            spectral_(self)

    def add_layers(self, classes: int) -> None:
        """Further layers, which are initialized and normalized like the others."""

    def forward(self, x: Tensor) -> Reading:
        """Read images x [N, channels, H, W]."""
        h = self.features(x)
        return Reading(h, self.rotation(h), None if self.classes is None else self.classes(h))


class Discriminator(Classifier):
    """A classifier whose features have a score, too.

    `forward` computes features once; `score` may then take labels guessed from them.
    """

    def add_layers(self, classes: int) -> None:
        """BigGAN's last layer."""
        self.output = Projection(self.width_out, classes)

    def score(self, features: Tensor, y: Tensor | None = None) -> Tensor:
        """Score features [N, d]: [N].

        y: see `Projection`; not None if there are classes
        """
        return self.output(features, y)
