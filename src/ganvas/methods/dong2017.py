from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, mse_loss

from ganvas.core import Batch, Clock, Method, Plan, Shape, Stage, Terms, Update, rng
from ganvas.nets.conditional import draw_labels
from ganvas.objectives.adversarial import bce, discriminator_log

DOMAINS = ("a", "b")  # their places are their labels


@final
class Dong2017(Method):
    """Unsupervised Image-to-Image Translation with Generative Adversarial Networks. Dong et al., 2017, arXiv:1701.02676.

    L_D = -E[log D(x)] - E[log(1 - D(G(z, c)))] - E[log P(c | x)]
    L_G = -E[log D(G(z, c))] - E[log P(c | G(z, c))]
    L_E = E |E(G(z, c)) - z|^2
    translation of x to c:   G(E(x), c)

    Three steps in one run. First one generator learns both domains, told by a learned vector which of them to draw (an
    AC-GAN, arXiv:1610.09585): what z says tends to be common to both. Then, with G frozen, an encoder learns to tell from G's
    images the z that they were made of. The third step trains nothing: a real image is encoded, and drawn in the other domain.

    Of the images of each turn one half is of each domain. G moves `g_steps` times for each move of D, with the same z (the
    authors' code).

    Differs from the paper: nothing in the networks or the losses, as far as their code tells; real images are not zoomed and
    turned by a few degrees, as that code does. Images of other sizes are brought to the networks' and back.
    """

    ema_networks = ("G", "E")
    classes = len(DOMAINS)
    domains: Sequence[str] = DOMAINS
    directions: Sequence[str] = ("b", "a")
    multiple = 1
    G: Any  # a network that tells the length of its noise as `latent`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        E: Callable[..., nn.Module],
        game: int,
        g_steps: int = 2,
        noise: Literal["uniform", "normal"] = "uniform",
    ) -> None:
        """`game`: images of each domain that the first step lasts; the encoder learns from then on. `noise`: z ~ U(-1, 1) or
        N(0, 1)."""
        super().__init__()
        self.G = G(size=shape.size, channels=shape.channels, classes=self.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=self.classes)
        self.E = E(size=shape.size, channels=shape.channels, latent=self.G.latent)
        self.size, self.game, self.g_steps, self.noise = shape.size, game, g_steps, noise
        self.curve = "linear" if noise == "uniform" else "spherical"
        self.players = {"G": [self.G], "D": [self.D], "E": [self.E]}

    def stage(self, clock: Clock) -> Stage:
        return Stage(int(clock.images >= self.game))

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        real = next(feed)
        turn = real.having(z=self.latent(2 * len(real)).unflatten(0, (-1, 2)))  # a z for each domain
        if self.current_stage.index == 1:
            self.G.eval()
            yield Update("E", self.e_loss, turn)
            return
        yield Update("D", self.d_loss, turn)
        for _ in range(self.g_steps):
            yield Update("G", self.g_loss, turn)

    def d_loss(self, turn: Batch) -> Terms:
        x, c = torch.cat([turn.a, turn.b]), torch.arange(2, device=self.device).repeat_interleave(len(turn))
        (d_real, named), (d_fake, _) = self.judged(x), self.judged(self.fake(turn)[0])
        right = cross_entropy(named, c)
        return Terms(
            bce(d_real, True) + bce(d_fake, False) + right, {"named": right, **discriminator_log(d_real, d_fake)}
        )

    def g_loss(self, turn: Batch) -> Terms:
        fake, c = self.fake(turn)
        d_fake, named = self.judged(fake)
        right = cross_entropy(named, c)
        return Terms(bce(d_fake, True) + right, {"named": right})

    def e_loss(self, turn: Batch) -> Terms:
        return Terms(mse_loss(self.E(self.fake(turn)[0]).float(), turn.z.flatten(0, 1)))

    def fake(self, turn: Batch) -> tuple[Tensor, Tensor]:
        """(images, their domains): one of each domain for each row."""
        c = torch.arange(2, device=self.device).repeat(len(turn))
        return self.G(turn.z.flatten(0, 1), c), c

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, named = self.D(x)
        return logits, named.float()

    def latent(self, n: int) -> Tensor:
        """U(-1, 1) or N(0, 1), [n, latent]."""
        if self.noise == "normal":
            return rng.normal(n, self.G.latent, device=self.device)
        return 2 * rng.uniform(n, self.G.latent, device=self.device) - 1

    def sample(self, n: int, z: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        z = self.latent(n) if z is None else z
        return self.G(z, *draw_labels(n, self.classes, self.device, y))

    def encode(self, x: Tensor) -> Tensor:
        return self.E(x)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        c = torch.full((len(x),), DOMAINS.index(to), device=self.device)
        return _sized(self.G(self.encode(_sized(x, self.size)), c), x.shape[-2:])


def _sized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Images [N, C, H, W] stretched to `size`, height and width."""
    return x if x.shape[-2:] == size else interpolate(x, size=tuple(size), mode="bilinear", antialias=True)
