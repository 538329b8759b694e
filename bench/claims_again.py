"""Run recorded claims again with other seeds, and compare the verdicts.

    OMP_NUM_THREADS=1 python bench/claims_again.py [NAME ...] [--first 100]
        [--runs runs/claims_again]

Without names these are the five trained claims that take the fewest minutes. Each is run
as `ganvas claim run NAME --first N` with as many seeds as its record has. Writes the
verdicts and every judged figure to bench/results/claims_again.json. A claim whose record
is in `--runs` is not run again, so that the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from ganvas.claims import all_claims
from ganvas.core.environment import commit, machine

ROOT = Path(__file__).parents[1]
RECORDS, RESULTS = ROOT / "docs" / "claims", ROOT / "bench" / "results" / "claims_again.json"
COUNT = 5


def cheapest() -> list[str]:
    """The trained claims with a record that take the fewest minutes."""
    trained = [
        claim
        for claim in all_claims().values()
        if claim.words.kind == "trained" and (RECORDS / f"{claim.name}.json").is_file()
    ]
    return [
        claim.name for claim in sorted(trained, key=lambda c: (c.words.minutes, c.name))[:COUNT]
    ]


def judged(record: dict[str, Any]) -> dict[str, Any]:
    """The verdict of a record, and the figures of its checks in each seed."""
    names = [check["figure"] for check in record["checks"]]
    return {
        "holds": record["holds"],
        "seeds": [seed["seed"] for seed in record["seeds"]],
        "figures": {name: [seed["figures"][name] for seed in record["seeds"]] for name in names},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--runs", type=Path, default=Path("runs/claims_again"))
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for name in args.names or cheapest():
        before = json.loads((RECORDS / f"{name}.json").read_text())
        file = args.runs / f"{name}.json"
        if not file.is_file():
            seeds = ["--seeds", str(len(before["seeds"])), "--first", str(args.first)]
            command = ["claim", "run", name, *seeds, "--out", str(args.runs)]
            subprocess.run([sys.executable, "-m", "ganvas", *command], check=True)
        again = json.loads(file.read_text())
        found[name] = {"before": judged(before), "again": judged(again)}
        print(name, found[name]["before"]["holds"], found[name]["again"]["holds"], flush=True)
    same = sum(row["before"]["holds"] == row["again"]["holds"] for row in found.values())
    record = {
        "command": shlex.join(["python", "bench/claims_again.py", *sys.argv[1:]]),
        "machine": machine(),
        "commit": commit(),
        "first": args.first,
        "count": len(found),
        "same_verdict": same,
        "claims": found,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
