"""Unpaired translation by a class-conditional GAN and an encoder, Dong et al."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, mse_loss

from ganvas.core import Batch, Clock, Length, Plan, Shape, Stage, Terms, Update, rng
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.objectives.adversarial import bce, discriminator_log

DOMAINS = ("a", "b")  # by label


@final
class Dong2017(NoiseToImage):
    """Unsupervised Image-to-Image Translation with Generative Adversarial Networks.

    Dong et al., 2017, arXiv:1701.02676.

    L_D = -E[log D(x)] - E[log(1 - D(G(z, c)))] - E[log P(c | x)]
    L_G = -E[log D(G(z, c))] - E[log P(c | G(z, c))]
    L_E = E |E(G(z, c)) - z|^2
    translation of x to c:   G(E(x), c)

    Three steps in one run. First, one generator learns both domains; a learned vector
    selects the domain (an AC-GAN, arXiv:1610.09585). The content of z tends to be
    common to both. Then, with G frozen, an encoder learns to predict z from G's images.
    The third step trains nothing: E encodes a real image and G draws it in the other
    domain.

    Half of the images of each turn belong to each domain. G moves `g_steps` times for
    each move of D, with the same z (the authors' code).

    Differs from the paper: real images are not zoomed and rotated by a few degrees, as
    the authors' code does, and images of other sizes are resized to the networks' size
    and back. Networks and losses are theirs, as far as their code shows.
    """

    ema_networks = ("G", "E")
    classes = len(DOMAINS)
    domains: Sequence[str] = DOMAINS
    directions: Sequence[str] = ("b", "a")
    multiple = 1

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        E: Callable[..., nn.Module],
        game: Length,
        g_steps: int = 2,
        noise: Literal["uniform", "normal"] = "uniform",
    ) -> None:
        """Build the networks for `shape`.

        game: length of the first step in images of each domain; then the encoder learns
        g_steps: G's updates for each update of D
        noise: z ~ U(-1, 1) or N(0, 1)
        """
        super().__init__()
        require_positive(g_steps=g_steps)
        self.G = G(size=shape.size, channels=shape.channels, classes=self.classes)
        self.D = D(size=shape.size, channels=shape.channels, classes=self.classes)
        self.E = E(size=shape.size, channels=shape.channels, latent=self.G.latent)
        self.size, self.game, self.g_steps, self.noise = shape.size, game, g_steps, noise
        self.curve = "linear" if noise == "uniform" else "spherical"
        self.players = {"G": [self.G], "D": [self.D], "E": [self.E]}

    def stage(self, clock: Clock) -> Stage:
        """0: the game, for `game` images of each domain; 1: the encoder."""
        return Stage(int(clock.images >= self.game))

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """Two steps of the paper: the game, then the encoder with G frozen."""
        real = next(batches)
        turn = real.having(z=self.latent(2 * len(real)).unflatten(0, (-1, 2)))  # a z per domain
        if self.current_stage.index == 1:
            self.G.eval()
            yield Update("E", self.e_loss, turn)
            return
        yield Update("D", self.d_loss, turn)
        for _ in range(self.g_steps):
            yield Update("G", self.g_loss, turn)

    def d_loss(self, turn: Batch) -> Terms:
        """L_D. P(c | x) is learned from real images alone."""
        x = torch.cat([turn.a, turn.b])
        c = torch.arange(2, device=self.device).repeat_interleave(len(turn))
        d_real, class_logits = self.discriminate(x)
        d_fake, _ = self.discriminate(self.fake(turn)[0])
        named = cross_entropy(class_logits, c)
        loss = bce(d_real, True) + bce(d_fake, False) + named
        return Terms(loss, {"named": named, **discriminator_log(d_real, d_fake)})

    def g_loss(self, turn: Batch) -> Terms:
        """L_G."""
        fake, c = self.fake(turn)
        d_fake, class_logits = self.discriminate(fake)
        named = cross_entropy(class_logits, c)
        return Terms(bce(d_fake, True) + named, {"named": named})

    def e_loss(self, turn: Batch) -> Terms:
        """L_E, as the mean over the numbers of z."""
        return Terms(mse_loss(self.E(self.fake(turn)[0]).float(), turn.z.flatten(0, 1)))

    def fake(self, turn: Batch) -> tuple[Tensor, Tensor]:
        """(images, their domains): one image of each domain for each row."""
        c = torch.arange(2, device=self.device).repeat(len(turn))
        return self.G(turn.z.flatten(0, 1), c), c

    def discriminate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(logits of real or generated, logits of the domain)."""
        logits, class_logits = self.D(x)
        return logits, class_logits.float()

    def latent(self, n: int) -> Tensor:
        """U(-1, 1) or N(0, 1), [n, latent]."""
        if self.noise == "normal":
            return super().latent(n)
        return 2 * rng.uniform(n, self.G.latent, device=self.device) - 1

    def encode(self, x: Tensor) -> Tensor:
        """E's prediction of z, [N, latent], for images of the networks' size."""
        return self.E(x)

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """G(E(x), c), resized to the networks' size and back."""
        c = torch.full((len(x),), DOMAINS.index(to), device=self.device)
        return _resize(self.G(self.encode(_resize(x, self.size)), c), x.shape[-2:])


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Images [N, C, H, W] stretched to `size`, height and width."""
    if x.shape[-2:] == size:
        return x
    return interpolate(x, size=tuple(size), mode="bilinear", antialias=True)
