"""Measure training on shards: memory, step time, and a run that is killed.

    python bench/streaming.py [--images 50000] [--folder DIR]

Packs links to a thousand different 64x64 images, and measures: the private memory of a
process that draws one and a half epochs; the time of a DCGAN's step on shards over that
on images in memory (the two alternate, and the ratio is the median over the rounds; also
of the processor's time, which other work on the machine changes less); and whether a
training that is killed with SIGKILL and resumed ends bitwise as an undisturbed one. What
is done already in DIR is not done again. Writes bench/results/streaming.json. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from ganvas.core.environment import commit, machine

RESULTS = Path(__file__).parent / "results" / "streaming.json"
DIFFERENT = 1000
SIZE = 64
BATCH = 64
STEP_SECONDS = 80.0  # of the processor, for both kinds of steps together
SETTINGS = ["--size", "64", "--batch", "64", "--images", "1280", "--seed", "1"]
SETTINGS += ["--set", "G.width=4", "--set", "D.width=4"]


def folders_of(count: int, root: Path) -> None:
    """Write root/different, a thousand images, and root/photos, `count` links to them."""
    rng, different = np.random.default_rng(0), root / "different"
    different.mkdir(parents=True, exist_ok=True)
    for i in range(DIFFERENT):  # as large as photographs of this size, about 8 kB
        noise = Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
        noise.filter(ImageFilter.GaussianBlur(1)).save(different / f"{i}.png")
    for i in range(count):
        part = root / "photos" / f"{i // 10_000:03d}"
        part.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # of a call that was stopped here
            os.link(different / f"{i % DIFFERENT}.png", part / f"{i:07d}.png")


def packed(count: int, root: Path) -> dict[str, float]:
    """Pack root/photos, and describe the shards."""
    from ganvas.data.prepare.pack import pack

    folders_of(count, root)
    start = time.process_time()
    done = pack(root / "photos", root / "shards")
    return {
        "images": done.images,
        "shards": done.shards,
        "megabytes": done.bytes / 1e6,
        "processor_seconds": time.process_time() - start,
    }


def private_mib() -> float:
    """Memory of this process that the system cannot reclaim."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def memory(root: Path) -> dict[str, float]:
    """Draw one and a half epochs. Memory is taken each tenth of an epoch."""
    from ganvas import data

    feed = data.images(root / "shards", labels=False)
    start, seen, tenth = time.process_time(), [], max(BATCH, feed.info.count // 10)
    for cursor in range(0, feed.info.count * 3 // 2, BATCH):
        feed.pick(cursor, BATCH, seed=0)
        if cursor // tenth < (cursor + BATCH) // tenth:
            seen.append(private_mib())
    drawn = feed.info.count * 3 // 2
    return {
        "after_a_tenth_mib": seen[0],
        "after_an_epoch_mib": seen[9],
        "at_the_end_mib": seen[-1],
        "most_mib": max(seen),
        "processor_milliseconds_an_image": (time.process_time() - start) / drawn * 1e3,
    }


def steps(root: Path) -> dict[str, float]:
    """Time of a DCGAN's step on shards over that on images in memory."""
    from ganvas.data import Prefetch
    from ganvas.engine.engine import Engine
    from ganvas.training.start import plan_run

    engines = {}
    for name, source in (("memory", root / "different"), ("shards", root / "shards")):
        run, feed, *_ = plan_run("dcgan", source, "cpu", size=SIZE, batch=BATCH)
        engines[name] = Engine(run, Prefetch(feed), "cpu")
        engines[name].step()
    seconds: dict[str, list[float]] = {"memory": [], "shards": []}
    processor: dict[str, list[float]] = {"memory": [], "shards": []}
    end = time.process_time() + STEP_SECONDS
    while time.process_time() < end:
        for name in ("memory", "shards", "shards", "memory"):
            start, own = time.perf_counter(), time.process_time()
            engines[name].step()
            seconds[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - own)
    for engine in engines.values():
        engine.feed.close()
    return {
        "rounds": len(seconds["memory"]) // 2,
        "memory_seconds": statistics.median(seconds["memory"]),
        "shards_seconds": statistics.median(seconds["shards"]),
        "shards_over_memory": _ratio(seconds),
        "shards_over_memory_processor": _ratio(processor),
    }


def _ratio(seconds: dict[str, list[float]]) -> float:
    """Median over the rounds, which have two steps of each kind."""
    pairs = zip(*(zip(times[::2], times[1::2]) for times in seconds.values()))
    return statistics.median(sum(shards) / sum(memory) for memory, shards in pairs)


def ganvas(*words: object) -> subprocess.Popen[bytes]:
    """Start `ganvas WORDS` as a process of its own."""
    command = [sys.executable, "-m", "ganvas", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed(root: Path) -> dict[str, object]:
    """Train undisturbed, and killed and resumed; compare the last checkpoints."""
    straight, other = root / "straight", root / "killed"
    for run in (straight, other):
        shutil.rmtree(run, ignore_errors=True)
    assert ganvas("train", "dcgan", root / "shards", "--out", straight, *SETTINGS).wait() == 0
    process = ganvas("train", "dcgan", root / "shards", "--out", other, *SETTINGS)
    log = other / "log.jsonl"
    while process.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n") > 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    at = max((int(p.name) for p in (other / "checkpoints").glob("0*")), default=0)
    assert ganvas("resume", other).wait() == 0
    last = [sorted((run / "checkpoints").glob("0*"))[-1] for run in (straight, other)]
    same = last[0].name == last[1].name and all(
        one.read_bytes() == (last[1] / one.name).read_bytes()
        for one in last[0].iterdir()
        if one.name != "state.json"
    )
    same_log = (straight / "log.jsonl").read_bytes() == log.read_bytes()
    return {"resumed_from_image": at, "images": int(last[0].name), "bitwise": same and same_log}


def main() -> None:
    parser = argparse.ArgumentParser(description="Training on shards.")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, help="for the data; a later call goes on there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = args.folder or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        os.environ["GANVAS_CACHE"] = str(root / "cache")
        state = root / "streaming.json"
        found = json.loads(state.read_text()) if state.is_file() else {}
        parts: dict[str, Callable[[], object]] = {
            "packed": lambda: packed(args.images, root),
            "memory": lambda: memory(root),
            "steps": lambda: steps(root),
            "killed": lambda: killed(root),
        }
        for name, part in parts.items():
            if name in found:
                continue
            found[name] = part()
            uses = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            spent = sum(u.ru_utime + u.ru_stime for u in uses)
            found["processor_seconds"] = max(found.get("processor_seconds", 0), spent)
            state.write_text(json.dumps(found))
            print(name, json.dumps(found[name]), flush=True)
    result = {
        "command": f"python bench/streaming.py --images {args.images}",
        "machine": machine(),
        "commit": commit(),
        **found,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
