"""Measure what the training monitor catches, on labeled runs that this script makes.

    python bench/monitor.py make RUNS [--only PART] [--minutes M]
    python bench/monitor.py judge RUNS [--tuning]

`make` trains small runs on the shipped letters at 16 px, healthy ones and ones that are
broken in a known way, and writes their logs to RUNS; it goes on where it was stopped.
`judge` applies `ganvas.training.monitor` to the logs and writes
bench/results/monitor.json; with --tuning it looks at the tuning runs only, prints each,
and writes nothing.

The methods of TEST_METHODS and the kinds of TEST_KINDS are in no tuning run.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from origin import origin
from torch import Tensor, nn

from ganvas import recipes
from ganvas.core import Run, config, rng
from ganvas.core.errors import NumericalError
from ganvas.core.schedules import HalfLife
from ganvas.data import images as open_images
from ganvas.data.feed import Feed
from ganvas.engine.engine import Engine
from ganvas.inference.model import Model
from ganvas.training import probe
from ganvas.training.detectors import Log
from ganvas.training.monitor import find
from ganvas.training.with_data import with_data

RESULTS = Path(__file__).parent / "results" / "monitor.json"
SIDE, BATCH, STEPS, SNAPSHOTS, LINE = 16, 32, 1440, 30, 5
BREAK = 960  # the step at which most faults begin
FEW = 104  # training images of a discriminator that memorizes, four of each class
SAMPLES = 500  # per snapshot
HEALTHY = {"tuning": 6, "test": 14}  # runs of each method
BROKEN = {"tuning": 1, "test": 2}  # runs of each method and kind
AVERAGED = HalfLife(images=2000)  # of the weights, as is usual; distances swing less
TEST_SEED = 100  # the first of the test part: lower ones were seen while thresholds were set

_LR = "optim.G.lr=4e-3 optim.D.lr=4e-3"
METHODS: dict[str, tuple[str, str]] = {  # name -> (recipe, settings)
    "dcgan": ("dcgan", f"G.width=8 D.width=8 {_LR}"),
    "sngan": ("sngan_cnn", f"G.width=8 D.width=8 {_LR}"),
    "lsgan": ("lsgan", f"G.width=8 D.width=8 {_LR}"),
    "cgan": ("cgan_dcgan", f"G.width=8 D.width=8 {_LR}"),
    "pacgan": ("pacgan", f"G.width=8 D.width=8 {_LR}"),
    "infogan": ("infogan", f"G.width=8 G.hidden=64 D.width=8 D.hidden=64 {_LR}"),
    "wgan_gp": ("wgan_gp_dcgan", f"G.width=8 D.width=8 n_critic=2 {_LR}"),
    "r3gan": ("r3gan_small", "G.width=8 D.width=8"),
}
TEST_METHODS = ("sngan", "r3gan")
KINDS = (
    "collapse",  # G's rate times 50, D's halved
    "partial",  # the classes of the data, 26, become 2
    "memorizing",  # FEW training images, from the start
    "vanished",  # G's rate divided by 1000
    "divergence",  # both rates times 30
    "weak",  # D's rate divided by 50
    "oscillation",  # beta1 .95 for both, rates times 5
    "checkerboard",  # a pattern in the samples that D does not see
)
UNPLANNED = "unplanned"  # runs meant to be healthy whose distance doubles
TEST_KINDS = ("oscillation", "checkerboard")
RATES = {  # kind -> factors on the rates of (G, D), at the end of the ramp
    "collapse": (50.0, 0.5),
    "vanished": (0.001, 1.0),
    "divergence": (30.0, 30.0),
    "weak": (1.0, 0.02),
    "oscillation": (5.0, 5.0),
}
LASTING = ("partial", "memorizing", "vanished", "checkerboard")  # whatever the distance
CLASSES = (13, 8, 5, 3, 2)  # of the data, over the ramp
RAMP = len(CLASSES)  # snapshots over which a fault grows


@dataclass(frozen=True)
class Case:
    """A run to make. kind: of `KINDS`, or "healthy"; part: "tuning" or "test"."""

    method: str
    kind: str
    seed: int

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.kind}-{self.method}-{self.seed}"

    @property
    def part(self) -> str:
        """To what the run is put."""
        test = self.method in TEST_METHODS or self.kind in TEST_KINDS
        return "test" if test else "tuning"


def cases() -> Iterator[Case]:
    """All runs, method by method: those of a seed share the healthy one's beginning."""
    kept = range(TEST_SEED, TEST_SEED + BROKEN["test"])
    for method in METHODS:
        test = method in TEST_METHODS
        first, part = (TEST_SEED, "test") if test else (0, "tuning")
        for seed in range(first, first + HEALTHY[part]):
            yield Case(method, "healthy", seed)
            if seed < first + BROKEN[part]:
                kinds = [kind for kind in KINDS if test or kind not in TEST_KINDS]
                yield from (Case(method, kind, seed) for kind in kinds)
        if not test:
            yield from (Case(method, kind, seed) for seed in kept for kind in TEST_KINDS)


