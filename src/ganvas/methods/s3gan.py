"""S3GAN: conditional generation with labels for a few images."""

# pyright: reportPossiblyUnboundVariable=false
# `updates` uses `batch` after a loop of at least one turn.

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from ganvas.core import Batch, Clock, Length, Plan, Shape, Stage, Terms, Update, distributed
from ganvas.core.errors import ConfigError
from ganvas.methods.base import NoiseToImage, require_positive
from ganvas.nets.conditional import num_classes
from ganvas.nets.s3gan import ROTATIONS, Reading
from ganvas.objectives.adversarial import hinge, mean_sign
from ganvas.objectives.precision import wide

Guess = Literal["none", "hard", "soft"]


@final
class S3GAN(NoiseToImage):
    """High-Fidelity Image Generation With Fewer Labels.

    Lucic et al., 2019, arXiv:1903.02271.

    L_D = hinge(D(x, y)) + hinge(D(G(z, y'), y')) + d_rotation E[-log Q(R = r | x^r)]
    L_G = -E[D(G(z, y'), y')] + g_rotation E[-log Q(R = r | G(z, y')^r)]   (section 3.3)

    BigGAN's game, in which only some images have labels. D's features also tell by
    which of four angles r an image is turned, which needs no label; and the labels that
    are missing are guessed:

    with `C`       by a classifier of its own, which learns labels and rotations before
                   the game and stays as it is then (S2GAN, S3GAN; section 3.2)
    without `C`    by a head of D, which learns with it (the co-trained variants, -CO)
    guess="none"   not at all: D's score of such an image does without a label

    `d_rotation=0 g_rotation=0` is S2GAN. `labels=false` is a game without any labels
    (SSGAN, arXiv:1811.11212), `data.labeled` the share of the images with a label.

    Differs from the paper: C has D's layers and learns within the run (there: a ResNet
    by S4L, whose guesses are written to files before). Batch norm has running averages
    and gains of 1 + gamma, as here in BigGAN. Every fourth image is turned (the last
    quarter of a batch in google/compare_gan).
    """

    partial_labels = True
    D: Any  # a `nets.s3gan.Discriminator`
    C: Any  # a `nets.s3gan.Classifier`, or None

    def __init__(
        self,
        shape: Shape,
        G: Callable[..., nn.Module],
        D: Callable[..., nn.Module],
        C: Callable[..., nn.Module] | None = None,
        guess: Guess = "hard",
        n_critic: int = 2,
        pretrain: Length = 0,
        d_rotation: float = 1.0,
        g_rotation: float = 0.2,
        class_weight: float = 1.0,
        turn_every: int = ROTATIONS,
        labels: bool = True,
    ) -> None:
        """Build the networks for `shape`.

        C: classifier that guesses missing labels; None: a head of D does
        guess: the likeliest class, the probabilities of all, or no guess
        n_critic: D's updates for each update of G, each with its own images
        pretrain: images from which C learns before the game
        d_rotation, g_rotation: weights of the rotations' loss in D and in G
        class_weight: of the classes' loss in the network that guesses
        turn_every: every n-th image is turned, counted in each process and micro-batch.
            If their sizes are multiples of n, several train as one process does
        labels: False: a game without any labels
        """
        super().__init__()
        require_positive(n_critic=n_critic, turn_every=turn_every)
        if guess == "none":
            C = None
        if C is not None and not labels:
            raise ConfigError(
                "labels=false leaves the classifier C nothing to guess: take the recipe "
                "s3gan_cotrained, which has none"
            )
        self.classes = num_classes(labels, shape.classes)
        sizes = {"size": shape.size, "channels": shape.channels, "classes": self.classes}
        if C is not None and pretrain < 1:
            raise ConfigError(
                f"pretrain is {pretrain}: the classifier C would guess labels before it has "
                "learned any; give the images that it learns from, --set pretrain=100000"
            )
        self.guess = guess
        self.G = G(**sizes)
        self.D = D(**sizes, reads_classes=C is None and guess != "none")
        self.C = None if C is None else C(**sizes)
        self.n_critic, self.pretrain, self.turn_every = n_critic, pretrain, turn_every
        self.d_rotation, self.g_rotation = d_rotation, g_rotation
        self.class_weight = class_weight
        self.players = {"G": [self.G], "D": [self.D]}
        if self.C is not None:
            self.players["C"] = [self.C]

    def stage(self, clock: Clock) -> Stage:
        """0: C learns; 1: the game."""
        return Stage(int(self.C is None or clock.images >= self.pretrain))

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step of C; or `n_critic` updates of D and one of G (section 3.3)."""
        if self.current_stage.index == 0:
            yield Update("C", self.c_loss, self.weighted(next(batches)))
            return
        for _ in range(self.n_critic):
            batch = self.weighted(next(batches))
            yield Update("D", self.d_loss, batch)
        yield Update("G", self.g_loss, batch)

    def weighted(self, real: Batch) -> Batch:
        """The batch with weights for the mean over labeled images of all ranks."""
        if not self.classes:
            return real
        labeled = (real.y >= 0).float()
        share = distributed.mean(labeled.mean())
        return real.having(labeled=labeled / share.clamp(min=1e-6))

    def c_loss(self, real: Batch) -> Terms:
        """Cross entropy of the known labels and of the rotations (section 3.2)."""
        reading, turned = self.read(self.C, real.x)
        assert reading.classes is not None
        log = {"c_rotation": turned, "c_classes": self.class_loss(reading.classes, real)}
        return Terms(self.class_weight * log["c_classes"] + log["c_rotation"], log)

    def d_loss(self, real: Batch) -> Terms:
        """L_D, and the classes' cross entropy if D guesses labels."""
        y = self.sample_labels(len(real))
        fake = self.G(self.latent(len(real)), *y)
        reading, rotation = self.read(self.D, real.x, self.d_rotation)
        d_real = self.D.score(reading.features, *self.completed(real, reading.classes))
        d_fake = self.D.score(self.D(fake).features, *y)
        log = {"sign": mean_sign(d_real), "rotation": rotation}
        loss = hinge(d_real, True) + hinge(d_fake, False) + self.d_rotation * rotation
        if reading.classes is not None:
            log["classes"] = self.class_loss(reading.classes, real)
            loss = loss + self.class_weight * log["classes"]
        return Terms(loss, log)

    def g_loss(self, real: Batch) -> Terms:
        """L_G."""
        y = self.sample_labels(len(real))
        fake = self.G(self.latent(len(real)), *y)
        reading, rotation = self.read(self.D, fake, self.g_rotation)
        score = wide(self.D.score(reading.features, *y)).mean()
        return Terms(self.g_rotation * rotation - score, {"g_rotation": rotation})

    def read(
        self, network: Callable[[Tensor], Reading], x: Tensor, weight: float = 1.0
    ) -> tuple[Reading, Tensor]:
        """(the network's `Reading` of images x, its loss on turned ones).

        weight: 0 turns no image, and the loss is 0
        """
        reading = network(x)
        if not weight:
            return reading, x.new_zeros(())
        chosen = x[:: self.turn_every]
        turned = torch.cat([torch.rot90(chosen, k, (2, 3)) for k in range(1, ROTATIONS)])
        logits = torch.cat([reading.rotation[:: self.turn_every], network(turned).rotation])
        angles = torch.arange(ROTATIONS, device=x.device).repeat_interleave(len(chosen))
        return reading, cross_entropy(wide(logits), angles)

    def class_loss(self, logits: Tensor, real: Batch) -> Tensor:
        """Cross entropy, mean over the labeled images of a `weighted` batch."""
        losses = cross_entropy(wide(logits), real.y.clamp(min=0), reduction="none")
        return (losses * real.labeled).mean()

    def scores_of(self, output: object) -> None:
        """D gives features; `D.score` scores them."""

    def completed(self, real: Batch, logits: Tensor | None) -> tuple[Tensor, ...]:
        """Labels for D's score: () without classes, else (known or guessed,).

        logits: D's own of the classes
        """
        if not self.classes or self.guess == "none":
            return self.conditioning(real)
        with torch.no_grad():
            if self.C is not None:
                logits = self.C.eval()(real.x).classes
            assert logits is not None
            if self.guess == "hard":
                return (torch.where(real.y >= 0, real.y, logits.argmax(1)),)
            known = one_hot(real.y.clamp(min=0), self.classes).float()
            return (torch.where((real.y >= 0)[:, None], known, wide(logits).softmax(1)),)
