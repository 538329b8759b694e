"""Open question 5: measures that rank copies of training images first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import kendalltau, rankdata
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.optim import Adam

from ganvas.claims.claim import Finding, Seeds, claim
from ganvas.claims.kit.domains import as_tensor
from ganvas.claims.kit.training import Figures, train
from ganvas.core import Run, Samples, rng
from ganvas.core.schedules import HalfLife
from ganvas.data import Feed, images
from ganvas.engine.engine import Engine
from ganvas.methods import DCGAN
from ganvas.metrics.features import Extractor, extractor
from ganvas.metrics.frechet import frechet_distance, moments
from ganvas.metrics.kid import kernel_distance
from ganvas.metrics.mode_coverage import memorisation
from ganvas.metrics.precision_recall import fidelity, nearest
from ganvas.nets import dcgan

LETTERS = partial(images, "letters", size=16)
TRAINING, FRESH = 2_400, 2_600  # letters; all others are the unseen reference
SAMPLES = 1_000  # of every set
SNAPSHOTS = 6  # of the run
NEAR = 0.01  # share of unseen images that are so near to a training image
CLASSES = {"weak": 18, "strong": 11}  # of 26, in sets that lack the others
NOISE = {"weak": 0.15, "strong": 0.5}  # deviation, in units of an image
BLUR = {"weak": 0.5, "strong": 1.0}  # share of each pixel that its 3x3 mean replaces

# Each is larger for better samples.
MEASURES = ("frechet", "kernel", "precision", "recall", "density", "coverage")
REFERENCES = ("training", "unseen")
FAULTS = tuple(f"{kind}_{size}" for kind in ("classes", "noise", "blur") for size in NOISE)
REPLACED = ("copies", "hidden", *(f"run_{i}" for i in range(SNAPSHOTS)))  # by a null

Scores = Mapping[str, float]  # of a set: "training_frechet" and so on, "novelty", "copied"
Table = Mapping[str, Scores]  # set -> scores

RUN = Run(
    method=partial(
        DCGAN, G=partial(dcgan.Generator, width=16), D=partial(dcgan.Discriminator, width=16)
    ),
    data=LETTERS,  # `parts` replaces it
    optim={p: partial(Adam, lr=2e-4, betas=(0.5, 0.999)) for p in "GD"},
    batch=64,
    images=240_000,
    ema=HalfLife(images=2_000),
)


@dataclass(frozen=True)
class Parts:
    """The letters in three parts, by the seed.

    training: the feed of the images that are trained on
    seen, unseen: images [N, C, H, W] that are trained on, and of the other reference
    fresh, y: images in neither, and their classes [N]
    """

    training: Feed
    seen: Tensor
    unseen: Tensor
    fresh: Tensor
    y: Tensor


def parts(seed: int) -> Parts:
    """Divide the letters."""
    whole = LETTERS()
    raw = whole.raw()
    order = np.random.default_rng(rng.fold_in(seed, "parts")).permutation(len(raw["x"]))
    chosen = order[:TRAINING]
    x, y = as_tensor(raw["x"][order]), torch.from_numpy(raw["y"][order])
    return Parts(
        training=Feed(replace(whole.info, count=len(chosen), classes=()), {"x": raw["x"][chosen]}),
        seen=x[:TRAINING],
        unseen=x[TRAINING + FRESH :],
        fresh=x[TRAINING : TRAINING + FRESH],
        y=y[TRAINING : TRAINING + FRESH],
    )


def sets(p: Parts, seed: int) -> dict[str, Tensor]:
    """Copies, fresh images, and fresh images with faults: `SAMPLES` of each."""
    generator = torch.Generator().manual_seed(rng.fold_in(seed, "sets"))

    def some(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=generator)[:SAMPLES]]

    whole = some(p.fresh)
    found = {"copies": some(p.seen), "fresh": whole}
    for size in NOISE:
        noise = torch.randn(whole.shape, generator=generator)
        mean = avg_pool2d(whole, 3, 1, 1, count_include_pad=False)
        found[f"classes_{size}"] = some(p.fresh[p.y < CLASSES[size]])
        found[f"noise_{size}"] = whole + NOISE[size] * noise
        found[f"blur_{size}"] = whole.lerp(mean, BLUR[size])
    return found


class Judge:
    """Measure samples against both references, over random-conv-v1."""

    def __init__(self, p: Parts) -> None:
        self.extractor: Extractor = extractor("random-conv-v1")
        self.references = {
            name: self.extractor(x).double()
            for name, x in zip(REFERENCES, (p.seen, p.unseen), strict=True)
        }
        self.near = self._distances(self.references["unseen"]).quantile(NEAR)

    def _distances(self, features: Tensor) -> Tensor:
        """Distances [N] of features [N, dim] from the nearest training image."""
        return nearest(features, self.references["training"], k=1)[0].flatten()

    def __call__(self, x: Tensor) -> Scores:
        """Scores of images [N, C, H, W]: larger is better but for the last two.

        novelty: z of `memorisation`, 0 for samples as far from the training images as
            unseen images are, negative for nearer ones
        copied: share of samples that are as near to a training image as `NEAR` of the
            unseen images
        """
        fake, scores = self.extractor(x).double(), {}
        for name, real in self.references.items():
            found = {
                "frechet": -frechet_distance(*moments(real), *moments(fake)),
                "kernel": -kernel_distance(real, fake),
                **fidelity(real, fake)._asdict(),
            }
            scores |= {f"{name}_{measure}": found[measure] for measure in MEASURES}
        return scores | {
            "novelty": memorisation(fake, *self.references.values()).z,
            "copied": float((self._distances(fake) <= self.near).double().mean()),
        }


def agreement(table: Table, names: Sequence[str]) -> float:
    """Kendall's tau of two measures over some sets, mean over all pairs of measures.

    The training set is the reference.
    """
    return fmean(tau(a, b) for a, b in combinations(columns(table, names), 2))


def novelty_agreement(table: Table, names: Sequence[str]) -> float:
    """The same of a novelty that is nearer to 0 and each of the measures, mean."""
    nearer = [-abs(table[name]["novelty"]) for name in names]
    return fmean(tau(nearer, column) for column in columns(table, names))


def columns(table: Table, names: Sequence[str]) -> list[list[float]]:
    """What each of the measures says of some sets."""
    return [[table[name][f"training_{m}"] for name in names] for m in MEASURES]


def tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's rank correlation (b); 0 if one of the two never changes."""
    found: Any = kendalltau(a, b)
    return 0.0 if np.isnan(found.statistic) else float(found.statistic)