def described(case: Case) -> Run:
    """The run of a case; healthy ones vary in seed and rates."""
    recipe, settings = METHODS[case.method]
    run = with_data(recipes.find(recipe)(6604), "letters", SIDE, settings.split())
    scale = 2.0 ** (-(rng.fold_in(case.seed, "rate") % 3) / 2) if case.seed else 1.0
    run = replace(
        run, batch=BATCH, images=STEPS * BATCH * 10, seed=case.seed, lr=None, ema=AVERAGED
    )
    return rated(run, (scale, scale))


def rated(run: Run, factors: tuple[float, float]) -> Run:
    """The run with the rates of G and D times `factors`."""
    optim: dict[str, Any] = {}
    for player, make in run.optim.items():
        assert isinstance(make, partial)
        factor = factors[1 if player == "D" else 0]
        optim[player] = partial(make.func, **{**make.keywords, "lr": make.keywords["lr"] * factor})
    return replace(run, optim=optim)


def subset(runs: Path, classes: int | None, count: int | None) -> str:
    """A file with some of the letters: those of the first classes, or `count` of them."""
    path = runs / f"letters-{classes or 'all'}-{count or 'all'}.npz"
    if not path.is_file():
        raw = open_images("letters", size=SIDE).raw()
        chosen = np.flatnonzero(raw["y"] < (classes or 26))
        if count is not None:
            order = np.random.Generator(np.random.Philox(7)).permutation(chosen)
            labels = raw["y"][order]
            each = count // len(np.unique(labels))
            chosen = np.sort(np.concatenate([order[labels == y][:each] for y in np.unique(labels)]))
        np.savez(path, x=raw["x"][chosen], y=raw["y"][chosen])
    return str(path)


