"""Measure what bf16 gains in each recipe's training step, at the size of the gallery.

    python bench/bf16.py [--rounds 8] [--only TEXT] [--again] [--table]

The inputs are random gray images of 32 px for methods that generate from noise, color
images of 64 px for translation, and x4 to 96 px for super-resolution. The batch is the
recipe's own, at most 32 images; the papers' largest networks are made narrower. Growing
methods are measured at their last stage. Steps in fp32 and in bf16 alternate in one
process on one thread. Times are processor seconds, so that other work on the machine
changes little, and the gain is the ratio of the sums. The rounds of a recipe end after
12 seconds, but not before the second.

Writes bench/results/bf16.json after each recipe and continues an interrupted call;
`--again` repeats recorded recipes. `--table` measures nothing and writes the table in
docs/src/performance.md.in; run `python tools/docs.py` afterwards.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ganvas import recipes
from ganvas.core import Run
from ganvas.core.allocator import retain_heap
from ganvas.core.environment import commit, machine
from ganvas.engine.engine import Engine
from ganvas.training import benchmark
from ganvas.training.with_data import with_data

RESULTS = Path(__file__).parent / "results" / "bf16.json"
PAGE = Path(__file__).parents[1] / "docs" / "src" / "performance.md.in"
LONGEST = 12.0  # processor seconds of one recipe's rounds
BATCH = 32
SIZES = {"images": 32, "pairs": 64, "domains": 64, "derived": 64}  # by kind of data
WIDTHS = (
    "[128,128,64,32]"  # of networks from 4 to 32 px: the papers' 512 channels are for larger images
)
SETTINGS: dict[str, list[str]] = {  # settings for 32 or 64 px in place of 128 px and more
    **{name: ["G.depth=6"] for name in ("dualgan", "dualgan_official", "pix2pix", "pix2pix_pixel")},
    **{
        name: [f"{net}.{k}" for net in "GD" for k in ("width=32", "attention=[16]")]
        for name in ("biggan", "biggan_deep")
    },
    **{name: [f"{net}.width=32" for net in "GD"] for name in ("biggan_cifar", "sagan_official")},
    "sagan": [f"{net}.{k}" for net in "GD" for k in ("width=32", "attention=[16]")],
    **{
        name: ["start=32", f"G.widths={WIDTHS}", f"D.widths={WIDTHS}"]
        for name in ("progan", "progan_labels", "stylegan")
    },
    "stylegan_digits": ["start=32"],
    **{
        name: [f"G.widths={WIDTHS}", f"D.widths={WIDTHS}"]
        for name in ("r3gan", "r3gan_64", "r3gan_256")
    },
    **{
        name: [f"G.widths={WIDTHS}", f"D.widths={WIDTHS}"]
        for name in ("stylegan2", "stylegan2_ada_cifar", "stylegan2_digits")
    },
}


def gallery_run(recipe: str) -> Run | None:
    """`recipe` on random data of the gallery's size; None if its data are not images."""
    run = recipes.find(recipe)(benchmark.COUNT)
    assert isinstance(run.data, partial)
    kind = run.data.func.__name__
    if kind == "languages":
        return None
    size = 28 if recipe == "cogan" else SIZES.get(kind)  # CoGAN's networks are made for 28 px
    run = with_data(run, "", size, SETTINGS.get(recipe, []))
    assert isinstance(run.data, partial)
    if kind == "images":
        run = replace(run, data=partial(run.data, channels=1))
    elif size is not None and "load" in run.data.keywords:
        run = replace(run, data=partial(run.data, load=size))
    return replace(run, batch=min(run.batch, BATCH), lr=None)


def measured(recipe: str, rounds: int) -> dict[str, Any] | None:
    run = gallery_run(recipe)
    if run is None:
        return None
    seconds = {"fp32": 0.0, "bf16": 0.0}
    engines: dict[str, Engine] = {}
    for precision in seconds:
        made = Engine(replace(run, precision=precision), benchmark.random_feed(run))
        made.feed = benchmark.FixedBatchLoader(made)
        made.step()  # one-time setup
        engines[precision] = made
    steps = 0
    while steps < rounds and (steps < 2 or sum(seconds.values()) < LONGEST):
        steps += 1
        for precision, engine in engines.items():
            start = time.process_time()
            engine.step()
            seconds[precision] += time.process_time() - start
    info = engines["fp32"].feed.info
    return {
        "size": [info.height, info.width],
        "batch": run.batch,
        "steps": steps,
        "seconds_per_step": {p: s / steps for p, s in seconds.items()},
        "gain": seconds["fp32"] / seconds["bf16"],
    }


HEADER = "| recipe | size, batch | fp32, s | bf16, s | gain |"


def table(found: dict[str, Any]) -> list[str]:
    """Lines of docs/src/performance.md.in with references, largest gain first."""
    lines = [HEADER, "|---|---|---|---|---|"]
    for name, row in sorted(found["recipes"].items(), key=lambda r: -r[1]["gain"]):
        size = f"`{row['size'][0]} px, {row['batch']}`"
        cells = [(row["seconds_per_step"][p], f"seconds_per_step.{p}") for p in ("fp32", "bf16")]
        figures = [
            f"{{{{.{2 if value >= 0.1 else 3}f bench/results/bf16.json recipes.{name}.{names}}}}}"
            for value, names in [*cells, (row["gain"], "gain")]
        ]
        lines.append(" | ".join([f"| `{name}`", size, *figures]) + " |")
    return lines


def write_table(found: dict[str, Any]) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = end = lines.index(HEADER)
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    PAGE.write_text(
        "\n".join([*lines[:start], *table(found), *lines[end:]]) + "\n", encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The gain of bf16 by recipe.")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="recipes whose name has this in it"
    )
    parser.add_argument("--again", action="store_true", help="measure again what has been measured")
    parser.add_argument(
        "--table", action="store_true", help="write the table of the documentation anew"
    )
    args = parser.parse_args()
    found: dict[str, Any] = (
        json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"recipes": {}}
    )
    if args.table:
        write_table(found)
        return
    torch.set_num_threads(1)
    retain_heap()
    found |= {
        "command": "python bench/bf16.py",
        "machine": machine(),
        "torch": torch.__version__,
        "commit": commit(),
    }
    for recipe in recipes.all_recipes():
        if args.only not in recipe or (recipe in found["recipes"] and not args.again):
            continue
        row = measured(recipe, args.rounds)
        if row is None:
            continue
        found["recipes"][recipe] = row
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(
            f"{recipe:<24} {row['gain']:.2f}  {row['seconds_per_step']['fp32']:.3f} s in fp32",
            flush=True,
        )


if __name__ == "__main__":
    main()