def won(table: Table, reference: str, others: Sequence[str]) -> list[str]:
    """The measures by which copies are ahead of all other sets."""
    return [
        m
        for m in MEASURES
        if all(table["copies"][f"{reference}_{m}"] > table[o][f"{reference}_{m}"] for o in others)
    ]


def figures(table: Table) -> dict[str, float]:
    """What the checks name.

    table: scores of "copies", "hidden", "fresh", "run_0" to the last snapshot, and
        `FAULTS`
    """
    run = [f"run_{i}" for i in range(SNAPSHOTS)]
    last = table[run[-1]]
    return {
        "won": len(won(table, "training", ["fresh", *run])) / len(MEASURES),
        "won_unseen": len(won(table, "unseen", run)) / len(MEASURES),
        "copies_novelty": table["copies"]["novelty"],
        "fresh_novelty": table["fresh"]["novelty"],
        "run_novelty": last["novelty"],
        "hidden_novelty": table["hidden"]["novelty"],
        "copies_copied": table["copies"]["copied"],
        "hidden_copied": table["hidden"]["copied"],
        "fresh_copied": table["fresh"]["copied"],
        "run_copied": last["copied"],
        "run_agreement": agreement(table, run),
        "fault_agreement": agreement(table, FAULTS),
        "novelty_agreement": novelty_agreement(table, run),
        "run_frechet": -last["training_frechet"],
        "copies_frechet": -table["copies"]["training_frechet"],
        "fresh_frechet": -table["fresh"]["training_frechet"],
        "copies_frechet_unseen": -table["copies"]["unseen_frechet"],
        "fresh_frechet_unseen": -table["fresh"]["unseen_frechet"],
    }


