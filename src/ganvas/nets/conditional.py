"""Conditions of networks: batch norm in generators, a projection in discriminators.

The condition is the class or any other vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganvas.core import rng
from ganvas.core.errors import UserError
from ganvas.nets.norm import BatchNorm2d


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose gains and biases depend on a condition c.

    (1 + gain(c)) * norm(x) + bias(c), x [N, C, H, W]. de Vries et al., 2017,
    arXiv:1707.00683; Miyato and Koyama, 2018, arXiv:1802.05637, appendix.

    c: labels [N] (int64), of `classes`, each with gains of its own; or, `classes` 0,
    vectors [N, condition], by linear maps without bias (BigGAN, arXiv:1809.11096,
    section 3.1). Gains start from 1 and biases from 0 for labels.

    added: whether gains are added in place of multiplied, for files of a project that
        evaluates its norms so
    """

    added = False

    def __init__(
        self, channels: int, classes: int = 0, condition: int = 0, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.norm = BatchNorm2d(channels, eps=eps, affine=False)
        if classes:
            self.gain, self.bias = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        else:
            self.gain = nn.Linear(condition, channels, bias=False)
            self.bias = nn.Linear(condition, channels, bias=False)
        start_from_identity(self)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Normalize x [N, C, H, W] by conditions c: labels [N] or [N, condition]."""
        gain, bias = (f(c)[:, :, None, None] for f in (self.gain, self.bias))
        x = self.norm(x)
        return x + (1 + gain) + bias if self.added else x * (1 + gain) + bias


def start_from_identity(net: nn.Module) -> None:
    """Every label's gains 1 and biases 0, in all conditional batch norms of `net`."""
    for m in net.modules():
        if isinstance(m, ConditionalBatchNorm2d) and isinstance(m.gain, nn.Embedding):
            for table in (m.gain, m.bias):
                nn.init.zeros_(table.weight)  # pyright: ignore[reportArgumentType] (Embedding or Linear: a tensor)


class Projection(nn.Linear):
    """Projection discriminator's last layer: linear(h) + <embedding of y, h>.

    h [N, d], y labels [N] -> scores [N]. cGANs with Projection Discriminator, Miyato
    and Koyama, 2018, arXiv:1802.05637, equation 4. `classes` 0: linear(h). An image
    without a label has the score linear(h), as in S3GAN's code (arXiv:1903.02271).
    outputs: numbers for each image; if they are several, the scores are [N, outputs].
    """

    def __init__(self, features: int, classes: int = 0, outputs: int = 1) -> None:
        super().__init__(features, outputs)
        self.embed = nn.Embedding(classes, features) if classes else None

    def forward(self, input: Tensor, y: Tensor | None = None) -> Tensor:
        """Score features [N, d]: [N] or [N, outputs].

        y: labels [N], -1 if unknown, or mixtures of classes [N, classes] (0: unknown);
            not None if there are `classes`
        """
        score = super().forward(input)
        if self.embed is None:
            return score.squeeze(1)
        assert y is not None, "this discriminator was built for labels"
        if y.is_floating_point():
            projection = (embed_labels(self.embed, y) * input).sum(1)
        else:
            projection = (self.embed(y.clamp(min=0)) * input).sum(1).where(y >= 0, 0.0)
        return (score + projection[:, None]).squeeze(1)


def embed_labels(table: nn.Embedding, y: Tensor) -> Tensor:
    """Vectors [N, d] of labels or of mixtures of classes.

    y: labels [N] (int64), or mixtures [N, classes] (floats: one row, one mixture).
    """
    return torch.matmul(y, table.weight) if y.is_floating_point() else table(y)


def draw_labels(
    n: int, classes: int, device: torch.device, y: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Labels of n images as the generator's extra arguments.

    (y,) if y is given, else (labels,) with each class as likely; () without `classes`.
    """
    if not classes:
        return ()
    return (rng.integers(n, classes, device=device) if y is None else y,)


def num_classes(labels: bool, classes: int) -> int:
    """How many classes a game with or without `labels` has, on data of `classes`."""
    if labels and not classes:
        raise UserError(
            "these images have no labels, and the recipe or a setting asks for them (labels=true): "
            "sort the images into a folder for each class, or train without, --set labels=false"
        )
    return classes if labels else 0
