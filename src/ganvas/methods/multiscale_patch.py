"""Multi-scale patch GANs: large images from edges in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, l1_loss

from ganvas.core import (
    Batch,
    Clock,
    Forward,
    Length,
    Method,
    Plan,
    Shape,
    Stage,
    Terms,
    Update,
    distributed,
    rng,
)
from ganvas.core.errors import ConfigError
from ganvas.methods.base import require_positive
from ganvas.objectives.adversarial import discriminator_accuracy, lsgan
from ganvas.objectives.precision import wide

AT_ONCE = 16  # patches in one forward pass of a translation


@final
class MultiscalePatch(Method):
    """Multi-scale GANs for Memory-efficient Generation of High Resolution Medical Images.

    Uzunova et al., 2019, arXiv:1907.01376.

    L_G_k = E (D_k(e, G_k(e, u), u) - 1)^2 + l1_weight E |y - G_k(e, u)|
    L_D_k = (E (D_k(e, y, u) - 1)^2 + E D_k(e, G_k(e, u), u)^2) / 2

    Level 0 makes the whole image at a low resolution from a sketch of its edges. Every
    further level k doubles it by patches of constant size, each from the edges e at its
    own resolution and from the image before, enlarged, u. A step of the training thus
    takes the same memory for any size of the images, apart from these themselves.
    Levels are trained one after the other, on reduced real images for u. D_k rests
    while it is right too often.

    `translate` takes a sketch (dark lines on white) of any size, also a larger one than
    those of the training, at the same scale; level 0 then has more pixels, all others
    more patches. Of each patch the middle counts, where zeros beyond its border matter
    little; middles that overlap are averaged.

    Differs from the paper: two dimensions. D_0 is built like the others. The
    authors' package concatenates twice the field of the image before, unaligned; here u
    is aligned, as in the paper. Real images before are not augmented.
    """  # noqa: W505

    directions: Sequence[str] = ("b",)
    G: Any  # a `nets.multiscale_patch.Generators`
    D: Any  # a `nets.multiscale_patch.Discriminators`
    input_channels = 1
    constant_memory = True
    unaugmented = "discriminators see patches beside their edges and the images before"

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        images: Length = 20_000,
        side: int = 32,
        l1_weight: float = 10.0,
        most_accurate: float = 0.8,
        noise: float = 0.01,
    ) -> None:
        """Build the networks for `shape`.

        images: from which each level learns
        side: of patches, and of the smaller side of the image at level 0, in pixels
        l1_weight: of the distance from the real image
        most_accurate: share of right verdicts above which D rests
        noise: standard deviation of the noise on edges in training
        """
        super().__init__()
        require_positive(images=images)
        short = min(shape.size)
        self.levels = max(short // max(side, 1), 1).bit_length() - 1
        if self.levels < 1 or side << self.levels != short or max(shape.size) % (8 << self.levels):
            raise ConfigError(
                f"patches of {side} pixels are doubled to {2 * side}, {4 * side}, ...; got images "
                f"of {shape.height}x{shape.width} (height x width): give the size {4 * side} or "
                f"{8 * side}, or another --set side="
            )
        self.G = G(channels=shape.channels, levels=self.levels)
        self.D = D(channels=shape.channels, levels=self.levels, side=side)
        self.images, self.side, self.noise = images, side, noise
        self.l1_weight, self.most_accurate = l1_weight, most_accurate
        self.margin = 3 * side // 16  # of a patch, which its middle lacks
        self.multiple = 8 << self.levels
        self.players = {"G": [self.G], "D": [self.D]}

    @property
    def level(self) -> int:
        """The level that is trained."""
        return self.current_stage.index

    def stage(self, clock: Clock) -> Stage:
        """One stage for each level."""
        return Stage(min(clock.images // self.images, self.levels))

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step of G_k, and one of D_k unless it is right too often."""
        batch = self.cut(next(batches))
        batch = batch.having(**(yield Forward("G", self.fake, batch)).outputs)
        yield Update("G", self.g_loss, batch)
        with torch.no_grad():
            right = discriminator_accuracy(*(s - 0.5 for s in self.scores(batch.map(wide))))
        # The same decision on all ranks.
        if distributed.mean(right) <= self.most_accurate:
            yield Update("D", self.d_loss, batch)

    def cut(self, pair: Batch) -> Batch:
        """What the level learns from: `edges`, `real`, and `low` from level 1 on.

        A random patch of each image; at level 0 the whole.
        """
        k, n = self.level, len(pair)
        sketch, real = pair.x.mean(1, keepdim=True), pair.y
        if k == 0:
            fields = {"edges": pooled(sketch, self.levels - 1), "real": pooled(real, self.levels)}
        else:
            step = 2 << self.levels - k  # pixels of the data to a pixel of the level before
            span = self.side * step // 2
            places = [
                (rng.integers(n, (length - span) // step + 1) * step).tolist()
                for length in real.shape[2:]
            ]
            edges, patches = (
                torch.cat(
                    [
                        x[i : i + 1, :, top : top + span, left : left + span]
                        for i, (top, left) in enumerate(zip(*places, strict=True))
                    ]
                )
                for x in (sketch, real)
            )
            fields = {
                "edges": pooled(edges, self.levels - k),
                "real": pooled(patches, self.levels - k),
                "low": doubled(pooled(patches, self.levels - k + 1)),
            }
        size = fields["edges"].shape[2:]
        fields["edges"] = fields["edges"] + self.noise * rng.normal(n, 1, *size, device=real.device)
        return Batch(**fields)

    def fake(self, batch: Batch) -> dict[str, Tensor]:
        """The level's images."""
        return {"fake": self.G(batch.edges, batch.get("low"), self.level)}

    def g_loss(self, batch: Batch) -> Terms:
        """L_G_k."""
        scores = self.D(self.d_input(batch, batch.fake), self.level)
        log = {"adversarial": lsgan(scores, 1.0), "l1": l1_loss(batch.fake, batch.real)}
        return Terms(log["adversarial"] + self.l1_weight * log["l1"], log)

    def d_loss(self, batch: Batch) -> Terms:
        """L_D_k."""
        d_real, d_fake = self.scores(batch)
        log = {"real": lsgan(d_real, 1.0), "fake": lsgan(d_fake, 0.0)}
        return Terms((log["real"] + log["fake"]) / 2, log)

    def scores(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """D_k's scores of real and of generated images."""
        real, fake = (self.D(self.d_input(batch, x), self.level) for x in (batch.real, batch.fake))
        return real, fake

    def d_input(self, batch: Batch, x: Tensor) -> Tensor:
        """Edges, images x and, from level 1 on, the images before, as channels."""
        low, edges = batch.get("low"), batch.edges
        edges = pooled(edges, 1) if low is None else edges
        return torch.cat([part.to(x.dtype) for part in (edges, x, low) if part is not None], 1)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Images [N, C, H, W] of sketches x, whose channels are averaged.

        Levels that are not trained yet only enlarge.
        """
        sketch = x.mean(1, keepdim=True)
        image = self.G(pooled(sketch, self.levels - 1), None, 0)
        for level in range(1, self.levels + 1):
            trained = level <= self.level
            edges = pooled(sketch, self.levels - level)
            image = self.enlarged(image, edges, level) if trained else doubled(image)
        return image

    def enlarged(self, low: Tensor, edges: Tensor, level: int) -> Tensor:
        """Images of a level, patch by patch: [N, C, H, W].

        low: images of the level before, [N, C, H/2, W/2]
        edges: [N, 1, H, W]
        """
        (n, channels), size = low.shape[:2], edges.shape[2:]
        patch = [min(self.side, length) for length in size]
        image, weight = low.new_zeros(n, channels, *size), low.new_zeros(1, 1, *size)
        lefts = starts(size[1], patch[1], self.margin)
        for top in starts(size[0], patch[0], self.margin):
            rows = slice(top, top + patch[0])
            for first in range(0, len(lefts), AT_ONCE):
                spans = [slice(left, left + patch[1]) for left in lefts[first : first + AT_ONCE]]
                e = torch.cat([edges[:, :, rows, span] for span in spans])
                halves = slice(rows.start // 2, rows.stop // 2)
                u = torch.cat(
                    [low[:, :, halves, span.start // 2 : span.stop // 2] for span in spans]
                )
                made = self.G(e, doubled(u), level).to(image.dtype)
                for part, span in zip(made.split(n), spans, strict=True):
                    inner = middle(rows, size[0], self.margin), middle(span, size[1], self.margin)
                    own = [
                        slice(i.start - s.start, i.stop - s.start)
                        for i, s in zip(inner, (rows, span))
                    ]
                    image[:, :, inner[0], inner[1]] += part[:, :, own[0], own[1]]
                    weight[:, :, inner[0], inner[1]] += 1
        return image / weight


def pooled(x: Tensor, halvings: int) -> Tensor:
    """Means of squares of 2^`halvings` pixels of images x."""
    return avg_pool2d(x, 1 << halvings) if halvings else x


def doubled(x: Tensor) -> Tensor:
    """Images x at twice their size, bilinearly."""
    return interpolate(x, scale_factor=2, mode="bilinear")


def starts(length: int, patch: int, margin: int) -> list[int]:
    """Even starts of patches whose middles cover a length."""
    stride = max((patch - 2 * margin) // 2 * 2, 2)
    return [*range(0, length - patch, stride), length - patch]


def middle(span: slice, length: int, margin: int) -> slice:
    """The part of a patch that counts: its margin does at the image's border only."""
    start = span.start + (margin if span.start else 0)
    return slice(start, span.stop - (margin if span.stop < length else 0))
