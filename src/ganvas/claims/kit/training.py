"""Training in experiments: one loop, and a comparison of arms by one measure.

A `Comparison` trains each of its arms and measures them all, their untrained twins
included, with the same function. What the checks see is computed from these measures
alone, so that it can be computed again with a null in place of the trained model: a
check that a null passes shows nothing (`ganvas.claims.runner.judge`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from ganvas.claims.claim import Finding
from ganvas.core import Run, rng
from ganvas.core.files import write
from ganvas.data import Feed
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.engine.retention import Retention

Figures = Mapping[str, float]
SAVE_SECONDS = 120.0  # between two checkpoints of an arm
UNREAD = 20  # moments at which a run without readings may be saved
READINGS = "readings.json"
_folder: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Within it, trainings continue from checkpoints in `folder`, and write them."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


@dataclass
class Trained:
    """An arm after its training, or its untrained twin.

    model: for inference, with averaged weights if the run averages
    readings: what was read at evenly spaced moments, the last at the end
    """

    engine: Engine
    seed: int
    readings: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model: Any = self.engine.model()

    @property
    def feed(self) -> Feed:
        """The training data."""
        return self.engine.feed

    def curve(self, name: str) -> list[float]:
        """One of the readings' figures over the run."""
        return [reading[name] for reading in self.readings]


Read = Callable[[Engine, Mapping[str, list[float]]], Figures]


def train(
    run: Run,
    seed: int,
    *,
    name: str = "run",
    readings: int = 0,
    read: Read | None = None,
    steps: bool = True,
    device: str = "cpu",
) -> Trained:
    """Train a run to its end.

    name: of the checkpoints, one folder for each run of an experiment
    readings: number of times that `read` is called, evenly spaced over the images
    read: called with the engine and with what each step logged since the last reading;
        must leave the engine as it was. Its figures and `images` are a reading.
    steps: False: no step is performed, but everything is read: the untrained twin
    """
    engine = Engine(replace(run, seed=seed), run.data(), device)
    folder = _folder.get()
    place = folder / name if folder and steps else None
    found = _restore(engine, place) if place else []
    saved = monotonic()
    count = readings or UNREAD
    for mark in (run.images * (i + 1) // count for i in range(count)):
        if steps and engine.clock.images >= mark:
            continue  # restored
        logged: dict[str, list[float]] = {}
        while steps and engine.clock.images < mark:
            for key, value in engine.step().items():
                logged.setdefault(key, []).append(float(value))
        if read is not None and readings:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(rng.fold_in("reading"))
                found.append({"images": engine.clock.images, **read(engine, logged)})
        done = engine.clock.images >= run.images
        if place and (done or monotonic() - saved > SAVE_SECONDS):
            _save(engine, place, found)
            saved = monotonic()
    return Trained(engine, seed, found)


def _save(engine: Engine, place: Path, readings: Sequence[Figures]) -> None:
    write(place / READINGS, json.dumps(readings))  # first: a checkpoint has all its readings
    checkpoint.save(place, *engine.state())
    Retention().prune(place, None)


def _restore(engine: Engine, place: Path) -> list[dict[str, float]]:
    paths = checkpoint.all_of(place)
    if not paths:
        return []
    engine.load_state(*checkpoint.load(paths[-1]))
    readings = json.loads((place / READINGS).read_text())
    return [r for r in readings if r["images"] <= engine.clock.images]


def flat(arms: Mapping[str, Figures]) -> dict[str, float]:
    """{"arm": {"figure": 1.0}} -> {"arm_figure": 1.0}."""
    return {f"{arm}_{name}": value for arm, found in arms.items() for name, value in found.items()}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An experiment that trains arms and compares them by one measure.

    arms: name -> run. Of several runs of an arm (for example rates), the one with the
        least `rank` of its figures counts: a control gets its own best settings.
    controls: names of the arms that lack the mechanism and nothing else
    measure: the figures of a trained arm or of an untrained twin
    chance: what `measure` would give a guess that knows nothing of the input or class,
        or a function that computes it when the experiment runs
    figures: the figures that checks name, from those of the arms
    series: data of the plot, of a trained arm
    readings, read: as of `train`
    """

    arms: Mapping[str, Run | Sequence[Run]]
    controls: Sequence[str] = ()
    measure: Callable[[Trained], Figures]
    chance: Figures | Callable[[], Figures] = field(default_factory=dict)
    figures: Callable[[Mapping[str, Figures]], Figures] = flat
    series: Callable[[Trained], Mapping[str, Any]] = lambda trained: {}
    rank: Callable[[Figures], float] = lambda figures: 0.0
    readings: int = 0
    read: Read | None = None
    device: str = "cpu"

    def __call__(self, seed: int) -> Finding:
        """Train and measure all arms with one seed."""
        found: dict[str, Figures] = {}
        twins: dict[str, Figures] = {}
        series: dict[str, Any] = {}
        for arm, runs in self.arms.items():
            runs = [runs] if isinstance(runs, Run) else list(runs)
            tried = []
            for i, run in enumerate(runs):
                name = arm if len(runs) == 1 else f"{arm}-{i}"
                trained = self._train(run, seed, name)
                tried.append((self.measure(trained), self.series(trained)))
            best = min(range(len(runs)), key=lambda i: self.rank(tried[i][0]))
            found[arm], series[arm] = tried[best]
            if arm not in self.controls:
                twins[arm] = self.measure(self._train(runs[best], seed, arm, steps=False))
        subjects = list(twins)
        nulls = {"untrained": twins}
        chance = self.chance() if callable(self.chance) else self.chance
        if chance:
            nulls["chance"] = {arm: {**found[arm], **chance} for arm in subjects}
        nulls |= {name: dict.fromkeys(subjects, found[name]) for name in self.controls}
        return Finding(
            self.figures(found),
            series,
            {name: self.figures({**found, **null}) for name, null in nulls.items()},
        )

    def _train(self, run: Run, seed: int, name: str, steps: bool = True) -> Trained:
        return train(
            run,
            seed,
            name=name,
            readings=self.readings,
            read=self.read,
            steps=steps,
            device=self.device,
        )

    def shortened(self, images: int) -> Comparison:
        """The same experiment with runs of that many images, for tests."""
        arms = {
            name: replace(runs, images=images)
            if isinstance(runs, Run)
            else [replace(run, images=images) for run in runs]
            for name, runs in self.arms.items()
        }
        return replace(self, arms=arms)
