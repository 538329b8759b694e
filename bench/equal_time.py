"""Train every method from noise for the same time on the same data.

    python bench/equal_time.py fashion-mnist=PATH cifar10=PATH [--minutes 1] [--seeds 3]
        [--methods dcgan,...] [--weights DIR]

A cell is a method, a data set and a seed. It is trained at 32x32 in its own process, on
one thread, until training has used its minutes of processor time, the feed's thread
included (on an accelerator: of wall-clock time), and measured with 2,048 samples
against the test part: Fréchet distance, precision and recall over SqueezeNet (its
weights in DIR), images seen and images per second. A step is never interrupted:
`seconds` is the time used.

Cells that bench/results/equal_time.json has under the same settings are kept, so that the
command continues an interrupted call. A cell that failed is recorded with its error and
tried again by the next call. The first seed's samples are drawn to docs/equal_time. `--report`
writes docs/src/equal_time.md.in; run `python tools/docs.py` afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ganvas import recipes
from ganvas.core.allocator import retain_heap
from ganvas.core.files import write
from ganvas.data import Prefetch, images
from ganvas.data.held_out import TEST_PARTS
from ganvas.engine.engine import Engine
from ganvas.evaluation.real_features import RealFeatures, extractor_named
from ganvas.inference import model_file
from ganvas.inference.load import load
from ganvas.media import encode, grid
from ganvas.metrics.suite import measure_samples
from ganvas.training.start import with_data

ROOT = Path(__file__).parents[1]
RESULTS, SHEETS, PAGE = (
    ROOT / "bench" / "results" / "equal_time.json",
    ROOT / "docs" / "equal_time",
    ROOT / "docs" / "src" / "equal_time.md.in",
)
SAMPLES = 2048
# The recipe, and settings that make it smaller for a processor: only sizes and numbers
# of images. The rates, penalties and R1 of the small recipes (vae_small, .._digits,
# r3gan_small) were chosen for their own data.
METHODS: dict[str, tuple[str, list[str]]] = {
    "gan": ("gan", []),
    "cgan": ("cgan_dcgan", ["G.width=16", "D.width=16"]),
    "dcgan": ("dcgan", ["G.width=16", "D.width=16", "batch=64"]),
    # Not the paper's 25 phases of 100 critic steps: they would be all that it gets.
    "wgan": ("wgan", ["G.width=16", "D.width=16", "first=1"]),
    "wgan_gp": ("wgan_gp_dcgan", ["G.width=16", "D.width=16"]),
    "vae": ("vae_small", []),
    "vaegan": ("vaegan_small", []),
    "sngan": ("sngan_cnn", ["G.width=16", "D.width=16"]),
    "sagan": ("sagan_digits", []),
    "biggan": ("biggan_digits", []),
    # Grows from 4 to 32 px over 6,000 images, since only a network that has grown can
    # be measured. No weight average: at .999 per step the average of so few steps would
    # be mostly the initial weights.
    "progan": (
        "progan",
        [
            "G.widths=[48,48,32,16]",
            "D.widths=[48,48,32,16]",
            "G.latent=48",
            "fade=1000",
            "hold=1000",
            "batch=32",
            "ema=null",
        ],
    ),
    "stylegan": ("stylegan_digits", ["fade=1000", "hold=1000"]),  # as ProGAN
    "stylegan2": ("stylegan2_digits", []),
    "r3gan": ("r3gan_small", []),
}
SHOWN = {"frechet": "Fréchet distance", "precision": "precision", "recall": "recall"}


def asked(method: str, args: argparse.Namespace) -> dict[str, Any]:
    """The settings that a recorded cell must have to be kept."""
    recipe, settings = METHODS[method]
    return {
        "recipe": recipe,
        "settings": settings,
        "minutes": args.minutes,
        "device": args.device,
    } | {
        "features": args.features,
        "samples": args.samples,
    }


def cell(
    method: str, data: str, seed: int, args: argparse.Namespace, sheet: Path | None
) -> dict[str, Any]:
    torch.set_num_threads(1)
    retain_heap()
    recipe, settings = METHODS[method]
    make = recipes.find(recipe)
    count = with_data(make(1), data, 32, []).data().info.count
    run = replace(with_data(make(count), data, 32, settings), seed=seed)
    feed = run.data()
    engine = Engine(run, Prefetch(feed), args.device)
    cuda = engine.device.type == "cuda"
    now = time.process_time if engine.device.type == "cpu" else time.monotonic
    start = now()
    while not engine.clock.step or now() - start < 60 * args.minutes:
        engine.step()
        if cuda:
            torch.cuda.synchronize()  # so that queued work is counted
    seconds, shape = now() - start, feed.info.shape
    facts = {
        "shape": asdict(shape),
        "task": "images",
        "images_trained": engine.clock.images,
        "recipe": recipe,
    }
    facts |= {"data": {"fingerprint": feed.info.fingerprint, "classes": feed.info.classes}}
    with tempfile.TemporaryDirectory() as folder:
        model_file.save(Path(folder), engine.model(), run, shape, facts)
        model = load(folder, device=args.device)
        # As `ganvas measure`, without the classifier, whose training takes longer than the rest.
        # All images of data without a test part; the record says which.
        part = "test" if images(data, size=32, part="test").info.part in TEST_PARTS else "train"
        real = RealFeatures(
            model, Path(folder), data, part, extractor_named(args.features, args.weights, None)
        )
        record: dict[str, Any] = measure_samples(
            model.batches(args.samples, seed=0), real.features("x"), real.extractor
        )
        if sheet is not None:
            made = model.sample(64, output="torch")
            told = {"recipe": recipe, "data": sheet.stem, "images_trained": engine.clock.images}
            encode.save(grid.grid(made, columns=8), sheet, **told)
    return {
        **asked(method, args),
        "steps": engine.clock.step,
        "images": engine.clock.images,
        "seconds": seconds,
        "images_per_second": engine.clock.images / seconds,
        "values": record["values"],
        "protocol": {**record["protocol"], "real": {**record["protocol"]["real"], **real.protocol}},
        "data": feed.info.fingerprint,
        "machine": record["machine"],
        "commit": record["commit"],
    }


def _reason(stderr: str) -> str:
    """The last line of standard error: the exception without its traceback."""
    return (stderr.strip().splitlines() or ["no message"])[-1]


COMMAND = (
    "python bench/equal_time.py fashion-mnist=PATH cifar10=PATH --weights DIR"
    "    # then: python bench/equal_time.py --report"
)
INTRODUCTION = """\
# Every method for the same time

