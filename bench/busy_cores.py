"""Measure training beside a process that keeps one core busy.

    python bench/busy_cores.py [--rounds 3] [--methods dcgan_letters]

Threads of OpenMP wait for one another at the end of every operation. By default they wait
in a loop that takes the core, so that a thread that shares its core with another process
waits for a scheduler's slice each time. ganvas lets them sleep (OMP_WAIT_POLICY=passive).
Each round times a step (`ganvas bench`) with one thread, and with all threads that loop
and that sleep, alone and beside a busy process; medians over the rounds are recorded.

Writes bench/results/busy_cores.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

from ganvas.core.environment import commit, machine

ROOT = Path(__file__).resolve().parents[1]
RECORD = "bench/results/busy_cores.json"
WAYS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "threads that loop": {"OMP_WAIT_POLICY": "active"},
    "threads that sleep": {"OMP_WAIT_POLICY": "passive"},
}


def seconds_per_step(method: str, extra: dict[str, str]) -> float:
    """Of a training of a method, in a process of its own."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-m", "ganvas", "bench", method, "--json", "--steps", "5"]
    done = subprocess.run(
        command, env=variables | extra, check=True, stdout=subprocess.PIPE, text=True
    )
    return float(json.loads(done.stdout)["seconds_per_step"]["memory"])


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", default="dcgan_letters")
    given = parser.parse_args()
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for method in given.methods.split(","):
        times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for _ in range(given.rounds):
            for place in ("alone", "beside a busy process"):
                # In a session, and so in a scheduling group, of its own, as other programs are.
                busy = (
                    subprocess.Popen(
                        [sys.executable, "-c", "while True: pass"], start_new_session=True
                    )
                    if place != "alone"
                    else None
                )
                try:
                    for way, extra in WAYS.items():
                        seconds = seconds_per_step(method, extra)
                        times[place][way].append(seconds)
                        print(f"{method}, {place}, {way}: {seconds:.3f} s a step", flush=True)
                finally:
                    if busy is not None:
                        busy.kill()
                        busy.wait()
        found[method] = {place: dict(ways) for place, ways in times.items()}
    middle = {
        m: {p: {w: round(median(s), 4) for w, s in ways.items()} for p, ways in places.items()}
        for m, places in found.items()
    }
    record = {
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "machine": machine(),
        "rounds": given.rounds,
        "seconds_per_step": middle,
        "all": found,
    }
    (ROOT / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
