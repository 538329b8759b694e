"""Measure the cost of a step as batch, side and width grow, and with two processes.

    python bench/scaling.py [--rounds 5]

Growth: seconds per step of DCGAN, with one quantity changed at a time, and the exponent
e of cost ~ size^e that fits best. Ranks: the same batch by one process with two threads
and by two processes (torchrun, gloo) with one each. Whole processes alternate. Records
the medians of the paired ratios of images per second, and the time of averaging a
step's gradients alone. Writes bench/results/scaling.json. CPU only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganvas import recipes
from ganvas.core import distributed
from ganvas.core.allocator import retain_heap
from ganvas.core.environment import commit, machine
from ganvas.engine.engine import Engine
from ganvas.training import benchmark
from ganvas.training.start import with_data

RESULTS = Path(__file__).parent / "results" / "scaling.json"
GROWTH: dict[str, tuple[int, ...]] = {
    "batch": (16, 32, 64, 128),
    "side": (32, 64, 128),
    "width": (16, 32, 64, 128),
}
SHARED = {
    "dcgan 64 px batch 64": ("dcgan", 64, ["batch=64"]),
    "wgan_gp_dcgan 32 px batch 64": ("wgan_gp_dcgan", 32, ["batch=64"]),
    "cyclegan 128 px batch 2": ("cyclegan", 128, ["batch=2", "G.blocks=6"]),
}
STEPS = 10  # per turn, after two that are not counted


def engine(recipe: str, size: int, settings: list[str]) -> Engine:
    run = with_data(recipes.find(recipe)(1), "", size, settings)
    made = Engine(replace(run, lr=None), benchmark.random_feed(run))
    made.feed = benchmark.FixedBatchLoader(made)
    return made


def seconds(made: Engine, steps: int = STEPS) -> float:
    made.step()
    made.step()
    times = []
    for _ in range(steps):
        distributed.barrier()
        start = time.perf_counter()
        made.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def grown() -> dict[str, Any]:
    usual, found = {"batch": 32, "side": 64, "width": 32}, {}
    for what, sizes in GROWTH.items():
        costs = []
        for size in sizes:
            s = {**usual, what: size}
            widths = [f"{net}.width={s['width']}" for net in "GD"]
            costs.append(seconds(engine("dcgan", s["side"], [f"batch={s['batch']}", *widths])))
        slope = np.polyfit(np.log(sizes), np.log(costs), 1)[0]
        found[what] = {
            "sizes": sizes,
            "seconds_per_step": costs,
            "exponent": float(slope),
            "others": usual,
        }
        print(what, json.dumps(found[what]), flush=True)
    return found


def turn(case: str, processes: int) -> dict[str, float]:
    torchrun = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        if processes == 2
        else []
    )
    environment = {**os.environ, "OMP_NUM_THREADS": str(2 // processes)}
    command = [sys.executable, *torchrun, __file__, "--turn", case]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def work(case: str) -> None:
    """The work of one process."""
    distributed.init("cpu")
    made = engine(*SHARED[case])
    cost = seconds(made)
    averaging = 0.0
    for weights in made.parameters.values():
        tensors = [torch.zeros_like(w) for w in weights]
        times = []
        for _ in range(5):
            distributed.barrier()
            start = time.perf_counter()
            distributed.all_reduce_mean_(tensors)
            times.append(time.perf_counter() - start)
        averaging += statistics.median(times)
    if distributed.rank() == 0:
        print(json.dumps({"seconds": cost, "averaging": averaging}))
    distributed.destroy()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="The cost of a step as things grow and as processes share it."
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", help=argparse.SUPPRESS)
    args = parser.parse_args()
    retain_heap()
    if args.turn:
        work(args.turn)
        return
    shared: dict[str, Any] = {}
    for case in SHARED:
        rounds = [(turn(case, 1), turn(case, 2)) for _ in range(args.rounds)]
        ratios = [one["seconds"] / two["seconds"] for one, two in rounds]
        shared[case] = {
            "one_process_seconds": statistics.median(one["seconds"] for one, _ in rounds),
            "seconds": statistics.median(two["seconds"] for _, two in rounds),
            "two_over_one": statistics.median(ratios),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "averaging_seconds": statistics.median(two["averaging"] for _, two in rounds),
        }
        print(case, json.dumps(shared[case]), flush=True)
    result = {
        "command": "python bench/scaling.py",
        "machine": machine(),
        "torch": torch.__version__,
        "commit": commit(),
        "load_average": round(os.getloadavg()[0], 1),
        "ranks": shared,
        "growth": grown(),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
