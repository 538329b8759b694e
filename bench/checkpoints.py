"""Measure how long a training step waits for a checkpoint.

    OMP_NUM_THREADS=1 python bench/checkpoints.py [--rounds 5] [FOLDER]

DCGAN at its published size (64 pixels) trains on random images in batches of 16. After
every fourth step a checkpoint is written into FOLDER (default: a temporary one), in
turn: by the training's own thread; beside training; and beside training on a disk that
takes 2 s for each flush. Records the medians of a step's seconds, of the seconds that
training waits, and of the write. Writes bench/results/checkpoints.json. CPU only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from origin import origin

from ganvas import recipes
from ganvas.core.allocator import retain_heap
from ganvas.engine import checkpoint
from ganvas.engine.engine import Engine
from ganvas.engine.run_dir import write_record
from ganvas.training import benchmark
from ganvas.training.saver import IDLE, Saver
from ganvas.training.start import describe_run, with_data

RESULTS = Path(__file__).parent / "results" / "checkpoints.json"
BATCH, STEPS, SLOW = 16, 4, 2.0  # images; steps between checkpoints; seconds of a slow flush
WAYS = ("inline", "beside", "slow disk")


def turn(engine: Engine, saver: Saver, way: str) -> dict[str, float]:
    """One checkpoint and the steps after it, in seconds.

    wait: of training for the checkpoint; write: until it is complete, or until the next
    is due
    """
    began = time.monotonic()
    saver.save({}, lambda: None)
    if way == "inline":
        saver.finish()
    wait = time.monotonic() - began
    steps, write = [], 0.0
    for _ in range(STEPS):
        start = time.monotonic()
        engine.step()
        steps.append(time.monotonic() - start)
        if not write and saver.phase == IDLE:
            write = time.monotonic() - began
    saver.finish()  # only so that the next turn begins alike
    return {"wait": wait, "step": statistics.median(steps), "write": write}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    retain_heap()
    run = with_data(recipes.find("dcgan")(1), "", 64, [f"batch={BATCH}"])
    engine = Engine(replace(run, lr=None), benchmark.random_feed(run))
    record = describe_run("dcgan", run, engine, engine.feed.info, "")
    engine.feed = benchmark.FixedBatchLoader(engine)
    engine.step()
    turns: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    flush = checkpoint._flush

    def slow(path: Path) -> None:
        time.sleep(SLOW)
        flush(path)

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_record(Path(folder), record)  # by which the saver knows the best checkpoint
        saver = Saver(engine, Path(folder), record)
        for _ in range(options.rounds):
            for way in WAYS:
                checkpoint._flush = slow if way == "slow disk" else flush
                turns[way].append(turn(engine, saver, way))
        newest = checkpoint.all_of(Path(folder) / "checkpoints")[-1]
        size = sum(f.stat().st_size for f in newest.iterdir())
    found = {
        way.replace(" ", "_"): {k: round(statistics.median(t[k] for t in of), 4) for k in of[0]}
        for way, of in turns.items()
    }
    for times in found.values():
        times["share_of_step"] = round(times["wait"] / times["step"], 4)
    result = {
        **origin(),
        **found,
        "megabytes": round(size / 1e6, 1),
        "batch": BATCH,
        "rounds": options.rounds,
        "slow_seconds": SLOW,
        "date": time.strftime("%Y-%m-%d"),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
