"""The faults that a run's log shows at a moment, each seen by one function of the log.

Called by `ganvas.training.monitor.find` at every snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ganvas.engine.run_dir import Line, read_lines

FEWEST = 6  # snapshots before which nothing is judged: the start is never settled
WORSE = 1.25  # times the best distance, from which the images count as worse


@dataclass(frozen=True)
class Log:
    """A run's log, or its beginning.

    lines: of log.jsonl
    measures: of measures.jsonl
    """

    lines: Sequence[Line]
    measures: Sequence[Line]

    @classmethod
    def read(cls, run: Path) -> Log:
        """The log of a run folder. Raises `CheckpointError` if it cannot be read."""
        return cls(read_lines(run / "log.jsonl"), read_lines(run / "measures.jsonl"))

    def until(self, images: float) -> Log:
        """The log as it was after a number of images."""
        parts = (
            [line for line in part if _number(line, "images") <= images]
            for part in (self.lines, self.measures)
        )
        return Log(*parts)

    def having(self, *names: str) -> Log:
        """The log without the snapshots up to the last that lacks one of these values.

        D's scores of real images are unknown while images grow, for example.
        """
        lacking = [
            i
            for i, line in enumerate(self.measures)
            if not all(isinstance(line.get(name), int | float) for name in names)
        ]
        return Log(self.lines, self.measures[lacking[-1] + 1 if lacking else 0 :])

    @cached_property
    def moments(self) -> list[int]:
        """The numbers of images at which snapshots were measured."""
        return [int(_number(line, "images")) for line in self.measures]

    def measured(self, name: str) -> np.ndarray:
        """A value at each snapshot; empty if one lacks it."""
        return _column(self.measures, name)

    def logged(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(images, values) of the lines that have a value."""
        lines = [line for line in self.lines if isinstance(line.get(name), int | float)]
        return _column(lines, "images"), _column(lines, name)


@dataclass(frozen=True)
class Evidence:
    """Why a detector is sure.

    name: of the value that shows it, in measures.jsonl or log.jsonl
    value, before: the value now, and as it was
    began: number of images
    """

    name: str
    value: float
    before: float
    began: int


def _collapse(log: Log) -> Evidence | None:
    """The distance is 3 times the largest of the last three, or the spread has fallen.

    The former counts if precision, recall or D's loss has halved, too, or none is
    known; the latter is below 0.6 of its best, within three snapshots.
    """
    distance, spread = log.measured("frechet"), _spread(log)
    if len(distance) >= FEWEST and distance[-1] > 3 * distance[-4:-1].max():
        names = ("precision", "recall", "D/loss")
        known = [values for name in names if len(values := log.measured(name))]
        if not known or any(0 <= v[-1] < 0.5 * np.median(v[-4:-1]) for v in known):
            usual = float(np.median(distance[-4:-1]))
            return _since(log, "frechet", distance, usual, len(distance) - 1)
    if len(spread) < FEWEST or not _worse(log, 1):
        return None
    peak = float(_smooth(spread[:-1]).max())
    low = spread < 0.6 * peak
    if not (low[-2:].all() or (low[-1] and spread[-1] < 0.4 * peak)):
        return None
    high = int(np.flatnonzero(spread >= 0.85 * peak)[-1])
    return _since(log, "diversity", spread, peak, high + 1) if high >= len(spread) - 5 else None


def _partial(log: Log) -> Evidence | None:
    """Recall or the spread has been low for three snapshots, and precision has not."""
    if not _worse(log, 3):
        return None
    precision = log.measured("precision")
    recall, spread = log.measured("recall"), _spread(log)
    for name, values, share in (("recall", recall, 0.6), ("diversity", spread, 0.85)):
        if len(values) < FEWEST:
            continue
        peak = float(_smooth(values[:-3]).max())
        if peak < 0.2 or (values[-3:] >= share * peak).any():
            continue
        if name == "recall" and np.median(precision[-3:]) < 0.8 * np.median(precision[-8:-3]):
            continue  # then the images are worse, not fewer
        high = int(np.flatnonzero(values >= share * peak)[-1])
        return _since(log, name, values, peak, high + 1)
    return None


