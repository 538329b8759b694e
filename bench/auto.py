"""Measure which recipe suits which data and minutes: the table of `ganvas train auto`.

    python bench/auto.py [--runs runs/auto] [--data NAME=PATH ...]   # train, resumable
    python bench/auto.py --judge --weights DIR                       # figures of what is there
    python bench/auto.py --choices                                   # rows for auto.toml
    python bench/auto.py --page                                      # docs/src/auto.md.in

Every candidate for images from noise (src/ganvas/training/auto.toml), on every data set
of SETS, for 3 and 15 processor minutes of one core, with two seeds; the best two for an
hour with one. The data set of HELD_OUT decides nothing: on it the regret is measured,
the distance of what `auto` chooses over the least one, minus 1. All trainings are as in
bench/gallery.py, all distances as in bench/gallery_figures.py: the Frechet distance to
one part of the data, beside that of the other part. `--judge` writes
bench/results/auto.json; `--choices` prints what follows from it; after `--page` run
`python tools/docs.py`.

Runs in the record are not trained again, and its other seeds take as many images as they
did, in fp32: the table may be trained on several machines, a part on each.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gallery
from gallery import Training

from ganvas.core.environment import commit, machine
from ganvas.training import auto

SETS = {"letters": 26, "fashion": 10, "emoji": 0}  # classes; sizes are the candidates' own
HELD_OUT = {"flowers": 3}
COUNTS, SIDES = {"flowers": 2532}, {"emoji": 64}  # of others many, and 32
MINUTES, SEEDS, LONG = (3, 15), (0, 1), 60
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "auto.json"
PAGE = ROOT / "docs" / "src" / "auto.md.in"
INTRODUCTION = """\
# Which recipe: `ganvas train auto`

`ganvas train auto DATA --minutes M` looks at the data set and trains a recipe that suits it:
pix2pix for pairs, CycleGAN for two domains, and for images alone the recipe that was nearest
to the data in the tables below, by labels and minutes. It takes images of `32` pixels for
trainings below `10` minutes and of `64` at most for longer ones; data sets of fewer than
`2,000` images are augmented. The candidates and the choices are in
[auto.toml](../src/ganvas/training/auto.toml). What it does not look at: the subject of the
images, and the machine beyond its measured speed.

