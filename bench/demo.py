"""Evaluate `dcgan_digits` over several seeds with `--also recognizability`.

    python bench/demo.py --seeds 3

Trains the recipe in its own process for each seed, and measures each; then once more
without labels, to show their effect. The goal was set before the runs: a calibrated
classifier that was trained on half of the real digits recognizes, with confidence above
0.9, at least 0.8 times as many of the samples as of the other half, and every digit
makes 4% to 20% of the samples. Writes bench/results/demo.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from ganvas.core.environment import commit, machine

RESULTS = Path(__file__).parent / "results" / "demo.json"
RATIO, SMALLEST, LARGEST = 0.8, 0.04, 0.20


def ganvas(*words: str) -> str:
    command = [sys.executable, "-m", "ganvas", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def cpu_seconds() -> float:
    """Processor seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one(seed: int, folder: Path, *more: str) -> dict[str, Any]:
    """Train and measure one seed; its recognizability and the time."""
    run = str(folder / "-".join(["seed", str(seed), *more]))
    began, used = time.monotonic(), cpu_seconds()
    ganvas("train", "dcgan_digits", "digits", "--out", run, "--seed", str(seed), *more)
    trained, used = time.monotonic() - began, cpu_seconds() - used
    record = json.loads(
        ganvas("measure", run, "--against", "digits", "--also", "recognizability", "--json")
    )
    recognized = record["also"]["recognizability"]
    figures = {**recognized["values"], **recognized["protocol"]}
    kept = (
        "ratio",
        "real_confident",
        "fake_confident",
        "smallest_share",
        "largest_share",
        "unrecognized_share",
        "samples",
    )
    found = {
        "seed": seed,
        "train_seconds": round(trained, 1),
        "train_cpu_seconds": round(used, 1),
        **{k: figures[k] for k in kept},
    }
    found["class_shares"] = recognized["class_shares"]
    found["good"] = (
        found["ratio"] >= RATIO
        and SMALLEST <= found["smallest_share"] <= found["largest_share"] <= LARGEST
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    source = commit()  # of the code that runs below
    with tempfile.TemporaryDirectory() as folder:
        seeds = [one(seed, Path(folder)) for seed in range(args.seeds)]
        unlabelled = one(0, Path(folder), "--set", "labels=false")
    result = {
        "command": f"python bench/demo.py --seeds {args.seeds}",
        "goal": {"ratio": RATIO, "smallest_share": SMALLEST, "largest_share": LARGEST},
        "holds": all(s["good"] for s in seeds),
        "mean_ratio": fmean(s["ratio"] for s in seeds),
        "seeds": seeds,
        "without_labels": unlabelled,
        "machine": machine(),
        "commit": source,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