```
{command}
```

Every method that generates images from noise, at 32x32, for the same processor time on one
thread, given in the table ([record](../bench/results/equal_time.json), this one from before
records named their command);
{processor}, torch `{torch}`. `{samples}` samples against the test
part over SqueezeNet's features: these distances are not FID and compare only with one
another. The figures are the median over the seeds and, in brackets, the lowest and the
highest.

The table does not show where a method ends. Its minutes are far from the papers' days, the
sizes are those of `METHODS` in the script, and nothing was tuned for these data: it shows
which small recipe makes progress early, not which paper is better. Some methods get class
labels, others do not. A step is not cut: WGAN's first has 100 critic steps. The number of
images counts the real images drawn, in every critic step. Precision alone means little: with
a recall of 0, even samples that show no clothes reach a high one, as the images below show.
"""


def report(found: dict[str, Any]) -> str:
    """The template of docs/equal_time.md, with a reference to the record for every figure."""
    machine = next((c["machine"] for c in found["cells"].values() if "machine" in c), {})
    lines = INTRODUCTION.format(
        command=COMMAND,
        processor=machine.get("processor"),
        torch=machine.get("torch"),
        samples=SAMPLES,
    ).split("\n")
    for data in found["data"]:
        every = {k: c for k, c in found["cells"].items() if k.split(" ")[1] == data}
        if not any("values" in c for c in every.values()):
            continue
        lines += [f"## Results: {data}", ""]
        if data == "cifar10":
            lines += [
                "This copy of the data set is lossy (JPEG, quality 75): its figures compare only "
                "with each other.",
                "",
            ]
        names = ["method", "seeds", "minutes", *SHOWN.values(), "images", "images/s"]
        lines += ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
        sheets = []
        for method in METHODS:
            cells = {k: c for k, c in every.items() if k.startswith(f"{method} ") and "values" in c}
            if not cells:
                continue
            row = [f"`{method}`", f"`{len(cells)}`", f"`{found['minutes']:g}`"]
            row += [_middle(cells, f"values.{name}") for name in SHOWN]
            row += [_middle(cells, "images"), _middle(cells, "images_per_second")]
            lines.append("| " + " | ".join(row) + " |")
            sheet = f"{SHEETS.name}/{data}-{method}.png"
            if (SHEETS.parent / sheet).is_file():
                sheets += [f"`{method}`", "", f"![samples of {method}]({sheet})", ""]
        if failed := [
            f"`{k}` (`{c['error'].split(': ', 1)[-1]}`)" for k, c in every.items() if "error" in c
        ]:
            lines += ["", f"Failed: {', '.join(failed)}."]
        if missing := [f"`{m}`" for m in METHODS if not any(k.startswith(f"{m} ") for k in every)]:
            lines += ["", f"Not run: {', '.join(missing)}."]
        lines += ["", f"## Samples: {data}, seed 0", "", *sheets]
    return "\n".join(lines).rstrip()


def _middle(cells: dict[str, Any], names: str) -> str:
    """The median of a figure (of two: the lower) and its range, each with its cell."""

    def value(cell: Any) -> float:
        for name in names.split("."):
            cell = cell[name]
        return float(cell)

    def shown(key: str) -> str:
        number = value(cells[key])
        digits = 0 if number >= 100 else 2
        return f"{{{{.{digits}f bench/results/equal_time.json cells.{key}.{names}}}}}"

    ordered = sorted(cells, key=lambda key: value(cells[key]))
    middle = shown(ordered[(len(ordered) - 1) // 2])
    return (
        middle if len(ordered) == 1 else f"{middle} ({shown(ordered[0])} to {shown(ordered[-1])})"
    )


def run_apart(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a cell in a process of its own, on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Every method for the same time on the same data.")
    parser.add_argument("data", nargs="*", metavar="NAME=PATH")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--features", default="squeezenet")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--sheets", type=Path, default=SHEETS)
    parser.add_argument("--report", action="store_true")
    parser.add_argument(
        "--cell", nargs=3, metavar=("METHOD", "NAME", "SEED"), help=argparse.SUPPRESS
    )
    args = parser.parse_args(arguments)
    methods = args.methods.split(",")
    if unknown := set(methods) - set(METHODS):
        raise SystemExit(
            f"no method is called {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}"
        )
    data = dict(pair.split("=", 1) for pair in args.data)
    if args.cell:
        method, name, seed = args.cell
        sheet = args.sheets / f"{name}-{method}.png" if seed == "0" else None
        print(json.dumps(cell(method, data[name], int(seed), args, sheet)))
        return
    found: dict[str, Any] = (
        json.loads(args.out.read_text()) if args.out.is_file() else {"cells": {}}
    )
    if found.setdefault("minutes", args.minutes) != args.minutes and not args.report:
        raise SystemExit(
            f"{args.out} has cells of {found['minutes']} minutes; give --minutes "
            f"{found['minutes']} or another --out"
        )
    found["command"] = COMMAND.partition("    #")[0]
    found["data"] = list(dict.fromkeys([*found.get("data", []), *data]))
    for name in data:
        for seed in range(args.seeds):
            for method in methods:
                key = f"{method} {name} {seed}"
                had = found["cells"].get(key, {})
                if "values" in had and {**had, **asked(method, args)} == had:
                    continue
                command = [sys.executable, __file__, *args.data, "--cell", method, name, str(seed)]
                command += [
                    "--minutes",
                    str(args.minutes),
                    "--device",
                    args.device,
                    "--features",
                    args.features,
                ]
                command += ["--samples", str(args.samples), "--sheets", str(args.sheets)]
                command += ["--weights", str(args.weights)] if args.weights else []
                done = run_apart(command)
                last = (done.stdout.strip().splitlines() or [""])[-1]
                found["cells"][key] = (
                    json.loads(last) if done.returncode == 0 else {"error": _reason(done.stderr)}
                )
                write(
                    args.out, (json.dumps(found, indent=1) + "\n").encode()
                )  # whole or not at all
                cell_ = found["cells"][key]
                print(key, cell_.get("values", {}).get("frechet", cell_.get("error")), flush=True)
    if args.report:
        PAGE.write_text(report(found) + "\n")


if __name__ == "__main__":
    main()