def pattern(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Add the module's `amplitude` times a checkerboard to its images."""
    sign = torch.arange(output.shape[-1]) % 2 * 2.0 - 1
    return (output + float(module.amplitude) * sign[:, None] * sign).clamp(-1, 1)  # pyright: ignore[reportArgumentType]


class Training:
    """A run in progress: its engine, its log, and what it is compared with."""

    def __init__(self, run: Run, feed: Feed, watch: probe.Probe) -> None:
        self.run, self.watch = run, watch
        self.engine = Engine(run, feed, "cpu")
        self.log: list[dict[str, float]] = []
        self.measures: list[dict[str, float]] = []
        self.patterned = False

    def branch(self, run: Run) -> Training:
        """The same training so far, which goes on with another run."""
        other = Training(run, self.engine.feed, self.watch)
        other.engine.load_state(*copy.deepcopy(self.engine.state()))
        other.log, other.measures = [*self.log], [*self.measures]
        return other

    def advance(self, stop: int) -> None:
        """Train to a step. Raises `NumericalError` if a loss is not finite."""
        sums: dict[str, list[float]] = {}
        engine = self.engine
        while engine.clock.step < stop:
            for name, value in engine.step().items():
                sums.setdefault(name, []).append(float(value))
            step, images = engine.clock.step, engine.clock.images
            if step % LINE == 0:
                means = {k: sum(v) / len(v) for k, v in sums.items()}
                self.log.append({"step": step, "images": images, **means})
                sums.clear()
            if step % (STEPS // SNAPSHOTS) == 0:
                model: Any = engine.model()
                if self.patterned:
                    model.G.amplitude = 0.3 * min((step - BREAK) / (STEPS - BREAK), 0.5)
                    model.G.register_forward_hook(pattern)
                measured = self.watch.measure(engine, Model(model, FACTS, "cpu"))
                self.measures.append({"images": images, **measured, **self.watch.rehearse(engine)})


FACTS = {"shape": {"channels": 1, "height": SIDE, "width": SIDE, "classes": 26}}
_healthy: dict[tuple[str, int], Training] = {}  # the newest one, at BREAK


def healthy(method: str, seed: int) -> Training:
    """A healthy training at BREAK, from which the broken ones of the method branch."""
    if (method, seed) not in _healthy:
        _healthy.clear()
        run = described(Case(method, "healthy", seed))
        held_out = open_images("letters", size=SIDE, part="test", labels=labeled(run))
        feed = run.data()
        training = Training(run, feed, probe.Probe(feed, held_out))
        training.advance(BREAK)
        _healthy[method, seed] = training
    return _healthy[method, seed]


def spoil(training: Training, kind: str, part: int, runs: Path) -> None:
    """Make the fault of a kind stronger. part: of RAMP, from 0"""
    if kind == "partial":
        training.engine.feed = opened(training.run, subset(runs, CLASSES[part], None))
        return
    share = (part + 1) / RAMP
    factors = RATES[kind]
    run = rated(training.run, (factors[0] ** share, factors[1] ** share))
    if kind == "oscillation":
        for player in run.optim:
            run = config.override(run, f"optim.{player}.betas=[0.95,0.999]")
    state = copy.deepcopy(training.engine.state())
    training.engine = Engine(run, training.engine.feed, "cpu")
    training.engine.load_state(*state)


def make(case: Case, runs: Path) -> None:
    """Train a case and write its log."""
    started, error, began = time.process_time(), None, None
    if case.kind == "memorizing":
        run = described(case)
        feed = opened(run, subset(runs, None, FEW))
        held_out = open_images("letters", size=SIDE, part="test", labels=labeled(run))
        training, began = Training(run, feed, probe.Probe(feed, held_out)), 0
    else:
        start = healthy(case.method, case.seed)
        training = start.branch(start.run)
        training.patterned = case.kind == "checkerboard"
        if case.kind != "healthy":
            began = start.engine.clock.images
    try:
        if case.kind in RATES or case.kind == "partial":
            for part in range(RAMP):
                spoil(training, case.kind, part, runs)
                training.advance(BREAK + (part + 1) * STEPS // SNAPSHOTS)
        training.advance(STEPS)
    except NumericalError as e:
        error = str(e)
    label = {
        "kind": case.kind,
        "method": case.method,
        "seed": case.seed,
        "part": case.part,
        "began": began,
        "error": error,
        "seconds": round(time.process_time() - started, 1),
    }
    folder = runs / case.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("log", training.log), ("measures", training.measures)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    (folder / "label.json").write_text(json.dumps(label, indent=1))  # last: it is complete


def labeled(run: Run) -> bool:
    """Whether the run's data have labels."""
    assert isinstance(run.data, partial)
    return bool(run.data.keywords.get("labels", True))


def opened(run: Run, source: str) -> Feed:
    """The data of the run, from another file."""
    assert isinstance(run.data, partial)
    return partial(run.data.func, **{**run.data.keywords, "source": source})()


def doubled(log: Log, began: int) -> int | None:
    """The first snapshot after `began` with twice the best distance; None: none has.

    The distance is the median of the last three: single ones double in healthy runs, too.
    """
    distance, best = log.measured("frechet"), float("inf")
    for i in range(2, len(distance)):
        value = float(np.median(distance[i - 2 : i + 1]))
        if log.moments[i] > began and value >= 2 * best:
            return log.moments[i]
        best = min(best, value)
    return None


def judged(folder: Path) -> dict[str, Any]:
    """A run's label, and what the monitor finds in its log."""
    label = json.loads((folder / "label.json").read_text())
    log = Log.read(folder)
    findings = find(log)
    began = label["began"]
    kind = label["kind"]
    if began is None and doubled(log, 0) is not None:
        kind, began = UNPLANNED, 0  # healthy by intention only
    later = [f for f in findings if began is not None and f.images > began]
    twice = None if began is None else doubled(log, began)
    first = min((f.images for f in later), default=None)
    distance = log.measured("frechet")
    return {
        **label,
        "kind": kind,
        "findings": {f.kind: f.images for f in findings},
        "early": [f.kind for f in findings if f not in later],
        "first": first,
        "named": kind in {f.kind for f in later},
        "doubled": twice,
        # A method may bear other rates; it is broken if the distance doubles.
        "broke": twice is not None or label["error"] is not None or kind in LASTING,
        # A run that ends at a loss that is not finite was seen by the trainer.
        "caught": first is not None or label["error"] is not None,
        "in_time": first is not None and (twice is None or first < twice),
        "at_latest": first is not None and (twice is None or first <= twice),
        "worse": round(float(distance[-1] / distance.min()), 2) if len(distance) else None,
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts over runs: of the broken ones what was caught, of all false alarms."""
    spoiled = [r for r in runs if r["kind"] != "healthy"]
    broken = [r for r in spoiled if r["broke"]]
    healthy = [r for r in runs if r["kind"] == "healthy"]
    names = ("caught", "in_time", "at_latest", "named")
    return {
        "spoiled": len(spoiled),
        "broken": len(broken),
        **{name: sum(r[name] for r in broken) for name in names},
        "kinds": {
            kind: {
                "runs": len(group),
                **{name: sum(r[name] for r in group) for name in names},
                "doubled": sum(r["doubled"] is not None for r in group),
            }
            for kind in (*KINDS, UNPLANNED)
            for group in [[r for r in broken if r["kind"] == kind]]
        },
        "healthy": len(healthy),
        "borne": len(spoiled) - len(broken),
        "alarms_when_borne": sum(r["caught"] for r in spoiled if not r["broke"]),
        "false_alarms": sum(bool(r["findings"]) for r in healthy),
        "alarms_before_the_fault": sum(bool(r["early"]) for r in broken),
    }


def judge(runs: Path, tuning: bool) -> None:
    """Judge all finished runs; print them (tuning), or write the record."""
    folders = sorted(path.parent for path in runs.glob("*/label.json"))
    labels = [json.loads((folder / "label.json").read_text()) for folder in folders]
    if tuning:
        folders = [f for f, x in zip(folders, labels, strict=True) if x["part"] == "tuning"]
    found = [judged(folder) for folder in folders]
    if tuning:
        for run in found:
            print(run["kind"], run["method"], run["seed"], run["findings"], end=" ")
            print(f"began {run['began']} doubled {run['doubled']} worse {run['worse']}")
        print(json.dumps(summary(found), indent=1))
        return
    methods = {
        p: sorted({r["method"] for r in found if r["part"] == p}) for p in ("tuning", "test")
    }
    record = {
        "what": "runs that the training monitor catches, and false alarms",
        "setup": {
            "data": f"letters at {SIDE} px",
            "steps": STEPS,
            "batch": BATCH,
            "snapshots": SNAPSHOTS,
            "samples": SAMPLES,
            "fault_at_step": BREAK,
            "ramp": RAMP,
            "planned": {
                "broken": sum(case.kind != "healthy" for case in cases()),
                "healthy": sum(case.kind == "healthy" for case in cases()),
            },
        },
        "parts": {p: summary([r for r in found if r["part"] == p]) for p in ("tuning", "test")},
        "methods": methods,
        "made": {
            "broken": sum(r["kind"] in KINDS for r in found),
            "healthy": sum(r["kind"] not in KINDS for r in found),
            "minutes": sum(r["seconds"] for r in found) / 60,
        },
        "missed": [
            f"{r['kind']} of {r['method']}"
            for r in found
            if r["kind"] != "healthy" and r["broke"] and not r["caught"]
        ],
        "false": {
            f"{r['method']}-{r['seed']}": r["findings"]
            for r in found
            if r["kind"] == "healthy" and r["findings"]
        },
        **origin(),
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["parts"], indent=1))


def main() -> None:
    """Make or judge the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("make", "judge"))
    parser.add_argument("runs", type=Path)
    parser.add_argument("--only", choices=("tuning", "test"))
    parser.add_argument("--minutes", type=float, default=60.0, help="of processor time")
    parser.add_argument("--tuning", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    probe.IMAGES = SAMPLES
    if options.action == "make":
        options.runs.mkdir(parents=True, exist_ok=True)
        for case in cases():
            if (options.runs / case.name / "label.json").is_file():
                continue
            if options.only not in (None, case.part):
                continue
            if time.process_time() > 60 * options.minutes:
                print("stopped after the processor time that was given; run it again")
                return
            make(case, options.runs)
            print(f"{case.name} made after {time.process_time():.0f} s", flush=True)
        return
    judge(options.runs, options.tuning)


if __name__ == "__main__":
    main()
