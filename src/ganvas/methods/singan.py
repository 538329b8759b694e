"""SinGAN: a pyramid of pairs learned from one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss

from ganvas.core import Batch, Clock, Length, Plan, Shape, Stage, Terms, Update, rng
from ganvas.core.errors import UserError
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.objectives.penalties import pixel_gradient_penalty
from ganvas.objectives.precision import wide


@final
class SinGAN(NoiseToImage):
    """SinGAN: Learning a Generative Model from a Single Natural Image.

    Shaham et al., 2019, arXiv:1905.01164.

    A pyramid of pairs G_n, D_n, coarsest first; each is trained after those before it,
    which then stay as they are:

    min_G max_D  L_adv(G_n, D_n) + reconstruction_weight L_rec(G_n)         (equation 5)

    L_adv is WGAN-GP over patches, L_rec the squared error of the image that fixed noise
    z* gives (only the coarsest has any, equation 6). Finer noise is scaled by how far
    that reconstruction still is. One step of the clock is three updates of D_n and
    three of G_n.

    Differs from the paper: every update of G computes its images anew (in the authors'
    code three steps share one graph, which PyTorch refuses since 1.5). The penalty's
    norm is that of each pixel's gradient over channels, as there. Weights of a scale
    start from the scale before it where widths agree, as there. The number of scales is
    the nearest for `factor` (the authors' code: one or two more).
    """

    unaugmented = "all it learns from is one image"
    image: Tensor
    anchor: Tensor

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        images: Length = 2000,
        coarsest: int = 25,
        factor: float = 0.75,
        updates: int = 3,
        gp_weight: float = 0.1,
        reconstruction_weight: float = 10.0,
        noise: float = 0.1,
    ) -> None:
        """Build the networks for `shape`.

        images: of each scale; the rate falls to a tenth after four fifths
        coarsest: shorter side of the coarsest scale, about, in pixels
        factor: of the sides from one scale to the next coarser, about
        updates: of D and of G in each step
        gp_weight: lambda of WGAN-GP
        reconstruction_weight: alpha
        noise: of finer scales, relative to the reconstruction's error
        """
        super().__init__()
        require_positive(updates=updates)
        self.sizes = pyramid(shape.size, coarsest, factor)
        self.images, self.count = images, updates
        self.gp_weight, self.reconstruction_weight, self.noise = (
            gp_weight,
            reconstruction_weight,
            noise,
        )
        self.G: Any = G(scales=len(self.sizes), channels=shape.channels)
        self.D: Any = D(scales=len(self.sizes), channels=shape.channels)
        self.channels = shape.channels
        height, width = self.sizes[0]
        self.register_buffer("anchor", torch.randn(1, 1, height, width))  # z*
        self.register_buffer("image", torch.zeros(1, shape.channels, *shape.size))
        self.players = {"G": [self.G], "D": [self.D]}

    def stage(self, clock: Clock) -> Stage:
        """One stage for each scale, and one for its lower rate."""
        scale = min(clock.images // self.images, len(self.sizes) - 1)
        late = clock.images - scale * self.images >= 0.8 * self.images
        return Stage(scale, lr=0.1 if late else 1.0)

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Some updates of D_n, then as many of G_n, at the scale n of the stage."""
        real = next(batches)
        if clock.step == 0:
            self.image.copy_(real.x[:1])
        n = self.current_stage.index
        if not self.G.amplitudes[n]:
            self.begin(n)
        batch = Batch(x=self.resized(self.image, n))
        for _ in range(self.count):
            yield Update("D", self.d_loss, batch)
        for _ in range(self.count):
            yield Update("G", self.g_loss, batch)

    @torch.no_grad()
    def begin(self, n: int) -> None:
        """Set the noise of scale n, and start it from the weights of the one before."""
        if n == 0:
            self.G.amplitudes[0] = 1.0
            return
        self.G[n - 1].eval()  # it is finished
        error = mse_loss(self.resized(self.reconstruction(n - 1), n), self.resized(self.image, n))
        self.G.amplitudes[n] = self.noise * error.sqrt()
        for nets in (self.G, self.D):
            if nets[n].head.conv.weight.shape == nets[n - 1].head.conv.weight.shape:
                nets[n].load_state_dict(nets[n - 1].state_dict())

    def d_loss(self, batch: Batch) -> Terms:
        """WGAN-GP over patches of the current scale."""
        n = self.current_stage.index
        D, fake = self.D[n], self.compose(self.maps(self.latent(1)), n)
        difference = wide(D(batch.x)).mean() - wide(D(fake)).mean()
        penalty = pixel_gradient_penalty(D, batch.x, fake)
        loss = self.gp_weight * penalty - difference
        return Terms(loss, {"wasserstein": difference, "penalty": penalty})

    def g_loss(self, batch: Batch) -> Terms:
        """The adversarial loss, and the reconstruction from z* (equation 6)."""
        n = self.current_stage.index
        adversarial = -wide(self.D[n](self.compose(self.maps(self.latent(1)), n))).mean()
        reconstruction = mse_loss(self.reconstruction(n), batch.x)
        loss = adversarial + self.reconstruction_weight * reconstruction
        return Terms(loss, {"adversarial": adversarial, "reconstruction": reconstruction})

    def reconstruction(self, n: int) -> Tensor:
        """The image at scale n that z* gives."""
        zeros = [self.anchor.new_zeros(1, self.channels, h, w) for h, w in self.sizes[1:]]
        return self.compose([self.anchor, *zeros], n)

    def compose(self, maps: list[Tensor], n: int) -> Tensor:
        """The image at scale n of the noise maps of all scales, [N, C or 1, h, w] each.

        Scales before n are finished: they neither learn nor change.
        """
        height, width = self.sizes[0]
        x = maps[0].new_zeros(len(maps[0]), self.channels, height, width)
        for i in range(n + 1):
            x = self.resized(x, i)
            if i < n:
                self.G[i].eval()
            with torch.set_grad_enabled(torch.is_grad_enabled() and i == n):
                x = self.G[i](self.G.amplitudes[i] * maps[i], x)
        return x

    def at_size(self, size: tuple[int, int]) -> SinGAN:
        """The same networks for images of (height, width), with noise of that size.

        Every scale keeps its part of the sides, and so what its patches show.
        """
        other = copy(self)  # shares networks and buffers
        full = self.sizes[-1]
        other.sizes = [
            (max(round(h * size[0] / full[0]), 1), max(round(w * size[1] / full[1]), 1))
            for h, w in self.sizes
        ]
        return other

    def resized(self, x: Tensor, n: int) -> Tensor:
        """`x` at the size of scale n, bicubic with antialiasing."""
        if x.shape[2:] == self.sizes[n]:
            return x
        return interpolate(x, size=self.sizes[n], mode="bicubic", antialias=True)

    def latent(self, n: int) -> Tensor:
        """N(0, 1) for all scales, [n, latent]; one channel at the coarsest."""
        return rng.normal(n, sum(self._lengths()), device=self.device)

    def maps(self, z: Tensor) -> list[Tensor]:
        """The noise of each scale, [n, 1 or C, h, w]."""
        parts = z.split(self._lengths(), 1)
        return [part.view(len(z), -1, *size) for part, size in zip(parts, self.sizes, strict=True)]

    def _lengths(self) -> list[int]:
        areas = [h * w for h, w in self.sizes]
        return [areas[0], *(self.channels * area for area in areas[1:])]

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Images of the scales that are trained, at full size."""
        trained = max(int((self.G.amplitudes > 0).sum()) - 1, 0)
        x = self.compose(self.maps(self.latent(n) if z is None else z), trained)
        return self.resized(x, len(self.sizes) - 1).clamp(-1, 1)


def pyramid(size: tuple[int, int], coarsest: int, factor: float) -> list[tuple[int, int]]:
    """(height, width) of each scale, the shorter side from about `coarsest` to its own.

    The factor is fitted so that both ends are met. Raises `UserError` for values that
    make no pyramid.
    """
    short = min(size)
    if coarsest < 12 or not 0 < factor < 1:
        raise UserError(
            f"the coarsest scale must have at least 12 pixels, and the "
            f"factor lie between 0 and 1; got coarsest={coarsest} and factor={factor}"
        )
    if short <= coarsest:
        return [size]
    steps = max(round(math.log(coarsest / short) / math.log(factor)), 1)
    fitted = (coarsest / short) ** (1 / steps)
    return [
        (round(size[0] * fitted ** (steps - i)), round(size[1] * fitted ** (steps - i)))
        for i in range(steps + 1)
    ]