def guesses(names: Sequence[str], seed: int) -> Table:
    """Scores of a judge that does not look: random ranks, and no copies."""
    generator = np.random.default_rng(rng.fold_in(seed, "chance"))
    keys = [f"{reference}_{m}" for reference in REFERENCES for m in MEASURES]
    return {
        name: {
            **{key: generator.random() for key in keys},
            "novelty": generator.standard_normal(),
            "copied": NEAR,
        }
        for name in names
    }


def replaced(table: Table, scores: Sequence[Scores]) -> Table:
    """The table with other sets in place of the copies and of the snapshots."""
    return {**table, **dict(zip(REPLACED, scores, strict=True))}


def experiment(seed: int) -> Finding:
    """Train, and score snapshots, copies and faults; then others in their place."""
    p = parts(seed)
    judge = Judge(p)

    def read(engine: Engine, logged: Mapping[str, list[float]]) -> Figures:
        model: Any = engine.model()
        return judge(drawn(model, SAMPLES))

    run = replace(RUN, data=lambda: p.training)
    trained = train(run, seed, readings=SNAPSHOTS, read=read)
    start = train(run, seed, steps=False).model
    found = sets(p, seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(rng.fold_in(seed, "samples"))
        half = SAMPLES // 2
        found["hidden"] = torch.cat([found["copies"][:half], drawn(trained.model, SAMPLES - half)])
        untrained = [judge(drawn(start, SAMPLES)) for _ in REPLACED]
        fresh = [judge(p.fresh[torch.randperm(FRESH)[:SAMPLES]]) for _ in REPLACED]
    table = {name: judge(x) for name, x in found.items()}
    table |= {f"run_{i}": scores for i, scores in enumerate(trained.readings)}
    return Finding(
        figures(table),
        {name: dict(scores) for name, scores in table.items()},
        {
            "untrained": figures(replaced(table, untrained)),
            "chance": figures(guesses(list(table), seed)),
            "fresh": figures(replaced(table, fresh)),
        },
    )


@torch.no_grad()
def drawn(model: Samples, count: int) -> Tensor:
    """Samples of a method."""
    return model.sample(count)


SHOWN = {
    "copies": "copies",
    "fresh": "unseen letters",
    **{f: f.replace("_", ", ").replace("classes", "few classes") for f in FAULTS},
    **{f"run_{i}": f"snapshot {i + 1}" for i in range(SNAPSHOTS)},
}


def plot(figure: Figure, seeds: Seeds) -> None:
    """Ranks of the sets by each measure, 1 the best, means over the seeds."""
    ranks = np.mean(
        [
            [
                rankdata([-s["series"][name][f"{reference}_{m}"] for name in SHOWN])
                for reference in REFERENCES
                for m in MEASURES
            ]
            for s in seeds
        ],
        axis=0,
    )
    axes = figure.subplots()
    axes.imshow(ranks, cmap="viridis_r", aspect="auto")
    for (row, column), rank in np.ndenumerate(ranks):
        axes.text(column, row, f"{rank:.3g}", ha="center", va="center", fontsize=7, color="white")
    axes.set_xticks(range(len(SHOWN)), list(SHOWN.values()), fontsize="small", rotation=30)
    axes.set_yticks(
        range(len(ranks)), [f"{m}, {r}" for r in REFERENCES for m in MEASURES], fontsize="small"
    )
    axes.set_title("rank of a set by each measure and reference, 1: best")


CLAIM = claim(__name__, experiment=experiment, plot=plot)
