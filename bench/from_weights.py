"""Measure what training from weights gains: roses from a model of tulips.

    python bench/from_weights.py --data FLOWERS --weights DIR
        [--minutes 15,7] [--few 100] [--held-out 0.25] [--freeze D:3] [--size 64]
        [--seeds 1] [--set SETTING ...] [--rated 10] [--runs runs/from_weights]
    python bench/from_weights.py --report    # the section of docs/src/from_weights.md.in

FLOWERS has the folders `rose` and `tulip`. A model of the tulips is trained for the first
of --minutes. Then six trainings on roses take the second of --minutes each, `--seeds`
times: from random weights, from the model of tulips, and from it with the first layers of
D frozen (FreezeD, Mo et al., 2020, arXiv:2002.10964), on all training images of roses and
on --few of them. A share --held-out of the roses, chosen at random and always the same,
is in no training. All figures are against these: the Frechet distance over SqueezeNet
(weights in DIR), precision and recall, as in bench/gallery_figures.py. The same figures
are taken of the training images of roses, of as many real tulips, of the untrained
network and of the model of tulips.

Minutes are processor minutes of one thread, as in bench/gallery.py: the rate is measured
first, with and without frozen layers in turn, and the numbers of images follow from it,
with which the schedules end. Trainings that differ only in weights and data therefore
have equal numbers of images. Each is a `ganvas train` in a process of its own that
resumes exactly: the same command continues what was cut. `cpu_minutes` is the time used.
Linux only (/proc). Meant for the background:

    OMP_NUM_THREADS=1 setsid nohup nice -n 19 python bench/from_weights.py ... > log 2>&1 &

Writes bench/results/from_weights.json, and samples of every training to
RUNS/samples.png. No image goes to the documentation, since the photographs may not be
published.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import statistics
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import gallery
import gallery_figures as figures
import numpy as np
import torch
from gallery import Data, Training
from gallery_page import form

from ganvas.core.environment import commit, machine
from ganvas.engine.run_dir import read_record
from ganvas.inference.load import load
from ganvas.media import encode, grid

ROOT = Path(__file__).resolve().parents[1]
RECORD = "bench/results/from_weights.json"
PAGE = ROOT / "docs" / "src" / "from_weights.md.in"
# What `ganvas train auto` takes for fewer than 2,000 images without labels, and mirrored
# images, which suit flowers.
RECIPE, AUGMENT = "dcgan_letters", "color,translation"
SETTINGS = (
    "labels=false", "data.flip=true",
    "lr.start={images/2}", "lr.end={images}", "ema.images={images/12}",
    "optim.G.lr=1e-3", "optim.D.lr=1e-3",
)  # fmt: skip
BASE = "tulips"
STARTS = {
    "scratch": "from random weights",
    "free": "from the model of tulips",
    "frozen": "the same, `{freeze}` frozen",
}
AMOUNTS = {"all": "roses", "few": "roses_few"}  # -> data set
TURNS = 2  # of the measurement of the rates
LEAST = 7  # images that a measure needs, with precision by 5 neighbors
SHOWN = 24  # samples of each training in RUNS/samples.png
# What a person saw in RUNS/samples.png of the recorded measurement, for the page.
SEEN = (
    "At 64 px after so few minutes no sample passes for a photograph. From scratch with 100 images "
    "the samples are blots of one color under a checkerboard; from the model of tulips they are "
    "single blossoms on a ground. With all roses both have shape, and those from tulips have "
    "sharper edges and keep some tulips' backgrounds. Frozen and free cannot be told apart by eye."
)


def rows(args: argparse.Namespace) -> dict[str, Training]:
    """Name -> training, in their order: the model of tulips, then START-AMOUNT-SEED."""

    def row(data: str, minutes: float, seed: int, start: str = "", freeze: str = "") -> Training:
        settings = (*SETTINGS, *args.set, f"seed={seed}")
        return Training(
            recipe=RECIPE,
            minutes=minutes,
            data=data,
            size=args.size,
            settings=settings,
            augment=AUGMENT,
            start=start,
            freeze=freeze,
        )

    before, minutes = args.minutes
    found = {BASE: row(BASE, before, 0)}
    for seed, (amount, data), start in product(range(args.seeds), AMOUNTS.items(), STARTS):
        base = "" if start == "scratch" else BASE
        freeze = args.freeze if start == "frozen" else ""
        found[f"{start}-{amount}-{seed}"] = row(data, minutes, seed, base, freeze)
    return found


# ---------------------------------------------------------------- data


def make_data(source: Path, runs: Path, few: int, held_out: float) -> None:
    """Write the data sets to RUNS/data; a random order of the roses decides the parts.

    Raises `SystemExit` if there are too few roses, or a folder is missing.
    """
    for name in ("rose", "tulip"):
        if not (source / name).is_dir():
            raise SystemExit(f"{source} has no folder {name!r}: give --data FLOWERS with both")
    roses = [f for f in sorted((source / "rose").iterdir()) if f.is_file()]
    order = [roses[i] for i in np.random.default_rng(0).permutation(len(roses))]
    kept_apart = round(held_out * len(order))
    test, train = order[:kept_apart], order[kept_apart:]
    if len(test) < LEAST or len(train) < max(few, LEAST):
        raise SystemExit(
            f"{len(roses)} roses: {kept_apart} are held out, and {len(train)} are left, of "
            f"which {few} are a small data set. A measure needs {LEAST} of each: change --held-out "
            "or --few"
        )
    tulips = [f for f in sorted((source / "tulip").iterdir()) if f.is_file()]
    sets = {
        BASE: {"": tulips},
        "roses": {"train": train, "test": test},
        "roses_few": {"train": train[:few], "test": test},
    }
    for name, parts in sets.items():
        folder, new = runs / "data" / name, runs / "data" / f"{name}.new"
        if folder.exists():
            continue
        shutil.rmtree(new, ignore_errors=True)
        for part, files in parts.items():
            (new / part).mkdir(parents=True)
            for file in files:
                shutil.copyfile(file, new / part / file.name)
        new.rename(folder)


# ---------------------------------------------------------------- training


def planned(args: argparse.Namespace, table: Mapping[str, Training]) -> dict[str, Any]:
    """Settings and rates of the trainings in RUNS, which are measured once.

    Raises `SystemExit` if the trainings there have other settings.
    """
    file, wanted = args.runs / "plan.json", settings_of(args)
    if not file.is_file():
        make_data(args.data, args.runs, args.few, args.held_out)
        gallery.write(file, {"settings": wanted, "rates": rates(table, args)})
    plan: dict[str, Any] = json.loads(file.read_text())
    if plan["settings"] != wanted:
        raise SystemExit(
            f"{args.runs} holds trainings with {plan['settings']}, and these settings are "
            f"{wanted}: choose other --runs"
        )
    return plan


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    names = ("minutes", "few", "held_out", "freeze", "size", "set")
    return {name: getattr(args, name) for name in names}


def rates(table: Mapping[str, Training], args: argparse.Namespace) -> dict[str, float]:
    """Images per processor second with all layers trained ("free") and with frozen ones."""
    gallery.RATED_SECONDS = args.rated
    source = gallery.DATA["roses"].path(args.runs)
    found: dict[str, list[float]] = {"free": [], "frozen": []}
    for _, kind in product(range(TURNS), found):
        found[kind].append(gallery.rate(table[f"{kind}-all-0"], source))
    return {kind: statistics.harmonic_mean(values) for kind, values in found.items()}


def train(runs: Path, table: Mapping[str, Training], rates: Mapping[str, float]) -> None:
    """Train all rows, or continue. Raises `SystemExit` if one does not end."""
    for name, row in table.items():
        if row.start and not any((runs / name / "checkpoints").glob("*")):
            # Killed before the weights that it starts from were saved: it cannot resume.
            shutil.rmtree(runs / name, ignore_errors=True)
        gallery.carried_out(name, runs, {}, rates["frozen" if row.freeze else "free"])
        if not state_of(runs, name)["complete"]:
            raise SystemExit(f"{name} is not complete: the same command continues it")


def state_of(runs: Path, name: str) -> dict[str, Any]:
    return json.loads((runs / f"{name}.json").read_text())


# ---------------------------------------------------------------- figures


def judged(args: argparse.Namespace, table: Mapping[str, Training]) -> dict[str, Any]:
    """The record of all trainings."""
    runs, first = args.runs, "scratch-all-0"
    images = state_of(runs, first)["images"]
    paths = {name: gallery.DATA[name].path(runs) for name in (BASE, *AMOUNTS.values())}
    it = figures.Judged(first, runs / first, paths["roses"], images, args.weights)
    held_out, training = it.parts
    run = gallery.run_of(table[BASE], paths[BASE], images)
    tulips = figures.part_of(run, "train", it.model.runtime.channels)
    roses = training.fixed(figures.SAMPLES).x
    count = len(roses)
    models = {name: load(runs / name) for name in table}
    sets: dict[str, Any] = {
        "real": roses.split(256),
        "real_tulips": tulips.fixed(count).x.split(256),
        "untrained": it.untrained.batches(count),
        **{name: model.batches(count) for name, model in models.items()},
    }
    real = figures.features_of(held_out, "x", it.extractor)
    found = figures.distances(sets, real, it.extractor)
    of = {which: {name: values[which] for name, values in found.items()} for which in sets}
    samples = [model.sample(SHOWN, output="torch") for model in models.values()]
    sheet = grid.grid(torch.cat(samples), SHOWN // 2)
    encode.save(sheet, runs / "samples.png", recipe=RECIPE)
    print(f"{runs / 'samples.png'}: two rows each of {', '.join(models)}", flush=True)

    def trained(name: str) -> dict[str, Any]:
        state = state_of(runs, name)
        used = {"cpu_minutes": state["cpu_seconds"] / 60}
        seen = {"images": models[name].info["images_trained"]}
        return {"command": state["command"], **seen, **used, **of[name]}

    arms = {
        start: {
            amount: [trained(f"{start}-{amount}-{seed}") for seed in range(args.seeds)]
            for amount in AMOUNTS
        }
        for start in STARTS
    }
    record = read_record(runs / first)
    return {
        "command": shown_command(args),
        "commit": commit(),
        "machine": machine(),
        "precision": record["run"].get("precision"),
        "recipe": RECIPE,
        "augment": AUGMENT,
        **settings_of(args),
        "seeds": args.seeds,
        "data": {
            "tulips": tulips.info.count,
            "roses": training.info.count,
            "few": args.few,
            "held_out": held_out.info.count,
            "fingerprints": {
                "tulips": tulips.info.fingerprint,
                "roses": training.info.fingerprint,
                "held_out": held_out.info.fingerprint,
            },
        },
        "extractor": it.extractor.name,
        "samples": count,
        "real": of["real"],
        "real_tulips": of["real_tulips"],
        "untrained": of["untrained"],
        "base": trained(BASE),
        "arms": arms,
        "ratios": {amount: ratios(arms, amount) for amount in AMOUNTS},
    }


def ratios(arms: Mapping[str, Any], amount: str) -> dict[str, float]:
    """Quotients of the mean Fréchet distances of the starts, below 1 for a gain."""
    scratch, free, frozen = (
        statistics.fmean(one["frechet"] for one in arms[start][amount]) for start in STARTS
    )
    return {"free_over_scratch": free / scratch, "frozen_over_free": frozen / free}


def shown_command(args: argparse.Namespace) -> str:
    words = ["python", "bench/from_weights.py", "--data", "FLOWERS"]
    words += ["--weights", "DIR"] if args.weights else []
    words += ["--minutes", ",".join(f"{m:g}" for m in args.minutes), "--few", str(args.few)]
    words += ["--held-out", f"{args.held_out:g}", "--freeze", args.freeze]
    words += ["--size", str(args.size), "--seeds", str(args.seeds)]
    return shlex.join([*words, *(["--set", *args.set] if args.set else [])])


# ---------------------------------------------------------------- the section of the page

HEADING = "## Measured: roses from a model of tulips"
TEXT = """\
```
{command}
```

