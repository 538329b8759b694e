"""Open question 3: a game on discrete sequences, and on signals that are continuous."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Adam

from ganvas.claims.claim import claim
from ganvas.claims.kit import plots
from ganvas.claims.kit.training import Comparison, Figures, Trained, flat
from ganvas.core import Batch, Clock, Method, Plan, Run, Shape, Terms, Update, rng
from ganvas.core.schedules import LinearDecay
from ganvas.data import Feed
from ganvas.data.info import Info
from ganvas.methods import DCGAN
from ganvas.methods.base import NoiseToImage
from ganvas.nets import toy_points
from ganvas.nets.layers import Size, sides

LENGTH = 12  # brackets of a word, of one kind
BATCH = 128
STEPS = 4_000  # updates of each player
RATES = (3e-4, 1e-3, 3e-3)  # of the game on words, and of the control
GAMMA = 0.1  # of R1
TEMPERATURE = 1.0
TIMES, WAVES, JUDGED = 32, 20_000, 4_000  # of a signal; signals of the data, of a model
LOWEST, HIGHEST = 1.0, 4.0  # cycles in a signal
RESIDUAL, AMPLITUDE = 0.05, 0.2  # of a sine: share of its energy, and distance from 1
BINS = 8  # of frequencies, and of phases


def valid(word: Sequence[int]) -> bool:
    """Whether brackets, 1 opens and -1 closes, are balanced."""
    depths = np.cumsum(word)
    return bool(depths[-1] == 0 and depths.min() >= 0)


@cache
def language() -> Tensor:
    """All balanced words, [words, 1, 1, LENGTH] of -1 and 1."""
    found = [word for word in product((1, -1), repeat=LENGTH) if valid(word)]
    return torch.tensor(found, dtype=torch.float32)[:, None, None]


def feed(source: str, pixels: np.ndarray) -> Feed:
    """A feed of sequences, [N, 1, length, 1] of bytes or of float32 in [-1, 1]."""
    count, height, width, channels = pixels.shape
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
    info = Info("images", source, "sequences", "train", channels, height, width, count, digest)
    return Feed(info, {"x": pixels})


def words() -> Feed:
    """Every word of the language, equally likely."""
    pixels = (language().movedim(1, -1) > 0).numpy()
    return feed("balanced brackets", (pixels * 255).astype(np.uint8))


def waves() -> Feed:
    """Sines of amplitude 1, with uniform frequencies and phases."""
    generator = np.random.default_rng(rng.fold_in("waves"))
    cycles = generator.uniform(LOWEST, HIGHEST, (WAVES, 1))
    phase = generator.uniform(0, 2 * np.pi, (WAVES, 1))
    x = np.sin(2 * np.pi * cycles * np.arange(TIMES) / TIMES + phase)
    return feed("sines", x.astype(np.float32)[:, None, :, None])


class Recurrent(nn.Module):
    """A recurrent network of words: noise z [N, LENGTH] -> [N, 1, 1, LENGTH].

    A bracket is Bernoulli given those before. Its sample is -1 or 1; the gradient is
    that of the relaxed sample (straight-through Gumbel-softmax: Jang et al., 2016,
    arXiv:1611.01144, section 2.2; of two categories it is logistic noise).

    memory: False: the network is not told the brackets before
    """

    def __init__(
        self, width: int = 32, memory: bool = True, size: Size = (1, LENGTH), channels: int = 1
    ) -> None:
        super().__init__()
        assert channels == 1, "a bracket is one number"
        self.latent = sides(size)[1]
        self.memory = memory
        self.cell, self.score = nn.GRUCell(1, width), nn.Linear(width, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Words [N, 1, 1, LENGTH] of normal noise z [N, LENGTH]."""
        noise = torch.special.log_ndtr(z) - torch.special.log_ndtr(-z)  # logistic

        def draw(t: int, logit: Tensor) -> Tensor:
            soft = torch.sigmoid((logit + noise[:, t : t + 1]) / TEMPERATURE)
            hard = (soft > 0.5).float()
            return 2 * (hard + (soft - soft.detach())) - 1  # in this order exactly -1 or 1

        return self._run(len(z), draw)[1][:, None, None]

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Log p(x) in nats [N] of words x [N, 1, 1, LENGTH]."""
        x = x.flatten(1)
        logits, _ = self._run(len(x), lambda t, logit: x[:, t : t + 1])
        return -binary_cross_entropy_with_logits(logits, (x + 1) / 2, reduction="none").sum(1)

    def _run(self, n: int, choose: Callable[[int, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and brackets [n, LENGTH]. choose: place, logit [n, 1] -> bracket."""
        blank = self.score.weight.new_zeros(n, 1)
        before = state = None
        logits, brackets = [], []
        for t in range(self.latent):
            state = self.cell(blank if before is None or not self.memory else before, state)
            logits.append(self.score(state))
            before = choose(t, logits[-1])
            brackets.append(before)
        return torch.cat(logits, 1), torch.cat(brackets, 1)


