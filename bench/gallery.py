"""The gallery: what each method makes of small data sets in 7 to 30 minutes of one core.

    python bench/gallery.py [--only NAME ...] [--runs runs/gallery] [--data NAME=PATH ...]
    python bench/gallery.py --list
    python bench/gallery.py --page --weights DIR   # figures, images and docs/gallery.md

The trainings of bench/gallery.toml, one after the other, each as `ganvas train` in a
process of its own with one thread, in bf16 where the processor has its instructions. A
run's minutes are processor minutes, so that other work on the machine does not shorten
it: its rate is measured first, and the number of images, on which its schedules depend,
follows from that. Every run resumes exactly: the same command continues what was cut and
passes over what is complete, or in bench/results/gallery.json already and not named with
--only: the gallery may be trained on several machines, a part on each. What was used is
in RUNS/NAME.json. Data sets are made in
RUNS/data; those that must be given are named with --data, and rows without their data are
passed over. Linux only (/proc). Meant for the background:

    OMP_NUM_THREADS=1 setsid nohup nice -n 19 python bench/gallery.py > gallery.log 2>&1 &

`--page` judges the runs that are there (gallery_figures.py) and writes
bench/results/gallery.json, docs/gallery/NAME.png, docs/src/gallery.md.in and
docs/gallery.md. A run that is not complete is shown as cut.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gallery_data

from ganvas import recipes
from ganvas.core import Run
from ganvas.core.allocator import retain_heap
from ganvas.core.config import fitted
from ganvas.core.environment import auto_precision
from ganvas.engine.engine import Engine
from ganvas.training.auto import filled
from ganvas.training.benchmark import seconds_per_image
from ganvas.training.start import augmented, with_data

RATED_SECONDS = 15.0  # of the measurement of a run's rate
TICKS = 1.05  # sample grids, quality curve and checkpoints, as a share of the steps' time
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)  # exit codes after an interruption
CLOCK = os.sysconf("SC_CLK_TCK")
FILE = Path(__file__).with_suffix(".toml")
SETS = FILE.with_name("gallery_data.toml")
RECORD = "bench/results/gallery.json"


@dataclass(frozen=True)
class Data:
    """A data set: see bench/gallery_data.toml for the fields."""

    name: str
    publish: bool
    credit: str
    source: str = ""
    command: tuple[str, ...] = ()
    make: str = ""
    given: str = ""
    package: str = ""
    against: str = "test"

    def folder(self, runs: Path) -> Path:
        return runs / "data" / self.name

    def path(self, runs: Path) -> str:
        """What `ganvas train` opens, once it is prepared."""
        link = self.folder(runs)  # a link to the path that the user gave
        return self.source if self.source and not link.exists() else str(link.resolve())

    @property
    def shown(self) -> str:
        """The data set in commands of the documentation."""
        return self.source or f"{self.name}/"


@dataclass(frozen=True)
class Training:
    """A row: see bench/gallery.toml for the fields.

    `start`: name of the row whose weights it starts from; `freeze`: layers that stay as
    they are (--freeze). No row of the gallery has them."""

    recipe: str
    minutes: float
    data: str
    size: int
    settings: tuple[str, ...] = ()
    augment: str | None = None
    why: str = ""
    fault: str = ""
    precision: str = "auto"
    start: str = ""
    freeze: str = ""


def _read() -> tuple[dict[str, Data], dict[str, Training]]:
    def tables(file: Path) -> dict[str, dict[str, Any]]:
        return {
            name: {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
            for name, row in tomllib.loads(file.read_text(encoding="utf-8")).items()
        }

    return (
        {name: Data(name, **row) for name, row in tables(SETS).items()},
        {name: Training(**row) for name, row in tables(FILE).items()},
    )


DATA, TABLE = _read()


def settings_of(row: Training, images: int) -> list[str]:
    """`row.settings` with the numbers of images filled in."""
    return list(filled(row.settings, images))


def run_of(row: Training, source: str, images: int, extra: tuple[str, ...] = ()) -> Run:
    """The run that `ganvas train` makes of a row, but for its length and precision."""
    run = augmented(fitted(recipes.find(row.recipe)(images), images), row.augment)
    run = with_data(run, source, row.size, [*settings_of(row, images), *extra])
    return replace(run, frozen=tuple(row.freeze.split(","))) if row.freeze else run


def rate(row: Training, source: str) -> float:
    """Images per processor second of training, on one thread, over the whole run."""
    retain_heap()
    precision = auto_precision("cpu") if row.precision == "auto" else row.precision
    run = run_of(row, source, 1_000_000, (f"precision={precision}",))
    engine = Engine(run, run.data())

    def timed() -> float:
        start = time.process_time()
        engine.step()
        return time.process_time() - start

    return 1 / seconds_per_image(engine, RATED_SECONDS, timed)


def prepared(data: Data, runs: Path, given: dict[str, Path]) -> str | None:
    """Make a data set or find it. Returns its path, or None, with a line that says why."""
    folder = data.folder(runs)
    if data.given and data.name not in given and not data.source and not folder.exists():
        print(f"no {data.name}: give --data {data.name}=PATH, {data.given}", flush=True)
        return None
    if folder.exists():
        return data.path(runs)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if data.source:
        if data.name in given:
            folder.symlink_to(given[data.name].resolve())
        return data.path(runs)
    new = folder.with_name(f"{data.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        if data.command:
            words = [word.replace("{out}", str(new)) for word in data.command]
            subprocess.run([sys.executable, "-m", "ganvas", *words], check=True)
        else:
            source = (given[data.name],) if data.given else ()
            gallery_data.MAKERS[data.make](new, *source)
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"no {data.name}: {e}. {data.package}", flush=True)
        return None
    new.rename(folder)
    return data.path(runs)


def cpu_seconds(pid: int) -> float:
    """That a process has used so far, in all its threads; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / CLOCK


