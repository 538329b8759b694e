"""StyleGAN3: a generator without aliasing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Plan, Shape, Terms, Update, distributed, rng
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.nets.conditional import num_classes
from ganvas.objectives.adversarial import bce, mean_sign
from ganvas.objectives.penalties import r1


@final
class StyleGAN3(NoiseToImage):
    """Alias-Free Generative Adversarial Networks (StyleGAN3).

    Karras et al., 2021, arXiv:2106.12423.

    The game of StyleGAN2 with R1, without noise, mixed styles and path lengths; what is
    new is the generator, whose images turn and shift with their input exactly, so that
    details do not stick to pixels. D is StyleGAN2's. `ganvas measure --also
    equivariance` tells how exactly they do (EQ-T, EQ-R).

    R1 is a turn of its own, once every `r1_every` steps and at as many times its
    weight, as in StyleGAN2, whose docstring says how the optimizer's rate and betas
    follow.

    Differs from the paper: D's images are not blurred over the first 200,000 images
    (the paper does that for configuration R). Moving averages of the layers' magnitudes
    follow in D's turn, as in the authors' code.
    """

    G: Any  # a `nets.stylegan3.Generator`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        r1_weight: float = 2.0,
        r1_every: int = 16,
        w_decay: float = 0.998,
        magnitude_images: int = 20_000,
        labels: bool = False,
    ) -> None:
        """Build the networks for `shape`.

        r1_weight: gamma; the paper's 2 is for 256 px
        r1_every: steps from one R1 turn to the next
        w_decay: decay of the mean of w, per step
        magnitude_images: half-life of the layers' magnitudes
        labels: train within each class; needs labeled data
        """
        super().__init__()
        require_positive(r1_every=r1_every)
        self.classes = num_classes(labels, shape.classes)
        self.G = G(size=shape.size, channels=shape.channels, classes=self.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=self.classes)
        self.r1_weight, self.r1_every, self.w_decay = r1_weight, r1_every, w_decay
        self.magnitude_images = magnitude_images
        self.players = {"G": [self.G.mapping, self.G.synthesis], "D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """G, then D, then now and then R1."""
        real = next(batches)
        outputs = (yield Update("G", self.g_loss, real)).outputs
        self.G.follow(outputs["w"], self.w_decay)
        yield Update("D", self.d_loss, real)
        if self.r1_weight and clock.step % self.r1_every == 0:
            yield Update("D", self.r1_penalty, real)

    def g_loss(self, real: Batch) -> Terms:
        """-E log D(G(z))."""
        w = self.G.styles(self.latent(len(real)), *self.conditioning(real))
        fake = self.G.synthesis(w)
        return Terms(bce(self.score(fake, real), True), outputs={"w": w[:, 0].detach()})

    def d_loss(self, real: Batch) -> Terms:
        """The loss of 2014; the layers' magnitudes follow."""
        w = self.G.styles(self.latent(len(real)), *self.conditioning(real))
        images = len(real) * distributed.world()
        fake = self.G.synthesis(w, decay=0.5 ** (images / self.magnitude_images))
        d_real, d_fake = self.score(real.x, real), self.score(fake, real)
        return Terms(bce(d_real, True) + bce(d_fake, False), {"sign": mean_sign(d_real)})

    def r1_penalty(self, real: Batch) -> Terms:
        """R1 at as many times its weight as steps pass between two."""
        penalty = r1(lambda x: self.score(x, real), real.x)
        return Terms(self.r1_weight / 2 * self.r1_every * penalty, {"r1": penalty})

    def score(self, x: Tensor, real: Batch) -> Tensor:
        """D's scores [N] of images, within the classes of the reals."""
        return self.D(x, *self.conditioning(real))

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Untruncated images [n, C, S, S] of latents and labels; None: drawn."""
        return self.truncated(self.latent(n) if z is None else z, 1.0, y)

    @property
    def layers(self) -> int:
        """Number of layers that take a style: the input, `depth` layers, and RGB."""
        return self.G.layers

    def styles(self, z: Tensor, y: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """As of `Styled`."""
        if self.classes and y is None:
            y = rng.integers(len(z), self.classes, device=self.device)
        return self.G.truncated(self.G.styles(z, y), truncation)

    def synthesize(self, w: Tensor) -> Tensor:
        """As of `Styled`."""
        return self.G.synthesis(w)

    def moved(self, w: Tensor, transform: Tensor) -> Tensor:
        """As of `Moves`; the input's own transform stays as it is."""
        own = self.G.synthesis.input.transform
        before = own.clone()
        try:
            own.copy_(before @ transform)
            return self.synthesize(w)
        finally:
            own.copy_(before)

    def mean_style(self) -> Tensor:
        """As of `Styled`."""
        return self.G.w_avg

    def truncated(self, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        """As of `Truncates`: styles moved towards their mean."""
        return self.synthesize(self.styles(z, y, truncation))