@final
class Likelihood(NoiseToImage):
    """Maximum likelihood of a `Recurrent`, each bracket given the true ones before."""

    discriminators: Sequence[str] = ()

    def __init__(self, shape: Shape, G: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.G = G(size=shape.size, channels=shape.channels)
        self.players = {"G": [self.G]}

    def updates(self, clock: Clock, batches: Iterator[Batch]) -> Plan:
        """One step towards the maximum."""
        yield Update("G", self.loss, next(batches))

    def loss(self, real: Batch) -> Terms:
        """-E log p(x) of a word, in nats."""
        return Terms(-self.G.log_likelihood(real.x).mean())


def run(
    method: Callable[[Shape], Method],
    data: Callable[[], Feed],
    players: str,
    lr: float,
    momentum: float,
) -> Run:
    """A run with a rate that falls to 0 over its second half."""
    count = STEPS * BATCH
    return Run(
        method=method,
        data=data,
        optim={p: partial(Adam, lr=lr, betas=(momentum, 0.99)) for p in players},
        batch=BATCH,
        images=count,
        lr=LinearDecay(start=count // 2, end=count),
    )


def by_likelihood(memory: bool, lr: float = 3e-3) -> Run:
    """A recurrent network of words by likelihood. memory: as of `Recurrent`."""
    method = partial(Likelihood, G=partial(Recurrent, memory=memory))
    return run(method, words, "G", lr, momentum=0.9)


def by_game(G: Callable[..., nn.Module], data: Callable[[], Feed], lr: float) -> Run:
    """The game of 2014 with R1, against a perceptron that sees the whole sequence."""
    D = partial(toy_points.Discriminator, units=64, pieces=2, std=None)
    method = partial(DCGAN, G=G, D=D, r1_weight=GAMMA)
    return run(method, data, "GD", lr, momentum=0.0)


WAVE = partial(toy_points.Generator, latent=8, width=64, layers=3, norm=False, std=None)
RUNS: dict[str, Run | Sequence[Run]] = {
    "likelihood": by_likelihood(memory=True),
    "straight_through": [by_game(partial(Recurrent), words, lr) for lr in RATES],
    "sines": by_game(WAVE, waves, 1e-3),
    "memoryless": [by_likelihood(memory=False, lr=lr) for lr in RATES],
}


def judged_words(G: Recurrent) -> Figures:
    """What a `Recurrent` makes of the language, computed from all of its words.

    valid: probability of a balanced word
    variety: of balanced words, e to the entropy over their number, 0 to 1
    bits: of a bracket of the language
    """
    log_p = G.log_likelihood(language()).double()
    given = log_p.log_softmax(0)
    return {
        "valid": float(log_p.logsumexp(0).exp()),
        "variety": float((-(given.exp() * given).sum()).exp()) / len(log_p),
        "bits": float(-log_p.mean()) / LENGTH / math.log(2),
    }


def judged_waves(x: Tensor) -> Figures:
    """How many signals x [N, 1, 1, TIMES] are sines, and how they vary.

    valid: share with at most `RESIDUAL` of the energy beside the nearest sine of an
        allowed frequency, whose amplitude is 1 up to `AMPLITUDE`
    variety: e to the entropy of a histogram of the frequencies and phases of these,
        over its cells
    """
    x = x.flatten(1).double()
    cycles = torch.linspace(LOWEST, HIGHEST, 1 + 16 * round(HIGHEST - LOWEST)).double()
    angle = 2 * torch.pi * cycles[:, None] * torch.arange(TIMES) / TIMES
    basis = torch.stack([angle.cos(), angle.sin()], 2)  # [frequencies, TIMES, 2]
    explained = torch.einsum("nt,ftk->nfk", x, torch.linalg.qr(basis).Q).square().sum(2)
    energy, best = explained.max(1)
    a, b = torch.einsum("nt,nkt->kn", x, torch.linalg.pinv(basis)[best])
    fits = energy >= (1 - RESIDUAL) * x.square().sum(1)
    good = fits & ((a.square() + b.square()).sqrt() - 1).abs().le(AMPLITUDE)
    where = torch.stack([cycles[best], torch.atan2(a, b) % (2 * torch.pi)], 1)[good]
    edges = [(LOWEST, HIGHEST), (0, 2 * np.pi)]
    counts = np.histogramdd(where.numpy(), bins=BINS, range=edges)[0]
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return {
        "valid": float(good.double().mean()),
        "variety": float(np.exp(-(shares * np.log(shares)).sum())) / BINS**2 if len(where) else 0.0,
    }


@torch.no_grad()
def measure(trained: Trained) -> Figures:
    """Validity and variety of a model's sequences."""
    if isinstance(trained.model.G, Recurrent):
        return judged_words(trained.model.G)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(trained.seed, "samples"))
        return judged_waves(trained.model.sample(JUDGED))


def figures(arms: Mapping[str, Figures]) -> dict[str, float]:
    """The measures of all arms, and what the game on words is behind by."""
    likelihood, game = arms["likelihood"], arms["straight_through"]
    return {
        **flat(arms),
        "bits_lost": game["bits"] - likelihood["bits"],
        "words_lost": likelihood["variety"] - game["variety"],
        "sines_found": arms["sines"]["valid"] * arms["sines"]["variety"],
    }


CLAIM = claim(
    __name__,
    experiment=Comparison(
        arms=RUNS,
        controls=["memoryless"],
        measure=measure,
        figures=figures,
        rank=lambda found: found.get("bits", 0.0),
    ),
    plot=plots.bars(
        {
            "likelihood_valid": "words,\nlikelihood",
            "straight_through_valid": "words,\ngame",
            "memoryless_valid": "words,\ncontrol",
            "sines_valid": "sines,\ngame",
        },
        {
            "likelihood_variety": "words,\nlikelihood",
            "straight_through_variety": "words,\ngame",
            "memoryless_variety": "words,\ncontrol",
            "sines_variety": "sines,\ngame",
        },
        labels=["share of valid sequences", "variety of these"],
    ),
)
