"""Losses of every recipe's first steps at toy size: a change of structure must not move them.

    python tests/golden/golden_losses.py            compare with the record, to the last bit
    python tests/golden/golden_losses.py --write    write the record anew, after a change that
                                                    is meant to move them (say why in the commit)

One thread, fp32, on the processor named in the record. tests/golden/test_golden_losses.py
compares fewer steps, with a tolerance on other processors."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from toys import toy_data, toy_run

from ganvas import recipes
from ganvas.core.environment import machine
from ganvas.engine.engine import Engine

RECORD = Path(__file__).with_name("golden_losses.json")
STEPS = 20


def losses(recipe: str, folder: Path, steps: int = STEPS) -> list[dict[str, float]]:
    """The logs of a recipe's first steps, at toy size on toy data written to `folder`."""
    run = toy_run(recipe, toy_data(recipe, folder), "seed=11")
    engine = Engine(run, run.data())
    return [{k: float(v) for k, v in engine.step().items()} for _ in range(steps)]


def host() -> dict[str, str]:
    """The versions and processor, which decide the last bits of a sum."""
    return {
        "processor": str(machine()["processor"]),
        "vector": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "system": platform.system(),
    }


def main() -> None:
    torch.set_num_threads(1)
    record: dict[str, Any] = {"host": host(), "steps": STEPS, "losses": {}}
    with tempfile.TemporaryDirectory() as root:
        os.environ["GANVAS_CACHE"] = f"{root}/cache"
        for recipe in sorted(recipes.all_recipes()):
            record["losses"][recipe] = losses(recipe, Path(root) / recipe)
    if "--write" in sys.argv:
        lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in record["losses"].items())
        head = json.dumps({"host": record["host"], "steps": STEPS})[:-1]
        RECORD.write_text(f'{head}, "losses": {{\n{lines}\n}}}}\n', encoding="utf-8")
        return
    known = json.loads(RECORD.read_text(encoding="utf-8"))
    if known["host"] != record["host"]:
        print(f"another host: {record['host']}; the record is of {known['host']}")
    unlike = [r for r in record["losses"] if record["losses"][r] != known["losses"].get(r)]
    missing = sorted(known["losses"].keys() - record["losses"].keys())
    print(
        f"{len(record['losses'])} recipes, unlike: {unlike or 'none'}, missing: {missing or 'none'}"
    )
    raise SystemExit(bool(unlike or missing))


if __name__ == "__main__":
    main()
