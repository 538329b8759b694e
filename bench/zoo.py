"""Every method that makes images from noise, for the same time on the same data.

    python bench/zoo.py fashion-mnist=PATH cifar10=PATH [--minutes 1] [--seeds 3] [--methods dcgan,...] [--weights DIR]

A cell is a method, a data set and a seed. It is trained at 32x32 in a process of its own, on one thread, until training has
used its minutes of processor time (on an accelerator: of time), and measured with 2,048 samples against the test part: Frechet
distance, precision and recall over SqueezeNet (its weights in DIR), images seen and images a second. Cells that are in
bench/results/zoo.json are kept, so that the command goes on where it was stopped. The first seed's samples are drawn to
docs/zoo. `--report` writes docs/zoo.md.
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
from statistics import median
from typing import Any

import torch

from ganvas import bundle, provenance, recipes, training
from ganvas.data import Prefetch
from ganvas.engine.engine import Engine
from ganvas.engine.memory import keep_freed_memory
from ganvas.measuring import measure
from ganvas.metrics.measure import commit, machine

ROOT = Path(__file__).parents[1]
RESULTS, SHEETS, PAGE = ROOT / "bench" / "results" / "zoo.json", ROOT / "docs" / "zoo", ROOT / "docs" / "zoo.md"
SAMPLES = 2048
# Recipe, and what is smaller than there so that a processor gets somewhere: sizes and counts of images, nothing else.
METHODS: dict[str, tuple[str, list[str]]] = {
    "gan": ("gan", []),
    "cgan": ("cgan_dcgan", ["G.width=16", "D.width=16"]),
    "dcgan": ("dcgan", ["G.width=16", "D.width=16", "batch=64"]),
    "wgan": ("wgan", ["G.width=16", "D.width=16", "first=1"]),  # the paper's 25 long phases would be all that it gets
    "wgan_gp": ("wgan_gp_dcgan", ["G.width=16", "D.width=16"]),
    "vae": ("vae_small", []),
    "vaegan": ("vaegan_small", []),
    "sngan": ("sngan_cnn", ["G.width=16", "D.width=16"]),
    "sagan": ("sagan_digits", []),
    "biggan": ("biggan_digits", []),
    "progan": (
        "progan",
        ["G.widths=[48,48,32,16]", "D.widths=[48,48,32,16]", "G.latent=48", "fade=1500", "hold=1500", "batch=32"],
    ),
    "stylegan": ("stylegan_digits", []),
    "stylegan2": ("stylegan2_digits", []),
    "r3gan": ("r3gan_small", []),
}
SHOWN = {"frechet": "Fréchet distance", "precision": "precision", "recall": "recall"}


def cell(
    method: str, data: str, seed: int, minutes: float, device: str, weights: Path, sheet: Path | None
) -> dict[str, Any]:
    torch.set_num_threads(1)
    keep_freed_memory()
    recipe, settings = METHODS[method]
    make = recipes.find(recipe)
    count = training.with_data(make(1), data, 32, []).data().info.count
    run = replace(training.with_data(make(count), data, 32, settings), seed=seed)
    feed = run.data()
    engine = Engine(run, Prefetch(feed), device)
    now = time.process_time if device == "cpu" else time.monotonic
    start = now()
    while now() - start < 60 * minutes:
        engine.step()
    seconds, shape = now() - start, feed.info.shape
    facts = {"shape": asdict(shape), "task": "images", "images_trained": engine.clock.images, "recipe": recipe}
    facts |= {"data": {"fingerprint": feed.info.fingerprint, "classes": feed.info.classes}}
    with tempfile.TemporaryDirectory() as folder:
        bundle.save(Path(folder), engine.model(), run, shape, facts)
        record = measure(folder, data, n=SAMPLES, features="squeezenet", weights=weights, part="test", device=device)
        if sheet is not None:
            model = bundle.load(folder, device=device)
            made = model.sample(40, output="torch")
            provenance.save(provenance.grid(made, columns=10), sheet, recipe=recipe, images_trained=engine.clock.images)
    return {
        "recipe": recipe,
        "settings": settings,
        "steps": engine.clock.step,
        "images": engine.clock.images,
        "seconds": seconds,
        "images_per_second": engine.clock.images / seconds,
        "values": record["values"],
        "judge": record.get("judge"),
        "protocol": record["protocol"],
        "data": feed.info.fingerprint,
    }


def report(found: dict[str, Any]) -> str:
    """docs/zoo.md, every figure with its place in the record."""
    lines = [
        "# Every method for the same time",
        "",
        "`python bench/zoo.py` ([record](../bench/results/zoo.json)): every method that makes images from noise, at 32x32,",
        "for the same processor time on one thread; 2,048 samples against the test part over SqueezeNet's features, which are",
        "not FID's. A few minutes are far from the papers' days: the table says which methods get somewhere soon on a laptop,",
        "and nothing of where they end. Sizes are those of `METHODS` in the script. CIFAR-10 was a lossy copy (JPEG, quality",
        "75): its figures compare only with one another. Medians over the seeds that were run.",
        "",
    ]
    for data in found["data"]:
        lines += [f"## {data}: results", ""]
        lines += [
            "| method | seeds | minutes | " + " | ".join(SHOWN.values()) + " | images | samples |",
            "|---" * 7 + "|",
        ]
        for method in METHODS:
            cells = {k: c for k, c in found["cells"].items() if k.startswith(f"{method} {data} ") and "values" in c}
            if not cells:
                continue
            row = [f"`{method}`", f"`{len(cells)}`", f"`{found['minutes']:g}`"]
            for name in SHOWN:
                values = sorted((c["values"][name], k) for k, c in cells.items())
                value, key = values[(len(values) - 1) // 2]
                row.append(f"{value:.3g} <!-- = bench/results/zoo.json cells.{key}.values.{name} -->")
            images = median(c["images"] for c in cells.values())
            key = next(k for k, c in cells.items() if c["images"] >= images)
            row.append(f"{cells[key]['images']} <!-- = bench/results/zoo.json cells.{key}.images -->")
            sheet = f"zoo/{data}-{method}.png"
            row.append(f"![samples of {method}]({sheet})" if (PAGE.parent / sheet).is_file() else "")
            lines.append("| " + " | ".join(row) + " |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Every method for the same time on the same data.")
    parser.add_argument("data", nargs="*", metavar="NAME=PATH")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--cell", nargs=3, metavar=("METHOD", "NAME", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    data = dict(pair.split("=", 1) for pair in args.data)
    if args.cell:
        method, name, seed = args.cell
        sheet = SHEETS / f"{name}-{method}.png" if seed == "0" else None
        found = cell(method, data[name], int(seed), args.minutes, args.device, args.weights, sheet)
        print(json.dumps(found))
        return
    found = json.loads(args.out.read_text()) if args.out.is_file() else {"cells": {}}
    if found.setdefault("minutes", args.minutes) != args.minutes and not args.report:
        raise SystemExit(
            f"{args.out} has cells of {found['minutes']} minutes; give --minutes {found['minutes']} or another --out"
        )
    found |= {"command": "python bench/zoo.py", "machine": machine(), "commit": commit()} if data else {}
    found["data"] = list(dict.fromkeys([*found.get("data", []), *data]))
    for name in data:
        for seed in range(args.seeds):
            for method in args.methods.split(","):
                key = f"{method} {name} {seed}"
                if "values" in found["cells"].get(key, {}):
                    continue
                command = [sys.executable, __file__, *args.data, "--cell", method, name, str(seed)]
                command += ["--minutes", str(args.minutes), "--device", args.device]
                command += ["--weights", str(args.weights)] if args.weights else []
                done = subprocess.run(
                    command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
                )
                last = (done.stdout.strip().splitlines() or [""])[-1]
                found["cells"][key] = json.loads(last) if done.returncode == 0 else {"error": done.stderr[-2000:]}
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.write_text(json.dumps(found, indent=1) + "\n")
                cell_ = found["cells"][key]
                print(key, cell_.get("values", {}).get("frechet", cell_.get("error")), flush=True)
    if args.report:
        PAGE.write_text(report(found) + "\n")


if __name__ == "__main__":
    main()
