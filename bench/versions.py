"""Compare the speed of a training step of two versions of ganvas.

    python bench/versions.py CHECKOUT [--only NAME ...] [--precisions fp32 bf16] [--rounds 9]

CHECKOUT is a checkout of the other version (`git worktree add PATH COMMIT`). Each case is
a row of bench/peers.py. The two versions run it in processes of their own, on the same
random images, one thread each, in turns (A B A B ...), and each turn is timed in
processor seconds, so that other work on the machine counts little. Records the median
and the range of the paired ratios, this version over the other: below 1 this one is
faster. Writes bench/results/versions.json as it goes, and passes over the cases that it
holds for the same two commits.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "versions.json"
ROWS = {  # recipe, size, steps of a turn, settings
    "dcgan 64 px batch 64": ("dcgan", 64, 2, ["batch=64"]),
    "cyclegan 128 px batch 1": ("cyclegan", 128, 2, ["G.blocks=6"]),
    "pix2pix 256 px batch 1": ("pix2pix", 256, 4, []),
    "biggan 32 px batch 50": ("biggan_cifar", 32, 1, ["batch=50"]),
    "srgan 128 px batch 16": ("srgan", 128, 1, ["batch=16"]),
    "stylegan2 32 px batch 16": ("stylegan2_ada_cifar", 32, 2, ["batch=16"]),
}


PRECISIONS = ("fp32", "bf16")


def serve(row: str, precision: str) -> None:
    """In a version's own process: for each line of input, a turn; print its seconds."""
    import torch

    from ganvas import recipes
    from ganvas.core.allocator import retain_heap
    from ganvas.engine.engine import Engine
    from ganvas.training import benchmark
    from ganvas.training.start import with_data

    retain_heap()
    torch.manual_seed(0)
    recipe, size, steps, settings = ROWS[row]
    words = [*settings, f"precision={precision}"]
    run = with_data(recipes.find(recipe)(1_000_000), "", size, words)
    engine = Engine(run, benchmark.random_feed(run))
    engine.step()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        for _ in range(steps):
            engine.step()
        print(time.process_time() - start, flush=True)


class Version:
    """A checkout's process that serves one case."""

    def __init__(self, checkout: Path, row: str, precision: str) -> None:
        """Start it and wait until its first step is done."""
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", row, precision],
            env=os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def turn(self) -> float:
        """Processor seconds of a turn."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"a process ended with exit code {self.process.wait()}")
        return line


def compared(other: Path, row: str, precision: str, rounds: int) -> dict[str, Any]:
    """Paired turns of this version and the other, and the ratios of their seconds."""
    from ganvas.core.environment import machine

    versions = Version(ROOT, row, precision), Version(other, row, precision)
    for version in versions:
        version.turn()  # both warm
    pairs = [tuple(version.turn() for version in versions) for _ in range(rounds)]
    for version in versions:
        version.close()
    ratios = [this / before for this, before in pairs]
    return {
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "seconds": [statistics.median(turns) for turns in zip(*pairs)],
        "rounds": rounds,
        "machine": machine(),
    }


def commit_of(checkout: Path) -> str:
    """The commit that lies in `checkout`, with `+` if files differ from it."""
    git = ["git", "-C", str(checkout)]
    found = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "src"]).returncode
    return found.stdout.strip() + "+" * bool(changed)


def main() -> None:
    """Parse the command line and measure what is missing."""
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    commits = {"this": commit_of(ROOT), "other": commit_of(args.checkout)}
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    if found.get("commits") != commits:
        found = {"commits": commits, "threads": 1, "cases": {}}
    from origin import origin  # here, since the other version's process runs this file, too

    found = {**found, **origin()}
    for row in args.only:
        for precision in args.precisions:
            if (name := f"{row} {precision}") not in found["cases"]:
                found["cases"][name] = compared(args.checkout, row, precision, args.rounds)
                RESULTS.write_text(json.dumps(found, indent=1) + "\n")
                print(name, json.dumps(found["cases"][name]), flush=True)


if __name__ == "__main__":
    main()
