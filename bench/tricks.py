"""Measure what each trick of the fast path gains by itself.

    python bench/tricks.py [--rounds 5] [--threads 2]

Steps with all tricks and with one undone alternate in one process. Records the median
of the paired ratios: how many times as long a step takes without the trick. `kept
memory` and `thread without tensors` belong to a process, so that whole processes
alternate. Writes bench/results/tricks.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ganvas import recipes
from ganvas.core.allocator import retain_heap
from ganvas.core.environment import commit, machine
from ganvas.engine import build
from ganvas.engine import engine as engines
from ganvas.engine.engine import Engine
from ganvas.nets.norm import InstanceNorm2d
from ganvas.training import benchmark
from ganvas.training.with_data import with_data

RESULTS = Path(__file__).parent / "results" / "tricks.json"
CASES: dict[str, tuple[str, int, list[str]]] = {
    "cyclegan 128 px batch 1": ("cyclegan", 128, ["G.blocks=6"]),
    "dcgan 64 px batch 64": ("dcgan", 64, ["batch=64"]),
    "pix2pix 256 px batch 1": ("pix2pix", 256, []),
}
STEPS = 3  # of a process that takes its turn


@contextmanager
def swapped(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)


def undone() -> dict[str, list[tuple[Any, str, Any]]]:
    """Trick -> its replacement, at building and at every step."""
    to = nn.Module.to
    return {
        "channels last": [
            (
                nn.Module,
                "to",
                lambda self, *a, memory_format=None, **k: to(self, *a, **k) if a or k else self,
            )
        ],
        "own instance norm": [
            (InstanceNorm2d, "forward", lambda self, x: F.instance_norm(x, eps=self.eps))
        ],
        "fused optimizer": [
            (build, "_fused", lambda make: partial(make, fused=False, foreach=False))
        ],
        "weights in memory order": [(engines, "in_memory_order", lambda t: t)],
    }


def engine(case: str, precision: str) -> Engine:
    recipe, size, settings = CASES[case]
    run = with_data(recipes.find(recipe)(1), "", size, [*settings, f"precision={precision}"])
    made = Engine(replace(run, lr=None), benchmark.random_feed(run))
    made.feed = benchmark.FixedBatchLoader(made)
    return made


def timed(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def brought(case: str, precision: str, changes: list[tuple[Any, str, Any]], rounds: int) -> float:
    whole = engine(case, precision)
    with swapped(*changes):
        without = engine(case, precision)
        for _ in range(2):
            without.step()
    for _ in range(2):
        whole.step()
    ratios = []
    for _ in range(rounds):
        with swapped(*changes):
            slow = timed(without.step)
        ratios.append(slow / timed(whole.step))
    return statistics.median(ratios)


def turn(case: str, precision: str, threads: int, how: str) -> float:
    command = [
        sys.executable,
        __file__,
        "--turn",
        case,
        "--precision",
        precision,
        "--threads",
        str(threads),
        "--how",
        how,
    ]
    return float(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    )


def work(case: str, precision: str, how: str) -> None:
    """The work of one process."""
    if how != "freed memory":
        retain_heap()
    made = engine(case, precision)
    if how == "tensors in a thread":
        pool = ThreadPoolExecutor(1)
        pool.submit(lambda: torch.rand(1 << 20).mul_(2)).result()
    for _ in range(2):
        made.step()
    print(statistics.median(timed(made.step) for _ in range(STEPS)))


def main() -> None:
    parser = argparse.ArgumentParser(description="What each trick brings by itself.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turn", help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    parser.add_argument("--how", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.turn:
        work(args.turn, args.precision, args.how)
        return
    retain_heap()
    found: dict[str, Any] = {}
    for case in CASES:
        for precision in ("fp32", "bf16"):
            name = f"{case} {precision}"
            found[name] = {k: brought(case, precision, v, args.rounds) for k, v in undone().items()}
            for trick, how in (
                ("kept memory", "freed memory"),
                ("thread without tensors", "tensors in a thread"),
            ):
                pairs = [
                    (
                        turn(case, precision, args.threads, how),
                        turn(case, precision, args.threads, ""),
                    )
                    for _ in range(3)
                ]
                found[name][trick] = statistics.median(a / b for a, b in pairs)
            print(name, json.dumps({k: round(v, 3) for k, v in found[name].items()}), flush=True)
    result = {
        "command": "python bench/tricks.py",
        "machine": machine(),
        "threads": args.threads,
        "torch": torch.__version__,
        "commit": commit(),
        "load_average": round(os.getloadavg()[0], 1),
        "times_as_long_without": found,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
