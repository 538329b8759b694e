"""ProGAN: growth from 4x4 px to the full resolution, with the loss of WGAN-GP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganvas.core import Batch, Clock, Length, Plan, Shape, Stage, Terms, Update
from ganvas.methods.base import NoiseToImage
from ganvas.nets.conditional import num_classes
from ganvas.nets.progan import Growth, faded_reals
from ganvas.objectives.penalties import gradient_penalty


@final
class ProGAN(NoiseToImage):
    """Progressive Growing of GANs for Improved Quality, Stability, and Variation.

    Karras et al., 2017, arXiv:1710.10196.

    Training starts at 4x4 px. Each further resolution fades in over `fade` images and
    then holds for `hold` images (section 2 and figure 2): in G, in D and in the reals,
    whose details are blended in by the same alpha. The loss is WGAN-GP's with a drift
    term that keeps the critic's output near 0 (appendix A.1):

    L = E[D(G(z))] - E[D(x)] + gp_weight E[(|grad D(x_hat)| - 1)^2] + drift E[D(x)^2]

    With `labels`, G takes the class, and both networks' losses include the cross
    entropy of D's class prediction (the authors' code, after AC-GAN, arXiv:1610.09585).

    The optimizers start afresh whenever a fade begins or ends, as in the authors' code
    (tkarras/progressive_growing_of_gans, 2504c3f).

    Differs from the paper: only where the authors' code goes beyond its text. D takes
    means of 2x2 after LeakyReLU, as table 2 has it; the code by default before its bias
    and LeakyReLU. The first linear layer of G has a bias for each of its outputs
    (512 x 4 x 4), in the code for each of the 512 channels: 7,680 weights more. The
    phase (resolution, alpha) is looked up for every minibatch, there for every fourth.
    """

    G: Any  # a network with `latent`, the length of z, and `resolutions` in px

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        fade: Length = 600_000,
        hold: Length = 600_000,
        start: int | None = None,
        batches: Mapping[int, int] | None = None,
        gp_weight: float = 10.0,
        drift: float = 0.001,
        labels: bool = False,
        label_weight: float = 1.0,
    ) -> None:
        """Build the networks for `shape`.

        fade, hold: images per phase
        start: resolution at which growth begins; None: the networks' smallest; their
            largest: nothing grows
        batches: resolution -> batch size, if it is not the run's
        labels: train with classes; needs labeled data
        label_weight: weight of the cross entropy of the classes
        """
        super().__init__()
        self.classes = num_classes(labels, shape.classes)
        g_labels = {"classes": self.classes} if labels else {}
        d_labels = {"names": self.classes} if labels else {}
        self.G = G(size=shape.size, channels=shape.channels, **g_labels)
        self.D = D(size=shape.size, channels=shape.channels, **d_labels)
        self.label_weight = label_weight
        self.growth = Growth(self.G.resolutions, fade, hold, start, batches)
        self.gp_weight, self.drift = gp_weight, drift
        self.players = {"G": [self.G], "D": [self.D]}

    def stage(self, clock: Clock) -> Stage:
        """The resolution and alpha that `growth` gives."""
        return self.growth(clock)

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One update of D and one of G (n_critic = 1, appendix A.1)."""
        real = next(batches)
        yield Update("D", self.d_loss, real)
        yield Update("G", self.g_loss, real)

    def d_loss(self, real: Batch) -> Terms:
        """L, and the cross entropy of the classes of real and generated images."""
        x = faded_reals(real.x, self.current_stage.alpha)
        fake = self.sample(len(real), y=real.get("y"))
        d_real, named_real = self.discriminate(x, real)
        d_fake, named_fake = self.discriminate(fake, real)
        gp = gradient_penalty(self.score, x, fake)
        wasserstein = d_real.mean() - d_fake.mean()
        loss = -wasserstein + self.gp_weight * gp + self.drift * d_real.square().mean()
        log = {"wasserstein": wasserstein, "gp": gp}
        if self.classes:
            loss = loss + self.label_weight * (named_real + named_fake)
            log["named"] = named_real
        return Terms(loss, log)

    def g_loss(self, real: Batch) -> Terms:
        """-E[D(G(z))], and the cross entropy of the classes."""
        scores, named = self.discriminate(self.sample(len(real), y=real.get("y")), real)
        return Terms(-scores.mean() + self.label_weight * named)

    def discriminate(self, x: Tensor, real: Batch) -> tuple[Tensor, Tensor]:
        """Scores of x, and the cross entropy of its classes with those of `real`.

        Without labels the latter is 0.
        """
        out = self.D(x, alpha=self.current_stage.alpha)
        if not self.classes:
            return out.float(), x.new_zeros(())
        return out[0].float(), cross_entropy(out[1].float(), real.y)

    def score(self, x: Tensor) -> Tensor:
        """Scores [N] of images x [N, C, H, W] at the current alpha."""
        out = self.D(x, alpha=self.current_stage.alpha)
        return out[0] if self.classes else out

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Images at the current resolution and alpha."""
        z = self.latent(n) if z is None else z
        labels, stage = self.sample_labels(n, y), self.current_stage
        return self.G(z, *labels, resolution=stage.resolution, alpha=stage.alpha)