def _memorizing(log: Log) -> Evidence | None:
    """D's scores of held-out images lie nearer to those of generated images.

    Karras et al., 2020, arXiv:2006.06676, equation 1: r_v. Without scores, the loss on
    held-out images; without such images, D's mean sign on training images, r_t.
    """
    scored = log.having("D/real", "D/generated", "D/heldout")
    if len(scored.measures) >= FEWEST:
        real, generated = scored.measured("D/real"), scored.measured("D/generated")
        held_out = scored.measured("D/heldout")
        gap, margin = _recent(real - held_out), _recent(real - generated)
        bad = (gap > 0.5 * margin) & (margin > 0) & (gap > 2.5 * _error(real - held_out))
        if bad[-2:].all():
            start = max(_last_run(bad) - 4, 0)  # the first that a mean holds
            return _since(scored, "D/heldout", held_out, float(real[-1]), start)
        return None
    loss, other = log.measured("D/loss"), log.measured("D/loss_heldout")
    if min(len(loss), len(other)) >= FEWEST:
        bad = other - loss > 0.5 * np.maximum(np.abs(loss[:FEWEST]).max(), 1e-9)
        if bad[-3:].all():
            return _since(log, "D/loss_heldout", other, float(loss[-1]), _last_run(bad))
        return None
    images, sign = log.logged("D/sign")
    recent = sign[-max(len(sign) // 5, 10) :]
    if len(sign) >= 20 and recent.min() > 0.9 and _worse(log, 3):
        began = int(images[len(sign) - len(recent)])
        return Evidence("D/sign", float(recent.mean()), float(sign[: len(sign) // 5].mean()), began)
    return None


def _vanished(log: Log) -> Evidence | None:
    """G's gradient is a twentieth of what it was, or D wins and G stagnates."""
    gradient = log.measured("G/gradient")
    if len(gradient) >= FEWEST:
        usual = float(np.median(gradient[1:-2]))
        low = gradient < 0.05 * usual
        if low[-2:].all():
            return _since(log, "G/gradient", gradient, usual, _last_run(low))
    distance = log.measured("frechet")
    if len(distance) < FEWEST + 4 or distance[-4:].min() < 0.9 * distance[:-4].min():
        return None
    return _wide_margin(log) or _low_loss(log) or _accurate(log)


def _wide_margin(log: Log) -> Evidence | None:
    """D's margin between real and generated images is 4 times as wide as usual.

    For three snapshots; or 2.5 times as wide for five.
    """
    log = log.having("D/real", "D/generated")
    if len(log.measures) >= FEWEST + 4:
        real, generated = log.measured("D/real"), log.measured("D/generated")
        margin = real - generated
        for window, factor, length in ((slice(-14, -4), 4.0, 3), (slice(-20, -6), 2.5, 5)):
            usual = float(np.median(margin[window]))
            wide = margin > factor * usual
            if usual > 0 and wide[-length:].all():
                before = float(real[-1]) - usual
                return _since(log, "D/generated", generated, before, _last_run(wide))
    return None


def _low_loss(log: Log) -> Evidence | None:
    """D's loss at the last snapshots is half of the usual one, or as logged has fallen.

    The latter by 0.4 times its size and by more than chance: a critic's loss has no
    least value.
    """
    loss = log.measured("D/loss")
    if len(loss) == len(log.moments):
        usual, last = float(np.median(loss[-20:-6])), loss[-5:]
        low = loss < 0.6 * usual
        if low[-5:].all() and 0 <= np.median(last) < 0.5 * usual:
            return _since(log, "D/loss", loss, usual, _last_run(low))
    images, values = log.logged("D/loss")
    part = len(values) // 8
    if part >= 10:
        before, last = values[-4 * part : -part], values[-part:]
        usual, now = float(np.median(before)), float(np.median(last))
        chance = 1.5 * float(np.median(np.abs(before - usual)))
        if usual - now > max(0.4 * abs(usual), 2 * chance):
            return Evidence("D/loss", now, usual, int(images[len(values) - part]))
    return None


def _accurate(log: Log) -> Evidence | None:
    """D's accuracy is 0.99 or more."""
    images, accuracy = log.logged("D/accuracy")
    recent = accuracy[-max(len(accuracy) // 8, 10) :]
    if len(accuracy) < 20 or recent.mean() < 0.99:
        return None
    began = int(images[len(accuracy) - len(recent)])
    return Evidence("D/accuracy", float(recent.mean()), float(np.median(accuracy)), began)


def _divergence(log: Log) -> Evidence | None:
    """A loss is 20 times, a gradient 30 or a singular value 5 times as large as it was.

    Singular values jump when a BigGAN collapses: Brock et al., 2018, arXiv:1809.11096,
    section 4.1.
    """
    for name in sorted({key for line in log.lines[-20:] for key in line}):
        sigma = "/sigma0/" in name
        if not sigma and not name.endswith("/loss"):
            continue
        images, values = log.logged(name)
        size = np.abs(values)
        settled = size[len(size) // 10 : -max(len(size) // 10, 5)]
        if len(settled) < 10:
            continue
        usual, now = float(np.percentile(settled, 90)), float(np.median(size[-5:]))
        if now > (5 if sigma else 20) * max(usual, 1e-3):
            began = int(images[_last_run(size > 3 * usual)])
            return Evidence(name, now, usual, began)
    for name in ("D/gradient", "G/gradient"):
        gradient = log.measured(name)
        if len(gradient) >= FEWEST:
            usual = float(np.median(gradient[1:-2]))
            high = gradient > 30 * max(usual, 1e-6)
            if high[-2:].all():
                return _since(log, name, gradient, usual, _last_run(high))
    return None


def _weak(log: Log) -> Evidence | None:
    """D has twice scored generated images no lower than real ones; they get worse."""
    scored = log.having("D/real", "D/generated")
    if len(scored.measures) < FEWEST or not _worse(log, 3):
        return None
    real, generated = scored.measured("D/real"), scored.measured("D/generated")
    margin = real - generated
    bad = margin <= 0
    if not bad[-2:].all():
        return None
    usual = float(np.median(margin))
    return _since(scored, "D/generated", generated, float(generated[-1] + usual), _last_run(bad))


def _oscillation(log: Log) -> Evidence | None:
    """Four swings of the distance by 1.5 times in ten snapshots, and no new best."""
    distance = log.measured("frechet")
    if len(distance) < FEWEST + 10 or distance[-10:].min() < 0.9 * distance[:-10].min():
        return None
    swings, pivot, direction = 0, float(distance[-10]), 0
    for value in distance[-9:].tolist():
        change = np.log(max(value, 1e-12) / max(pivot, 1e-12))
        if abs(change) > np.log(1.5) and np.sign(change) != direction:
            swings, direction, pivot = swings + 1, int(np.sign(change)), value
        elif np.sign(change) == direction:
            pivot = value
    if swings < 4:
        return None
    return _since(log, "frechet", distance, float(distance.min()), len(distance) - 10)


def _checkerboard(log: Log) -> Evidence | None:
    """The spectrum's peaks are high for three snapshots, and higher than before."""
    peaks = log.measured("checkerboard")
    if len(peaks) < FEWEST:
        return None
    least = float(_smooth(peaks[:-3]).min())
    high = peaks >= max(8.0, 2.5 * least)
    if high[-3:].all():
        return _since(log, "checkerboard", peaks, least, _last_run(high))
    last, previous = peaks[-5:], peaks[-10:-5]
    if len(previous) == 5 and last.min() >= 12 and np.median(last) >= 0.8 * np.median(previous):
        return _since(log, "checkerboard", peaks, 1.0, 0)
    return None


def _decay(log: Log) -> Evidence | None:
    """The median distance of three snapshots is 1.5 times that of the best three.

    Or the last one is twice as large and the one before on the way. If snapshots differ
    more than that by chance, they must exceed what chance explains.
    """
    distance = log.measured("frechet")
    if len(distance) < FEWEST + 2:
        return None
    smooth = _smooth(distance)
    best = int(smooth[:-3].argmin())
    moves = np.diff(np.log(np.maximum(distance[-13:-3], 1e-12)))
    chance = float(np.median(np.abs(moves - np.median(moves))))  # beside a steady fall
    middle = max(1.5, np.exp(3 * chance)) * smooth[best]
    last = max(2.0, np.exp(5 * chance)) * smooth[best]
    rising = distance[-1] > last and distance[-2] > WORSE * smooth[best]
    if np.median(distance[-3:]) <= middle and not rising:
        return None
    return _since(log, "frechet", distance, float(smooth[best]), best + 1)


DETECTORS: dict[str, Callable[[Log], Evidence | None]] = {
    "collapse": _collapse,
    "partial": _partial,
    "memorizing": _memorizing,
    "vanished": _vanished,
    "divergence": _divergence,
    "weak": _weak,
    "oscillation": _oscillation,
    "checkerboard": _checkerboard,
    "decay": _decay,
}


def _spread(log: Log) -> np.ndarray:
    """Diversity, at most 1: the noise of the first snapshots has more than the data."""
    return np.minimum(log.measured("diversity"), 1.0)


def _worse(log: Log, snapshots: int) -> bool:
    """Whether the last snapshots' median distance exceeds the best by `WORSE`."""
    distance = log.measured("frechet")
    if len(distance) <= snapshots:
        return False
    return float(np.median(distance[-snapshots:])) > WORSE * float(distance[:-snapshots].min())


def _since(log: Log, name: str, values: np.ndarray, before: float, start: int) -> Evidence:
    """Evidence of the last value of a measure that has been wrong from `start` on."""
    return Evidence(name, float(values[-1]), before, log.moments[min(start, len(values) - 1)])


def _last_run(bad: np.ndarray) -> int:
    """The index at which the last unbroken run of true values begins."""
    good = np.flatnonzero(~bad)
    return min(int(good[-1]) + 1, len(bad) - 1) if len(good) else 0


def _recent(values: np.ndarray) -> np.ndarray:
    """Means of the last five values, of fewer at the start."""
    sums = np.cumsum(values)
    before = np.concatenate([np.zeros(5), sums])[: len(values)]
    return (sums - before) / np.minimum(np.arange(1, len(values) + 1), 5)


def _error(values: np.ndarray) -> np.ndarray:
    """Standard errors of the means of `_recent`; infinite for the first."""
    variance = np.maximum(_recent(values**2) - _recent(values) ** 2, 0)
    degrees = np.minimum(np.arange(len(values)), 4)
    return np.where(degrees > 0, np.sqrt(variance / np.maximum(degrees, 1)), np.inf)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Medians of three; the ends are medians of two."""
    padded = np.pad(values, 1, constant_values=np.nan)
    return np.nanmedian(np.stack([padded[:-2], values, padded[2:]]), axis=0)


def _column(lines: Sequence[Line], name: str) -> np.ndarray:
    """A value of every line; empty if one lacks it."""
    values = [line.get(name) for line in lines]
    numbers = [float(v) for v in values if isinstance(v, int | float)]
    return np.array(numbers if len(numbers) == len(values) else [])


def _number(line: Line, name: str) -> float:
    value = line[name]
    assert not isinstance(value, str)
    return value
