"""Sparse Transformer: images as sequences, value by value."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, final

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganvas.core import Batch, Clock, Curve, Method, Plan, Shape, Terms, Update, rng
from ganvas.core.protocols import returned
from ganvas.objectives.precision import wide


@final
class SparseTransformer(Method):
    """Generating Long Sequences with Sparse Transformers.

    Child et al., 2019, arXiv:1904.10509.

    max_T  E sum_i log p_T(x_i | x_1, ..., x_{i-1})                         (equation 1)

    x_i are the values of an image, row by row. The log has the loss in bits per
    dimension, and `ganvas measure --also bits-per-dimension` has it of a data set. The
    latent is the uniform noise by which the values are drawn, one after the other, so
    that a latent names an image.

    Differs from the paper: gradients are not clipped, and there is no weight decay.
    Images of any number of levels, which `x` is rounded to.
    """

    T: Any  # a `nets.sparse_transformer.SparseTransformer`
    ema_networks: Sequence[str] = ("T",)
    discriminators: Sequence[str] = ()
    curve: Curve = "linear"  # the noise is uniform

    def __init__(self, shape: Shape, T: Callable[..., nn.Module]) -> None:
        """Build the network for `shape`."""
        super().__init__()
        self.T = T(size=shape.size, channels=shape.channels)
        self.players = {"T": [self.T]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step towards the maximum of the likelihood."""
        yield Update("T", self.loss, next(batches))

    def loss(self, real: Batch) -> Terms:
        """The negative log likelihood of a value in nats; bits in the log."""
        nats = cross_entropy(*self.predictions(real.x))
        return Terms(nats, {"bits_per_dim": nats / math.log(2)})

    def predictions(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [N H W C, levels] of the values of images, and these values."""
        values = self.values(x)
        return wide(self.T(values)).flatten(0, 1), values.flatten()

    @property
    def levels(self) -> int:
        """As of `Likelihood`."""
        return self.T.levels

    def nats(self, x: Tensor) -> Tensor:
        """As of `Likelihood`."""
        return cross_entropy(*self.predictions(x), reduction="none").view(len(x), -1).sum(1)

    def values(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] -> levels [N, H W C]."""
        levels = ((x + 1) / 2 * (self.T.levels - 1)).round().long()
        return levels.movedim(1, -1).flatten(1)

    def latent(self, n: int) -> Tensor:
        """U(0, 1), [n, H W C]."""
        return rng.uniform(n, self.T.length, device=self.device)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Images drawn value by value from the noise z [n, H W C]."""
        return returned(self.draw(self.latent(n) if z is None else z))

    def draw(self, z: Tensor) -> Generator[float, None, Tensor]:
        """`sample`, which yields the part of the values that is drawn."""
        values = yield from self.T.draw(z)
        x = values.float() / (self.T.levels - 1) * 2 - 1
        return x.unflatten(1, self.T.shape).movedim(-1, 1)