def carried_out(name: str, runs: Path, given: dict[str, Path], rate: float | None = None) -> None:
    """Start or continue one run until its images or a fifth more than its minutes are used.

    `rate`: images per processor second, if it was measured before.
    """
    row, folder, note = TABLE[name], runs / name, runs / f"{name}.json"
    state: dict[str, Any] = (
        json.loads(note.read_text()) if note.is_file() else {"cpu_seconds": 0.0, "complete": False}
    )
    if state["complete"]:
        return
    source = prepared(DATA[row.data], runs, given)
    if source is None:
        return
    if "images" not in state:
        command = [sys.executable, sys.argv[0], "--rate", name, source]
        state["rate"] = rate or float(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        )
        state["images"] = math.ceil(state["rate"] * row.minutes * 60 / TICKS / 100) * 100
        state["settings"] = settings_of(row, state["images"])
        write(note, state)
    ganvas = [sys.executable, "-m", "ganvas"]
    shown = words(row, DATA[row.data].shown, f"runs/{name}", state)
    state.setdefault("command", shlex.join(["ganvas", *shown]))
    if (folder / "run.json").is_file():
        command = [*ganvas, "resume", str(folder)]
    else:
        command = [*ganvas, *words(row, source, str(folder), state)]
    before, limit = state["cpu_seconds"], row.minutes * 60 * 1.2
    began, process = time.monotonic(), subprocess.Popen(command)
    try:
        while process.poll() is None:
            time.sleep(5)
            state["cpu_seconds"] = max(state["cpu_seconds"], before + cpu_seconds(process.pid))
            write(note, state)
            if state["cpu_seconds"] > limit and rate is None:
                process.send_signal(signal.SIGINT)
                process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # it saves and stops
        process.wait()
        raise
    over = rate is None and state["cpu_seconds"] > limit
    state["complete"] = process.returncode == 0 or (over and process.returncode in STOPPED)
    state["seconds"] = round(state.get("seconds", 0.0) + time.monotonic() - began, 1)
    write(note, state)
    print(
        f"{name}: exit {process.returncode}, {state['cpu_seconds'] / 60:.1f} processor minutes",
        flush=True,
    )


def words(row: Training, source: str, out: str, state: dict[str, Any]) -> list[str]:
    """The arguments of `ganvas` that train a row."""
    augment = ["--augment", row.augment] if row.augment else []
    chosen = [word for setting in state["settings"] for word in ("--set", setting)]
    length = ["--precision", row.precision, "--images", str(state["images"])]
    train = ["train", row.recipe, source, "--out", out, "--size", str(row.size)]
    start = ["--from", str(Path(out).with_name(row.start))] if row.start else []
    freeze = ["--freeze", row.freeze] if row.freeze else []
    return [*train, *augment, *length, *chosen, *start, *freeze]


def write(path: Path, state: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(state, indent=1) + "\n")
    temporary.replace(path)


def recorded(file: Path) -> set[str]:
    """Names of the rows that have been trained to their end and judged."""
    rows = json.loads(file.read_text())["rows"] if file.is_file() else {}
    return {name for name, row in rows.items() if row["images"] >= row["planned"]}


def given_paths(pairs: list[str]) -> dict[str, Path]:
    """NAME=PATH -> paths by name, which must be data that can be given."""
    found = {name: path for name, _, path in (pair.partition("=") for pair in pairs)}
    allowed = [name for name, data in DATA.items() if data.given]
    if wrong := [name for name, path in found.items() if name not in allowed or not path]:
        raise SystemExit(f"--data takes NAME=PATH for {', '.join(allowed)}; got {wrong[0]}")
    return {name: Path(path) for name, path in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=TABLE, metavar="NAME")
    parser.add_argument("--runs", type=Path, default=Path("runs/gallery"))
    parser.add_argument("--data", nargs="+", default=[], metavar="NAME=PATH")
    parser.add_argument("--list", action="store_true", help="print the table")
    parser.add_argument("--page", action="store_true", help="judge the runs and write the page")
    parser.add_argument("--weights", type=Path, help="folder of SqueezeNet's and LPIPS's weights")
    parser.add_argument("--root", type=Path, default=FILE.parents[1], help=argparse.SUPPRESS)
    parser.add_argument("--rate", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.list:
        for name, row in TABLE.items():
            about = f"{row.recipe:<18} {row.data} {row.size} px {row.minutes:g} min"
            print(f"{name:<24} {about}  {' '.join(row.settings)}")
    elif args.rate:
        name, source = args.rate
        print(rate(TABLE[name], source))
    elif args.page:
        import gallery_page

        gallery_page.write_page(args.only or list(TABLE), args.runs, args.root, args.weights)
    else:
        given = given_paths(args.data)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops a run as Ctrl-C does
        args.runs.mkdir(parents=True, exist_ok=True)
        done = recorded(args.root / RECORD)
        for name in args.only or [name for name in TABLE if name not in done]:
            carried_out(name, args.runs, given)


if __name__ == "__main__":
    main()