`{recipe}` without labels, at `{size}` px and augmented by `{augment}`, trains on
{tulips} photographs of tulips (tf_flowers) for `{before}` processor minutes of one core.
Then it trains on roses for `{after}` minutes: from random weights, from the model of
tulips, and from it with frozen layers (`--freeze {freeze}`); on {roses} images and on {few}
of them. The schedules end with each training. The minutes of the model of tulips are not
counted, as if it had been there before. {trainings}

{held_out} roses, chosen at random, are in no training. {samples} samples of each model are
compared with them ([record](../bench/results/from_weights.json)). Fréchet distances are
over `{extractor}`: they are not FID, and with so few images they compare only within this
table. The distance of the training images themselves is the least that can be expected.

{table}

From the model of tulips, the distance is {free_all} times that from random weights on all
images, and {free_few} times on {few}. With frozen layers it is {frozen_all} times that of
training all layers on all images, and {frozen_few} times on {few}.

**What these figures do not show.** {limits}

{seen}
"""
# Of the record that is committed: read it again after a new measurement.
LIMITS = """\
Photographs of tulips, which are no roses, have a distance of {tulip_distance}, less than
every model of roses (the best: {best}). So the distance measures mostly whether images
look like photographs of flowers with all their variety, and hardly whether they show
roses; a model of tulips starts with much of the former. The recall tells them apart:
{tulip_recall} for the photographs, at most {most_recall} for the models.
From tulips, {few} images come out {few_distance} and all {roses} {all_distance}: more data should
not hurt, so this shows how large the chance is in a single training, compared with
only {held_out} held-out images. Trainings with frozen layers have the same minutes and not the
same images: their steps are faster, and they saw {frozen_images} images where the others saw
{free_images}. The page therefore supports one statement: in a few minutes, with {few}
images, a start from weights of similar images gives a much smaller distance than a start
from random ones. It does not order the arms that start from weights."""
SINGLE = "Each line is a single training: small differences say nothing, since seeds differ, too."
SEVERAL = "Figures are means over `{seeds}` seeds, with the least and the largest distance."
HIDDEN = "The images are not shown, since the photographs may not be published."
COLUMNS = ("", "images of roses", "processor minutes", "images seen", "Fréchet distance")
OTHERS = ("precision", "recall")
CONTROLS = {
    "base": "model of tulips, not trained on roses",
    "untrained": "untrained network",
    "real_tulips": "photographs of tulips",
    "real": "training images of roses",
}


def figure(names: str, how: str, reduce: str = "") -> str:
    """A place of the page that tools/docs.py fills from the record."""
    return f"{{{{{' '.join(filter(None, (how, reduce, RECORD, names)))}}}}}"


def section(record: Mapping[str, Any]) -> str:
    """The section of docs/from_weights.md, with a reference to the record for every figure."""
    names = ("command", "recipe", "size", "augment", "freeze", "extractor")
    counts = {name: figure(f"data.{name}", ",d") for name in ("tulips", "roses", "few", "held_out")}
    before, after = (f"{m:g}" for m in record["minutes"])
    seeds = record["seeds"]
    of = {
        f"{start}_{amount}": figure(f"ratios.{amount}.{ratio}", ".2f")
        for amount in AMOUNTS
        for start, ratio in (("free", "free_over_scratch"), ("frozen", "frozen_over_free"))
    }
    return f"{HEADING}\n\n" + TEXT.format(
        **{name: record[name] for name in names},
        **counts,
        **of,
        before=before,
        after=after,
        samples=figure("samples", ",d"),
        trainings=SINGLE if seeds == 1 else SEVERAL.format(seeds=seeds),
        table=table_of(record),
        limits=LIMITS.format(
            tulip_distance=figure("real_tulips.frechet", ",.0f"),
            tulip_recall=figure("real_tulips.recall", ".2f"),
            best=figure("arms.f*.*.*.frechet", ",.0f", "min"),
            most_recall=figure("arms.*.*.*.recall", ".2f", "max"),
            few_distance=figure("arms.free.few.*.frechet", ",.0f", "mean"),
            all_distance=figure("arms.free.all.*.frechet", ",.0f", "mean"),
            frozen_images=figure("arms.frozen.all.*.images", ",.0f", "mean"),
            free_images=figure("arms.free.all.*.images", ",.0f", "mean"),
            **counts,
        ),
        seen=f"{SEEN} {HIDDEN}".strip(),
    )


def table_of(record: Mapping[str, Any]) -> str:
    """The table of the section: trainings, then what they are compared with."""
    trainings = [one for arm in record["arms"].values() for of in arm.values() for one in of]
    all_of = [*trainings, *(record[name] for name in CONTROLS)]
    how = form("frechet", {str(i): one["frechet"] for i, one in enumerate(all_of)})

    def figures_at(at: str, reduce: str) -> list[str]:
        distance = figure(f"{at}.frechet", how, reduce)
        if reduce and record["seeds"] > 1:
            least, most = (figure(f"{at}.frechet", how, name) for name in ("min", "max"))
            distance += f" ({least} to {most})"
        return [distance, *(figure(f"{at}.{name}", ".2f", reduce) for name in OTHERS)]

    lines = [[*COLUMNS, *OTHERS], ["---"] * (len(COLUMNS) + len(OTHERS))]
    for (amount, data), start in product(AMOUNTS.items(), STARTS):
        at = f"arms.{start}.{amount}.*"
        lines.append([
            STARTS[start].format(freeze=record["freeze"]),
            figure("data.few" if data == "roses_few" else "data.roses", ",d"),
            figure(f"{at}.cpu_minutes", ".1f", "mean"),
            figure(f"{at}.images", ",.0f", "mean"),
            *figures_at(at, "mean"),
        ])  # fmt: skip
    lines += [[word, "", "", "", *figures_at(at, "")] for at, word in CONTROLS.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(record: Path, page: Path) -> None:
    """Write the last section of the page, or replace it."""
    if not record.is_file():
        raise SystemExit(f"there is no record {record}: run the measurement first")
    text = page.read_text(encoding="utf-8").partition(HEADING)[0].rstrip()
    found = section(json.loads(record.read_text()))
    page.write_text(f"{text}\n\n{found}", encoding="utf-8")


# ---------------------------------------------------------------- command line


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with the folders rose and tulip")
    parser.add_argument("--weights", type=Path, help="folder of SqueezeNet's weights")
    parser.add_argument("--minutes", default="15,7", help="of the tulips, and of each training")
    parser.add_argument("--few", type=int, default=100, help="images of the small data set")
    parser.add_argument("--held-out", type=float, default=0.25, help="share of the roses")
    parser.add_argument("--freeze", default="D:3")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="extend", nargs="+", default=[])
    parser.add_argument("--rated", type=float, default=10.0, help="seconds of a rate's turn")
    parser.add_argument("--runs", type=Path, default=Path("runs/from_weights"))
    parser.add_argument("--out", type=Path, default=ROOT / RECORD)
    parser.add_argument("--report", action="store_true", help="write the section of the page")
    args = parser.parse_args(arguments)
    if args.report:
        return args
    if args.data is None:
        parser.error("give --data FLOWERS, a folder with the folders rose and tulip")
    try:
        args.minutes = [float(m) for m in args.minutes.split(",")]
    except ValueError:
        args.minutes = []
    if len(args.minutes) != 2 or min(args.minutes) <= 0:
        parser.error("--minutes takes two numbers above 0, as 15,7")
    if not 0 < args.held_out < 1 or min(args.few, args.seeds) < 1:
        parser.error("--held-out lies between 0 and 1, and --few and --seeds are at least 1")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    args = parsed(arguments)
    if args.report:
        report(args.out, PAGE)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops a run as Ctrl-C does
    table = rows(args)
    gallery.TABLE.update(table)
    for name in (BASE, *AMOUNTS.values()):
        gallery.DATA[name] = Data(name, publish=False, credit="Photographs of flowers.")
    args.runs.mkdir(parents=True, exist_ok=True)
    train(args.runs, table, planned(args, table)["rates"])
    record = judged(args, table)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    gallery.write(args.out, record)
    for amount, values in record["ratios"].items():
        print(amount, json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
