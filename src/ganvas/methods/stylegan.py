"""StyleGAN: a style for every layer of a growing generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

from torch import Tensor, nn

from ganvas.core import Batch, Clock, Length, Plan, Shape, Stage, Terms, Update, rng
from ganvas.methods.base import NoiseToImage
from ganvas.nets.conditional import num_classes
from ganvas.nets.progan import Growth, faded_reals
from ganvas.nets.stylegan import mixed
from ganvas.objectives.adversarial import bce, mean_sign
from ganvas.objectives.penalties import r1


@final
class StyleGAN(NoiseToImage):
    """A Style-Based Generator Architecture for GANs.

    Karras, Laine and Aila, 2018, arXiv:1812.04948.

    ProGAN's growth (`nets/progan.py`) with a generator whose every layer takes a style
    w = f(z). In `mixing` of the images, the layers from a random one on take the style
    of another z (section 3.1). The loss of 2014 with -log D for the generator, and R1
    (appendix C):

    L_D = E[-log D(x)] + E[-log(1 - D(G(z)))] + r1_weight / 2 E[|grad D(x)|^2],
    L_G = E[-log D(G(z))]

    Truncation moves w towards its mean in the first 8 layers (appendix B).

    The optimizers start afresh whenever a fade begins or ends, as in the authors' code.

    Differs from the paper: the layer at which styles change is drawn for every image
    (the authors' code: for every batch). Samples use the same noise every time, so that
    a seed names an image. `labels`, False in the paper, gives the class to the mapping
    network and makes D output a score for each class (as the authors' code can).
    """

    G: Any  # a `nets.stylegan.Generator`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        fade: Length = 600_000,
        hold: Length = 600_000,
        start: int | None = 8,
        batches: Mapping[int, int] | None = None,
        rates: Mapping[int, float] | None = None,
        r1_weight: float = 10.0,
        mixing: float = 0.9,
        w_decay: float = 0.995,
        labels: bool = False,
    ) -> None:
        """Build the networks for `shape`.

        fade, hold, start, batches, rates: as of `Growth`; `start` is the longer side
        mixing: fraction of images with mixed styles, 0 to 1
        w_decay: decay of the mean of w, per step
        labels: train within each class; needs labeled data
        """
        super().__init__()
        self.classes = num_classes(labels, shape.classes)
        self.G = G(size=shape.size, channels=shape.channels, classes=self.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=self.classes)
        self.growth = Growth(self.G.resolutions, fade, hold, start, batches, rates)
        self.r1_weight, self.mixing, self.w_decay = r1_weight, mixing, w_decay
        self.players = {"G": [self.G.mapping, self.G.synthesis], "D": [self.D]}

    def stage(self, clock: Clock) -> Stage:
        """The resolution, alpha and rate that `growth` gives."""
        return self.growth(clock)

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """D, then G; the mean of w follows the styles of G's turn."""
        real = next(batches)
        yield Update("D", self.d_loss, real)
        outputs = (yield Update("G", self.g_loss, real)).outputs
        self.G.follow(outputs["w"], self.w_decay)

    def d_loss(self, real: Batch) -> Terms:
        """L_D."""
        x = faded_reals(real.x, self.current_stage.alpha)
        fake, _ = self.fake(real)
        d_real, d_fake = self.score(x, real), self.score(fake, real)
        penalty = r1(lambda x: self.score(x, real), x)
        loss = bce(d_real, True) + bce(d_fake, False) + self.r1_weight / 2 * penalty
        return Terms(loss, {"r1": penalty, "sign": mean_sign(d_real)})

    def g_loss(self, real: Batch) -> Terms:
        """L_G; returns the styles w [N, d] of its images."""
        fake, w = self.fake(real)
        return Terms(bce(self.score(fake, real), True), outputs={"w": w.detach()})

    def fake(self, real: Batch) -> tuple[Tensor, Tensor]:
        """(images of the reals' classes with mixed styles, the first w of each)."""
        y = real.y if self.classes else None
        w = self.styles(self.latent(len(real)), y)
        other = self.styles(self.latent(len(real)), y)
        return self.synthesis(mixed(w, other, self.mixing)), w[:, 0]

    def score(self, x: Tensor, real: Batch) -> Tensor:
        """Logits of images x at the current alpha, for the classes of `real`."""
        return self.D(x, real.y if self.classes else None, alpha=self.current_stage.alpha)

    def synthesis(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Images of styles at the current resolution. noise: as of G; None: drawn."""
        stage = self.current_stage
        more = {} if noise is None else {"noise": noise}
        return self.G.synthesis(w, resolution=stage.resolution, alpha=stage.alpha, **more)

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Untruncated images, with fixed noise."""
        return self.truncated(self.latent(n) if z is None else z, 1.0, y)

    @property
    def layers(self) -> int:
        """Layers that take a style at the current resolution."""
        resolution = self.current_stage.resolution
        if resolution is None:
            return self.G.layers
        return 2 * (1 + self.G.resolutions.index(resolution))

    def styles(self, z: Tensor, y: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Truncated in the first 8 layers (appendix B); None: random labels."""
        if self.classes and y is None:
            y = rng.integers(len(z), self.classes, device=self.device)
        return self.G.truncated(self.G.styles(z, y, self.layers), truncation, layers=8)

    def synthesize(self, w: Tensor) -> Tensor:
        """Images at the current resolution, with fixed noise."""
        return self.synthesis(w, noise=self.G.synthesis.fixed_noise())

    def mean_style(self) -> Tensor:
        """The moving average of w in training, [d]."""
        return self.G.w_avg

    def truncated(self, z: Tensor, truncation: float, y: Tensor | None = None) -> Tensor:
        """1: untruncated; 0: the image of the mean of w."""
        return self.synthesize(self.styles(z, y, truncation))
