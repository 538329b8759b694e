"""Open question 7: how far an image must be moved to fool a discriminator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from types import SimpleNamespace
from typing import final

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat, train
from ganvas.core import Batch, Clock, Method, Plan, Run, Shape, Terms, Update, rng
from ganvas.data import images as data
from ganvas.methods import DCGAN
from ganvas.nets import dcgan
from ganvas.objectives.adversarial import bce
from ganvas.objectives.penalties import r1

LETTERS = partial(data, "letters", size=32, labels=False)
ADAM = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
BATCH = 64
OPPONENT = 60_000  # images of the generator's training
TESTED = 256  # real images, and samples
LEVELS = 127.5  # gray levels of 1 in an image
BISECTIONS, MOVES = 9, 10  # of the size, and steps of an attack of one size
WIDEST = 256.0  # gray levels: every image
WEAK, STRONG = 0.3, 3.0  # gamma of R1

Direction = Callable[[nn.Module, Tensor], Tensor]


@cache
def opponent(seed: int) -> DCGAN:
    """The trained DCGAN whose samples all discriminators of a seed judge."""
    run = Run(
        method=partial(
            DCGAN,
            G=partial(dcgan.Generator, width=16),
            D=partial(dcgan.Discriminator, width=16, norm=False),
            r1_weight=WEAK,
            r1_every=4,
        ),
        data=LETTERS,
        optim=dict.fromkeys("GD", ADAM),
        batch=BATCH,
        images=OPPONENT,
    )
    with torch.random.fork_rng(devices=[]):  # it is trained when a discriminator first needs it
        return train(run, seed, name="opponent").model


def samples(seed: int, n: int, *draw: str | int) -> Tensor:
    """Images of the opponent, [n, 1, 32, 32]; the same for the same `draw`."""
    generator = torch.Generator().manual_seed(rng.fold_in(seed, *draw))
    G = opponent(seed).G
    with torch.no_grad():
        return G(torch.randn(n, G.latent, generator=generator))


class Opposed:
    """A feed of letters, `x`, and of an opponent's samples, `fake`."""

    info = SimpleNamespace(shape=Shape(channels=1, height=32, width=32))

    def __init__(self) -> None:
        self.letters = LETTERS()

    def draw(self, cursor: int, n: int, *, seed: int, **options: object) -> Batch:
        """As many letters as new samples."""
        x = self.letters.draw(cursor, n, seed=seed).x
        return Batch(x=x, fake=samples(seed, n, "fake", cursor))


@final
class Judge(Method):
    """A GAN's discriminator alone.

    r1_weight: gamma of R1, which is computed in every fourth step at four times its
        weight
    """

    ema_networks = ("D",)
    r1_every = 4

    def __init__(self, shape: Shape, r1_weight: float) -> None:
        super().__init__()
        self.D = dcgan.Discriminator(width=16, size=shape.size, channels=shape.channels, norm=False)
        self.r1_weight = r1_weight
        self.players = {"D": [self.D]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One update of D."""
        penalized = self.r1_weight and clock.step % self.r1_every == 0
        yield Update("D", self.penalized_loss if penalized else self.loss, next(batches))

    def loss(self, batch: Batch) -> Terms:
        """-E[log D(x)] - E[log(1 - D(fake))]."""
        return Terms(bce(self.D(batch.x), True) + bce(self.D(batch.fake), False))

    def penalized_loss(self, batch: Batch) -> Terms:
        """`loss` + `r1_weight` / 2 E[|grad D(x)|^2] `r1_every`."""
        penalty = self.r1_weight / 2 * self.r1_every * r1(self.D, batch.x)
        return Terms(self.loss(batch).loss + penalty)


def run(r1_weight: float) -> Run:
    """A discriminator of letters and of an opponent's samples."""
    return Run(
        method=partial(Judge, r1_weight=r1_weight),
        data=Opposed,
        optim={"D": ADAM},
        batch=BATCH,
        images=60_000,
    )


def downhill(D: nn.Module, x: Tensor) -> Tensor:
    """The signs of the steepest way to a lower score."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), x)
    return -gradient.sign()


def noise(D: nn.Module, x: Tensor) -> Tensor:
    """Random signs."""
    return torch.randint(0, 2, x.shape).to(x) * 2 - 1


def moved(D: nn.Module, x: Tensor, size: Tensor, way: Direction) -> Tensor:
    """Images after `MOVES` steps that change no pixel by more than `size` [N].

    Projected gradient descent: Madry et al., 2017, arXiv:1706.06083, section 2.1.
    """
    limit = size[:, None, None, None]
    y = x
    for _ in range(MOVES):
        y = y + 2.5 * limit / MOVES * way(D, y)
        y = torch.maximum(torch.minimum(y, x + limit), x - limit).clamp(-1, 1)
    return y


def least_size(D: nn.Module, x: Tensor, level: Tensor, way: Direction) -> Tensor:
    """The least size, in gray levels, for which D scores each image below `level`."""
    low, high = torch.zeros(len(x)), torch.full((len(x),), WIDEST)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        with torch.no_grad() if way is noise else torch.enable_grad():
            y = moved(D, x, middle / LEVELS, way)
        with torch.no_grad():
            fooled = D(y).flatten() < level
        low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)
    return high


def measure(trained: Trained) -> Figures:
    """Median sizes of an attack and of noise that turn real images to generated."""
    D = trained.model.D
    x = LETTERS().fixed(TESTED).x
    with torch.no_grad():
        level = D(samples(trained.seed, TESTED, "level")).median()
        right = (D(x).flatten() > level).float().mean()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.fold_in(trained.seed, "noise"))
        sizes = [float(least_size(D, x, level, way).median()) for way in (downhill, noise)]
    return {"attack": sizes[0], "noise": sizes[1], "real": float(right)}


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """Sizes of attacks, and how much larger either penalty makes them."""
    plain, weak, strong = arms["plain"], arms["weak"], arms["strong"]
    floor = max(plain["attack"], WIDEST / 2**BISECTIONS)
    return {
        **flat(arms),
        "farther": min(weak["attack"], strong["attack"]) / floor,
        "over_noise": plain["attack"] / max(plain["noise"], 1e-9),
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms={"plain": run(0.0), "weak": run(WEAK), "strong": run(STRONG)},
        controls=["plain"],
        measure=measure,
        figures=figures,
    ),
    plot=plots.bars(
        {
            "plain_attack": "no penalty",
            "weak_attack": "R1, 0.3",
            "strong_attack": "R1, 3",
        },
        {
            "plain_noise": "no penalty",
            "weak_noise": "R1, 0.3",
            "strong_noise": "R1, 3",
        },
        labels=["gray levels of an attack", "gray levels of random signs"],
    ),
)