The tables hold Fréchet distances over SqueezeNet's features, one number for each seed; they
compare only within a table. `real` is the distance of the other part of the real data.
Minutes are processor minutes of one core, in fp32; {processor}, torch `{torch}`
([record](../bench/results/auto.json); `python bench/auto.py`).
"""


def row(data: str, candidate: str, minutes: float, seed: int) -> Training:
    """A training of the table, as `auto` would configure it."""
    classes = {**SETS, **HELD_OUT}[data]
    found = auto.Facts("noise", COUNTS.get(data, 1_000_000), classes, SIDES.get(data, 32))
    chosen = auto.configured(candidate, found, minutes)
    assert isinstance(chosen.size, int)
    settings = (*chosen.set, f"seed={seed}")
    return Training(
        chosen.recipe, minutes, data, chosen.size, settings, chosen.augment, precision="fp32"
    )


def rows(record: dict[str, Any]) -> dict[str, Training]:
    """Name -> training; the shortest first. `record`: of `--judge`, for the hour."""
    names = [n for n, c in auto.read().candidates.items() if c.task == "noise"]
    planned = [
        (data, name, minutes, seed)
        for minutes in MINUTES
        for seed in SEEDS
        for data in (*SETS, *(HELD_OUT if seed == 0 else ()))
        for name in names
    ]
    for data in SETS:
        two = sorted(names, key=lambda n, d=data: _mean(record, d, n, MINUTES[-1]))[:2]
        if _mean(record, data, two[1], MINUTES[-1]) < math.inf:
            planned += [(data, name, LONG, 0) for name in two]
    return {f"{d}-{m}-{n}-{s}": row(d, n, m, s) for d, n, m, s in planned}


def _mean(record: dict[str, Any], data: str, candidate: str, minutes: float) -> float:
    """Mean distance over the seeds; infinite if there is none."""
    found = [
        one["frechet"]["model"]
        for name, one in record.get("runs", {}).items()
        if name.rsplit("-", 1)[0] == f"{data}-{minutes}-{candidate}"
    ]
    return sum(found) / len(found) if found else math.inf


def known_rate(record: dict[str, Any], name: str) -> float | None:
    """Images per second of the runs in the record that differ from `name` in the seed only."""
    alike, minutes = name.rsplit("-", 1)[0], int(name.split("-")[1])
    for other, one in record.get("runs", {}).items():
        if other.rsplit("-", 1)[0] == alike:
            return float(one["images"] / (minutes * 60) * gallery.TICKS)
    return None


def judged(table: dict[str, Training], runs: Path, weights: Path | None) -> dict[str, Any]:
    """The record: the distances of all complete runs."""
    from gallery_figures import Judged

    record = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"runs": {}}
    for name, one in table.items():
        note = runs / f"{name}.json"
        if name in record["runs"] or not note.exists():
            continue
        state = json.loads(note.read_text())
        if not state["complete"]:
            continue
        source = gallery.DATA[one.data].path(runs)
        figures = Judged(name, runs / name, source, state["images"], weights).figures()
        record["runs"][name] = {
            "command": state["command"],
            "images": state["images"],
            "processor_minutes": round(state["cpu_seconds"] / 60, 2),
            **figures,
        }
        print(name, json.dumps(figures["frechet"]), flush=True)
        record = {
            "command": "python bench/auto.py --judge --weights DIR",
            "commit": commit(),
            "machine": machine(),
            "features": "squeezenet" if weights else "random-conv-v1",
            "runs": record["runs"],
        }
        record["regret"] = regret(record)
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    return record


def choices(record: dict[str, Any]) -> Iterator[tuple[bool, float, str, dict[str, float]]]:
    """(labels, minutes, candidate, score by candidate), as far as they were measured.

    The score is the geometric mean over data sets of the distance over the least one.
    """
    names = [n for n, c in auto.read().candidates.items() if c.task == "noise"]
    for labels in (True, False):
        sets = [data for data, classes in SETS.items() if bool(classes) == labels]
        for minutes in (*MINUTES, LONG):
            scores = {}
            for name in names:
                ratios = [
                    _mean(record, data, name, minutes)
                    / min(_mean(record, data, other, minutes) for other in names)
                    for data in sets
                ]
                scores[name] = math.exp(sum(map(math.log, ratios)) / len(ratios))
            measured = {k: v for k, v in scores.items() if math.isfinite(v)}
            if measured:
                yield labels, minutes, min(measured, key=lambda n: measured[n]), measured


def regret(record: dict[str, Any]) -> dict[str, float]:
    """minutes -> regret on the data set that was held out, where all are measured."""
    names = [n for n, c in auto.read().candidates.items() if c.task == "noise"]
    chosen = {(labels, minutes): name for labels, minutes, name, _ in choices(record)}
    found = {}
    for data, classes in HELD_OUT.items():
        for minutes in MINUTES:
            distances = {n: _mean(record, data, n, minutes) for n in names}
            best, key = min(distances.values()), (bool(classes), minutes)
            if key in chosen and all(map(math.isfinite, distances.values())):
                found[f"{data} {minutes} min"] = distances[chosen[key]] / best - 1
    return found


def page(record: dict[str, Any]) -> str:
    """The template of docs/auto.md, with a reference to the record for every figure."""

    def shown(run: str, which: str) -> str:
        number = record["runs"][run]["frechet"][which]
        return f"{{{{.{0 if number >= 100 else 1}f {file} runs.{run}.frechet.{which}}}}}"

    file = RESULTS.relative_to(ROOT)
    hardware = record["machine"]
    lines = INTRODUCTION.format(
        processor=hardware["processor"],
        torch=hardware["torch"],
    ).split("\n")
    for data in (*SETS, *HELD_OUT):
        found = {
            (int(m), name, int(seed)): run
            for run in record["runs"]
            for d, m, name, seed in [run.split("-")]
            if d == data
        }
        lengths = sorted({minutes for minutes, _, _ in found})
        if not lengths:
            continue
        held = "; not used for the choice" if data in HELD_OUT else ""
        lines += [f"## Measured: {data}{held}", ""]
        lines += ["| candidate | " + " | ".join(f"`{m}` minutes" for m in lengths) + " |"]
        lines += ["|---" * (len(lengths) + 1) + "|"]
        for name in dict.fromkeys(name for _, name, _ in found):
            cells = [
                ", ".join(shown(run, "model") for key, run in found.items() if key[:2] == (m, name))
                for m in lengths
            ]
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
        any_run = next(iter(found.values()))
        lines.append("| real |" + f" {shown(any_run, 'real')} |" * len(lengths))
        lines.append("")
    if record["regret"]:
        lines += [
            "## Measured: regret",
            "",
            "The distance of what `auto` chooses over the least of the table, minus one, on data "
            "that were not used to choose:",
            "",
        ]
        lines += [f"* {name}: {{{{.0% {file} regret.{name}}}}}" for name in record["regret"]]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/auto"))
    parser.add_argument("--data", nargs="+", default=[], metavar="NAME=PATH")
    parser.add_argument("--judge", action="store_true", help="write the record")
    parser.add_argument("--choices", action="store_true", help="print what follows from it")
    parser.add_argument("--page", action="store_true", help="write docs/src/auto.md.in")
    parser.add_argument("--weights", type=Path, help="folder of SqueezeNet's weights")
    parser.add_argument("--rate", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    record = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    table = rows(record)
    gallery.TABLE.clear()
    gallery.TABLE.update(table)
    if args.choices:
        for labels, minutes, name, scores in choices(record):
            numbers = ", ".join(f"{k} {v:.2f}" for k, v in scores.items())
            print(f"labels={labels} minutes={minutes}: {name} ({numbers})")
        print("regret:", json.dumps(regret(record)))
    elif args.page:
        PAGE.write_text(page(record), encoding="utf-8")
    elif args.rate:
        name, source = args.rate
        print(gallery.rate(table[name], source))
    elif args.judge:
        judged(table, args.runs, args.weights)
    else:
        given = gallery.given_paths(args.data)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        args.runs.mkdir(parents=True, exist_ok=True)
        for name in table:
            if name not in record.get("runs", {}):
                gallery.carried_out(name, args.runs, given, known_rate(record, name))


if __name__ == "__main__":
    main()
