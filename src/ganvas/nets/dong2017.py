"""Networks of Dong et al., 2017.

Unsupervised Image-to-Image Translation with Generative Adversarial Networks,
arXiv:1701.02676: DCGAN's with 5x5 kernels, as in the authors' code
(zsdonghao/Unsup-Im2Im). A learned vector gives the class. Convolutions before a batch
norm have no bias, as in its last version.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganvas.nets import dcgan
from ganvas.nets.conditional import embed_labels
from ganvas.nets.init import normal_init
from ganvas.nets.layers import Size


class Generator(nn.Module):
    """z [N, latent] and labels y [N] -> images [N, channels, H, W] in [-1, 1].

    DCGAN's of `width`, on z and the `embedding` numbers learned of each class, which
    start from U(-.1, .1).
    """

    def __init__(
        self,
        latent: int = 98,
        embedding: int = 2,
        width: int = 64,
        size: Size = 64,
        channels: int = 3,
        classes: int = 2,
    ) -> None:
        super().__init__()
        self.latent = latent
        self.embed = nn.Embedding(classes, embedding)
        self.net = dcgan.Generator(latent + embedding, width, size, channels, kernel=5)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Map z [N, latent] and labels y [N] to images [N, channels, H, W]."""
        return self.net(torch.cat([z, embed_labels(self.embed, y)], 1))


class Discriminator(nn.Module):
    """Images [N, channels, H, W] in [-1, 1] -> two kinds of logits.

    Of being real, [N], and of the classes, [N, classes]: DCGAN's convolutions, and a
    linear layer for each.
    """

    def __init__(
        self, width: int = 64, size: Size = 64, channels: int = 3, classes: int = 2
    ) -> None:
        super().__init__()
        self.trunk, features, (height, wide) = dcgan.halvings(width, size, channels, kernel=5)
        self.real, self.named = (
            nn.Linear(features * height * wide, outputs) for outputs in (1, classes)
        )
        normal_init(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images x [N, channels, H, W] to (logits [N], logits [N, classes])."""
        h = self.trunk(x).flatten(1)
        return self.real(h).squeeze(1), self.named(h)


class Encoder(nn.Module):
    """Images in [-1, 1] -> z: the discriminator with another last layer.

    [N, channels, H, W] -> [N, latent].
    """

    def __init__(
        self, latent: int = 98, width: int = 64, size: Size = 64, channels: int = 3
    ) -> None:
        super().__init__()
        self.trunk, features, (height, wide) = dcgan.halvings(width, size, channels, kernel=5)
        self.latent = nn.Linear(features * height * wide, latent)
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images x [N, channels, H, W] to z [N, latent]."""
        return self.latent(self.trunk(x).flatten(1))
