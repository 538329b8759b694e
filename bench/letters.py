"""Evaluate the demo's letters by a classifier trained on other typefaces.

    python bench/letters.py [--seeds 3] [--runs FOLDER]
    python bench/letters.py --model runs/demo     evaluates one model, no record

Trains the recipe of `make demo` as the demo does, with the seeds 4, 5 and 6 (0 served
to choose the recipe; 1 to 3 judged it when it was half as long again), and classifies
2,600 letters of each, 100 per class. The set `letters` has three groups of typeface
families: the generator is trained on `train`; the classifier, a small network, on
`val`; `test` holds real letters that neither has seen. A letter is recognized if its
own class is the most probable of the 26 letters and a 27th class "nothing" (blends of
two letters, shuffled patches).

Bounds, set before the runs that count:

* the fraction of generated letters that are recognized is at least 0.9 times that of
  the real letters of `test`;
* in no class is it below half of that class's fraction there;
* at most 1% of generated letters lie nearer to a training letter of their class than 5%
  of the training letters lie to the nearest other face of their own family: there, real
  letters repeat. (Of the real letters of `test` it is 0.8%.)

Writes docs/results/letters.json after each seed and continues an interrupted call.
FOLDER holds the runs as seed-4 and so on. Finished runs in it are not trained again, so
that several can be trained at once beforehand, by the command in the record.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganvas
from ganvas.core.environment import commit, machine
from ganvas.data import sets

RECIPE = "dcgan_letters"
RESULTS = Path(__file__).parents[1] / "docs" / "results" / "letters.json"
RATIO, CLASS_RATIO, REPEATS = 0.9, 0.5, 0.01  # the bounds
PER_CLASS = 100  # generated letters
CLASSES = 26
NEAR = 0.05  # share of real letters that are called repeated within their family
STEPS, BATCH = 1200, 128  # of the classifier's training
FIRST = 4  # seed


class Letters:
    """One group of families: images [N, 1, 32, 32] in [-1, 1], labels [N], family names [N]."""

    def __init__(self, part: str) -> None:
        with np.load(Path(sets.__file__).parent / "letters.npz", allow_pickle=False) as archive:
            rows = archive["split"] == part
            self.images = torch.from_numpy(archive["images"][rows]).float()[:, None] / 127.5 - 1
            self.labels = torch.from_numpy(archive["labels"][rows]).long()
            self.families = archive["family"][rows]


# ---------------------------------------------------------------- the classifier


def classifier(letters: Letters, seed: int = 0) -> nn.Module:
    """Images [N, 1, 32, 32] -> scores of 26 letters and of nothing [N, 27]."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 16, CLASSES + 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(letters.images), (BATCH,))
        x, y = augmented(letters.images[rows]), letters.labels[rows]
        none = nothing(x[: BATCH // 8], y[: BATCH // 8])
        scores = net(torch.cat([x, none]))
        target = torch.cat([y, y.new_full((len(none),), CLASSES)])
        loss = F.cross_entropy(scores, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def augmented(x: Tensor) -> Tensor:
    """Random scale, shear, rotation, shift and stroke width, as of other typefaces."""
    n = len(x)
    scale = 1 + 0.2 * (2 * torch.rand(n, 2) - 1)
    shear, turn = 0.25 * torch.randn(n).clamp(-1.5, 1.5), 0.06 * torch.randn(n)
    move = 0.08 * torch.randn(n, 2)
    theta = torch.stack(
        [
            torch.stack([scale[:, 0], shear - turn, move[:, 0]], 1),
            torch.stack([turn, scale[:, 1], move[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    ink = F.grid_sample(
        (1 - x) / 2, grid, align_corners=False
    )  # 0 is paper: nothing comes in at the border
    which = torch.randint(4, (n, 1, 1, 1))
    ink = torch.where(which == 0, F.max_pool2d(ink, 3, 1, 1), ink)
    ink = torch.where(which == 1, (ink * 0.5 + 0.5 * F.avg_pool2d(ink, 3, 1, 1)), ink)
    return 1 - 2 * ink


def nothing(x: Tensor, y: Tensor) -> Tensor:
    """Blends of two different letters, and letters with shuffled 8x8 patches."""
    other = torch.roll(torch.arange(len(x)), 1)
    unlike = y != y[other]
    weight = 0.35 + 0.3 * torch.rand(len(x), 1, 1, 1)
    blends = (weight * x + (1 - weight) * x[other])[unlike]
    patches = F.unfold(x, 8, stride=8)
    order = torch.rand(len(x), 1, patches.shape[2]).argsort(-1).expand_as(patches)
    return torch.cat([blends, F.fold(patches.gather(2, order), x.shape[-2:], 8, stride=8)])


@torch.no_grad()
def recognised(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Fraction of the letters of each class that are recognized [26]."""
    right = torch.cat([net(part).argmax(1) for part in x.split(500)]) == y
    return torch.stack([right[y == c].double().mean() for c in range(CLASSES)])


# ---------------------------------------------------------------- repetition


def nearest(x: Tensor, y: Tensor, training: Letters) -> Tensor:
    """Euclidean distance of each image to the nearest training letter of its class.

    Pixels are from 0 to 1. Returns [N]."""
    found = torch.empty(len(x))
    for c in range(CLASSES):
        real = training.images[training.labels == c]
        found[y == c] = torch.cdist(x[y == c].flatten(1) / 2, real.flatten(1) / 2).amin(1)
    return found


def repeat_distance(training: Letters) -> float:
    """`NEAR` quantile of a training letter's distance to its family's nearest face."""
    distances = []
    for c in range(CLASSES):
        rows = (training.labels == c).numpy()
        x, families = training.images[rows].flatten(1) / 2, training.families[rows]
        apart = torch.cdist(x, x).fill_diagonal_(torch.inf)
        apart[torch.from_numpy(families[:, None] != families[None])] = torch.inf
        distances.append(apart.amin(1))
    every = torch.cat(distances)
    return float(every[every.isfinite()].quantile(NEAR))


# ---------------------------------------------------------------- judging


class Evaluator:
    def __init__(self) -> None:
        self.training, self.test = Letters("train"), Letters("test")
        self.net = classifier(Letters("val"))
        self.distance = repeat_distance(self.training)
        self.real = recognised(self.net, self.test.images, self.test.labels)

    def reference(self) -> dict[str, float]:
        """The figures of real letters, for comparison."""
        return {
            "recognised_test": float(self.real.mean()),
            "recognised_train": float(
                recognised(self.net, self.training.images, self.training.labels).mean()
            ),
            "smallest_class_test": float(self.real.min()),
            "repeat_distance": self.distance,
            "repeats_test": self._repeats(self.test.images, self.test.labels),
        }

    def verdict(self, folder: Path, seed: int) -> dict[str, Any]:
        model = ganvas.load(folder)
        y = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
        x = model.sample(len(y), seed=seed, labels=y.tolist(), output="torch")
        x = ((x + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1  # as files have it
        shares = recognised(self.net, x, y)
        found = {
            "recognised": float(shares.mean()),
            "ratio": float(shares.mean() / self.real.mean()),
            "smallest_class_ratio": float((shares / self.real).min()),
            "class_shares": dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", shares.tolist(), strict=True)),
            "repeats": self._repeats(x, y),
        }
        good = (
            found["ratio"] >= RATIO
            and found["smallest_class_ratio"] >= CLASS_RATIO
            and found["repeats"] <= REPEATS
        )
        return {**found, "holds": good}

    def _repeats(self, x: Tensor, y: Tensor) -> float:
        return float((nearest(x, y, self.training) < self.distance).double().mean())


def trained(seed: int, folder: Path) -> tuple[Path, str]:
    """The finished run of one seed, and the command that trained it."""
    run = folder / f"seed-{seed}"
    words = ["train", RECIPE, "letters", "--precision", "auto", "--seed", str(seed)]
    if not (run / "report.html").is_file():
        command = [sys.executable, "-m", "ganvas", *words, "--out", str(run)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return run, " ".join(["ganvas", *words])


def main() -> None:
    parser = argparse.ArgumentParser(description="How good the demo's letters are.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="where the runs are kept")
    parser.add_argument("--model", type=Path, help="evaluate this run or model, and record nothing")
    args = parser.parse_args()
    evaluator = Evaluator()
    if args.model:
        print(json.dumps({**evaluator.reference(), **evaluator.verdict(args.model, 0)}, indent=1))
        return
    source = commit()  # of the code that runs below
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"seeds": []}
    for seed in range(FIRST + len(found["seeds"]), FIRST + args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            run, command = trained(seed, args.runs or Path(folder))
            record = json.loads((run / "run.json").read_text())
            row = {
                "seed": seed,
                "trained_by": command,
                "commit": record["commit"],
                **evaluator.verdict(run, seed),
            }
            row["images"] = json.loads((run / "model" / "model.json").read_text())["images_trained"]
            if row["images"] != record["images"]:
                sys.exit(f"{run} is not finished: ganvas resume {run}")
        found["seeds"].append(row)
        found |= {
            "command": f"python bench/letters.py --seeds {args.seeds}",
            "recipe": RECIPE,
            "goal": {"ratio": RATIO, "smallest_class_ratio": CLASS_RATIO, "repeats": REPEATS},
            "real": evaluator.reference(),
            "holds": all(s["holds"] for s in found["seeds"]),
            "machine": machine(),
            "torch": torch.__version__,
            "commit": source,
        }
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
