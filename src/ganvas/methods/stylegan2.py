"""StyleGAN2: styles without growth, with path length regularization."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

import torch
from torch import Tensor, nn

from ganvas.core import Batch, Clock, Plan, Shape, Terms, Update, distributed, rng
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.nets.conditional import num_classes
from ganvas.nets.stylegan import mixed
from ganvas.objectives.adversarial import bce, mean_sign
from ganvas.objectives.penalties import path_lengths, r1


@final
class StyleGAN2(NoiseToImage):
    """Analyzing and Improving the Image Quality of StyleGAN.

    Karras et al., 2019, arXiv:1912.04958.

    Nothing grows. The loss of 2014 with -log D for the generator, styles mixed as in
    StyleGAN, and two penalties. Each penalty is a turn of its own, once every so often
    and at as many times its weight (section 3.1 and appendix B):

    R1:          r1_weight / 2 E[|grad D(x)|^2] on real images
    path length: pl_weight E[(|J_w^T y| - a)^2],  y ~ N(0, 1) / sqrt(pixels),
                 a the mean of |J_w^T y| so far                             (equation 4)

    The optimizers' rate and betas must be scaled for it: by i / (i + 1) and to that
    power; i is the interval.

    Differs from the paper: every turn draws its own noise while the real images are
    those of the step, and path lengths are computed on every `pl_shrink`th of them, as
    in the authors' code. The layer at which styles change is drawn for every image (the
    code: for every batch). Samples use the same noise every time, so that a seed names
    an image. `labels`, False in the paper, gives the class to the mapping network and
    to D as a projection (StyleGAN2-ADA, arXiv:2006.06676).
    """

    G: Any  # a `nets.stylegan2.Generator`
    pl_mean: Tensor

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        r1_weight: float = 10.0,
        r1_every: int = 16,
        pl_weight: float = 2.0,
        pl_every: int = 4,
        pl_decay: float = 0.01,
        pl_shrink: int = 2,
        mixing: float = 0.9,
        w_decay: float = 0.995,
        labels: bool = False,
    ) -> None:
        """Build the networks for `shape`.

        r1_weight, pl_weight: weights of the penalties; 0: no such turn
        r1_every, pl_every: steps from one such turn to the next
        pl_decay: weight of the latest path lengths in their mean
        pl_shrink: path lengths use every this many-th image
        mixing: fraction of images with mixed styles, 0 to 1
        w_decay: decay of the mean of w, per step
        labels: train within each class; needs labeled data
        """
        super().__init__()
        require_positive(r1_every=r1_every, pl_every=pl_every, pl_shrink=pl_shrink)
        self.classes = num_classes(labels, shape.classes)
        self.G = G(size=shape.size, channels=shape.channels, classes=self.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=self.classes)
        self.r1_weight, self.r1_every = r1_weight, r1_every
        self.pl_weight, self.pl_every = pl_weight, pl_every
        self.pl_decay, self.pl_shrink = pl_decay, pl_shrink
        self.mixing, self.w_decay = mixing, w_decay
        self.register_buffer("pl_mean", torch.zeros(()))
        self.players = {"G": [self.G.mapping, self.G.synthesis], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """G, its path lengths, D, its R1; the mean of w follows G's turn."""
        real = next(batches)
        outputs = (yield Update("G", self.g_loss, real)).outputs
        self.G.follow(outputs["w"], self.w_decay)
        if self.pl_weight and clock.step % self.pl_every == 0:
            outputs = (yield Update("G", self.path_penalty, real[:: self.pl_shrink])).outputs
            self.pl_mean.copy_(self.mean_length(outputs["lengths"]))
        yield Update("D", self.d_loss, real)
        if self.r1_weight and clock.step % self.r1_every == 0:
            yield Update("D", self.r1_penalty, real)

    def g_loss(self, real: Batch) -> Terms:
        """-E[log D(G(z))]; returns the styles w [N, d] of its images."""
        w = self.mixed_styles(real)
        fake = self.G.synthesis(w)
        return Terms(bce(self.score(fake, real), True), outputs={"w": w[:, 0].detach()})

    def path_penalty(self, real: Batch) -> Terms:
        """`pl_every` pl_weight E[(|J_w^T y| - a)^2] (equation 4)."""
        lengths = path_lengths(self.G.synthesis, self.mixed_styles(real))
        penalty = (lengths - self.mean_length(lengths.detach())).square().mean()
        return Terms(
            self.pl_weight * self.pl_every * penalty,
            {"path_length": lengths.mean(), "path_penalty": penalty},
            {"lengths": lengths.detach()},
        )

    def d_loss(self, real: Batch) -> Terms:
        """-E[log D(x)] - E[log(1 - D(G(z)))]."""
        d_real = self.score(real.x, real)
        d_fake = self.score(self.G.synthesis(self.mixed_styles(real)), real)
        return Terms(bce(d_real, True) + bce(d_fake, False), {"sign": mean_sign(d_real)})

    def r1_penalty(self, real: Batch) -> Terms:
        """`r1_every` r1_weight / 2 E[|grad D(x)|^2] (appendix B)."""
        penalty = r1(lambda x: self.score(x, real), real.x)
        return Terms(self.r1_weight / 2 * self.r1_every * penalty, {"r1": penalty})

    def mean_length(self, lengths: Tensor) -> Tensor:
        """Mean of path lengths over all ranks, moved by `pl_decay` towards these."""
        return torch.lerp(self.pl_mean, distributed.mean(lengths.mean()), self.pl_decay)

    def mixed_styles(self, real: Batch) -> Tensor:
        """Mixed styles w [N, layers, d] for the classes of `real`."""
        y = real.y if self.classes else None
        w = self.styles(self.latent(len(real)), y)
        if not self.mixing:
            return w
        return mixed(w, self.styles(self.latent(len(real)), y), self.mixing)

    def score(self, x: Tensor, real: Batch) -> Tensor:
        """Logits of images x, for the classes of `real`."""
        return self.D(x, *self.conditioning(real))

    def latent(self, n: int) -> Tensor:
        """N(0, 1), [n, latent]; the mapping network puts it on the hypersphere."""
        return super().latent(n)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Untruncated images, with fixed noise."""
        return self.truncated(self.latent(n) if z is None else z, 1.0, y)

    @property
    def layers(self) -> int:
        """Layers of G that take a style."""
        return self.G.layers

    def styles(self, z: Tensor, y: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Truncated in all layers; None: random labels."""
        if self.classes and y is None:
            y = rng.integers(len(z), self.classes, device=self.device)
        return self.G.truncated(self.G.styles(z, y), truncation)

    def synthesize(self, w: Tensor) -> Tensor:
        """Images with fixed noise."""
        return self.G.synthesis(w, noise=self.G.synthesis.fixed_noise())

    def mean_style(self) -> Tensor:
        """The moving average of w in training, [d]."""
        return self.G.w_avg

    def truncated(self, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        """1: untruncated; 0: the image of the mean of w."""
        return self.synthesize(self.styles(z, y, truncation))
