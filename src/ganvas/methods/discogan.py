from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from ganvas.core import Batch, Clock, Method, Plan, Shape, Terms, Update
from ganvas.objectives.adversarial import bce, discriminator_log
from ganvas.objectives.feature_matching import mean_features


@final
class DiscoGAN(Method):
    """Learning to Discover Cross-Domain Relations with Generative Adversarial Networks. Kim et al., 2017, arXiv:1703.05192.

    L_G = (1 - r) (gan_weight L_GAN(G_ab, D_b) + features_weight L_FM(G_ab, D_b)) + r |G_ba(G_ab(a)) - a|^2
        + the same from b to a                                                                            (section 2)

    L_GAN is the cross entropy and L_FM feature matching on D's inner layers (the authors' code). Of three iterations, each with
    images of its own, D takes the first and G the others. r is small for the first iterations, so that G learns to make
    pictures of the other domain before it learns to come back.

    The paper's two other models are here to compare with: `gan` goes from a to b alone and never back, `recongan` comes back
    but is not judged there.

    Differs from the paper: the weights, r, feature matching and who moves when are the authors' code's, on which the paper is
    silent; translation uses batch norm's running statistics, theirs those of the test batch.
    """

    ema_networks = ("G_ab", "G_ba")
    discriminators = ("D_a", "D_b")
    directions: Sequence[str] = ("b", "a")
    G_ab: Any  # a network that tells what its images' sides must be multiples of as `multiple`

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        model: Literal["discogan", "recongan", "gan"] = "discogan",
        gan_weight: float = 0.1,
        features_weight: float = 0.9,
        early: float = 0.01,
        late: float = 0.5,
        curriculum: int = 10_000,
        d_every: int = 3,
    ) -> None:
        """`early`, `late`: r in the first `curriculum` iterations (D's and G's alike), and after them. `d_every`: D takes every
        so manieth iteration. D gives (logits, features)."""
        super().__init__()
        self.G_ab, self.G_ba = (G(channels_in=shape.channels, channels_out=shape.channels) for _ in range(2))
        self.D_a, self.D_b = (D(size=shape.size, channels=shape.channels) for _ in range(2))
        self.model, self.gan_weight, self.features_weight = model, gan_weight, features_weight
        self.early, self.late, self.curriculum, self.d_every = early, late, curriculum, d_every
        self.multiple: int = self.G_ab.multiple
        self.directions = ("b", "a") if model == "discogan" else ("b",)
        self.players = {"G": [self.G_ab, self.G_ba], "D": [self.D_a, self.D_b]}

    def updates(self, clock: Clock, feed: Iterator[Batch]) -> Plan:
        """`d_every` iterations of the authors' code."""
        first = clock.step * self.d_every
        yield Update("D", self.d_loss, next(feed))
        for iteration in range(first + 1, first + self.d_every):
            r = self.early if iteration < self.curriculum else self.late
            yield Update("G", [partial(self.g_loss, to=to, r=r) for to in self.directions], next(feed))

    def g_loss(self, real: Batch, to: str, r: float) -> Terms:
        """From one domain to the other, and back."""
        x, y, there, back, D = self.towards(real, to)
        fake = there(x)
        (_, wanted), (logits, got) = D(y), D(fake)
        log = {"adversarial": bce(logits, True), "features": mean_features(got, wanted)}
        loss = self.gan_weight * log["adversarial"] + self.features_weight * log["features"]
        if self.model == "gan":
            return Terms(loss, log)
        log["reconstruction"] = mse_loss(back(fake), x) / 4  # of pixels in [0, 1], as the authors have them
        return Terms((1 - r) * loss + r * log["reconstruction"], log)

    def d_loss(self, real: Batch) -> Terms:
        """Each discriminator judges by itself, so one descent of the sum is a descent of both."""
        losses, judged = {}, []
        for to in self.directions:
            x, y, there, _, D = self.towards(real, to)
            (d_real, _), (d_fake, _) = D(y), D(there(x))
            losses[to] = (bce(d_real, True) + bce(d_fake, False)) / 2
            judged.append(discriminator_log(d_real, d_fake))
        means = {name: torch.stack([one[name] for one in judged]).mean() for name in judged[0]}
        return Terms(torch.stack(list(losses.values())).sum(), {**losses, **means})

    def towards(self, real: Batch, to: str) -> tuple[Tensor, Tensor, nn.Module, nn.Module, nn.Module]:
        """Images of the domain that one comes from, of that one goes to, the generators there and back, and the judge there."""
        if to == "b":
            return real.a, real.b, self.G_ab, self.G_ba, self.D_b
        return real.b, real.a, self.G_ba, self.G_ab, self.D_a

    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        return {"b": self.G_ab, "a": self.G_ba}[to](x)
