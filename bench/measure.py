"""Measure how long an evaluation takes.

    OMP_NUM_THREADS=2 python bench/measure.py [FOLDER] [--weights FOLDER]
        [--features squeezenet] [--count 10000]

Compares 10,000 generated 32x32 images with 10,000 real ones: everything that `ganvas
measure` computes, without the sampling and with nothing cached. The images are random,
or those of a data folder: the first half is taken as real and the second as generated.
Records wall-clock and processor seconds of each part, and the largest memory. Writes
bench/results/measure.json, one entry per number of threads. On a busy machine only the
processor seconds of one thread mean much: threads that wait for one another count as
busy.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas import data
from ganvas.core.environment import commit, machine
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import extractor
from ganvas.metrics.suite import filled, measure_samples

RESULTS = Path(__file__).parent / "results" / "measure.json"
BATCH = 256


def noise(count: int, seed: int) -> Iterator[Tensor]:
    """Smooth random colors, generated on access."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, count, BATCH):
        coarse = torch.rand(min(BATCH, count - start), 3, 8, 8, generator=generator) * 2 - 1
        yield torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")


def halves(folder: Path, count: int) -> tuple[Iterator[Tensor], Iterator[Tensor]]:
    """The images of a folder in random order, cut in two."""
    feed = data.images(folder, size=32, channels=3)
    assert feed.info.count >= 2 * count, (
        f"{folder} has {feed.info.count} images, and {2 * count} are needed"
    )

    def part(first: int) -> Iterator[Tensor]:
        for start in range(first, first + count, BATCH):
            yield feed.draw(start, min(BATCH, first + count - start), seed=0).x

    return part(0), part(count)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of a measurement, part by part.")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--features", default="squeezenet")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    args = parser.parse_args()
    real, fake = (
        halves(args.folder, args.count)
        if args.folder
        else (noise(args.count, 0), noise(args.count, 1))
    )
    extract = extractor(args.features, args.weights)
    load = os.getloadavg()[0]
    marks = [(time.perf_counter(), time.process_time())]
    side = filled(FeatureSet(extract, "real"), real)
    marks.append((time.perf_counter(), time.process_time()))
    record: dict[str, Any] = measure_samples(fake, side, extract)
    marks.append((time.perf_counter(), time.process_time()))

    def between(a: int, b: int) -> dict[str, float]:
        return {
            "seconds": round(marks[b][0] - marks[a][0], 1),
            "cpu_seconds": round(marks[b][1] - marks[a][1], 1),
        }

    threads = torch.get_num_threads()
    result = {
        "command": f"OMP_NUM_THREADS={threads} python bench/measure.py",
        "machine": machine(),
        "load_average": {"before": round(load, 1), "after": round(os.getloadavg()[0], 1)},
        "commit": commit(),
        "images": args.folder.resolve().name if args.folder else "random",
        "protocol": record["protocol"],
        "results": {
            "real side (nothing of it is done again where it is cached)": between(0, 1),
            "generated side and all measures": between(1, 2),
            "whole": between(0, 2),
        },
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[f"{threads} thread{'s' * (threads > 1)}"] = result
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
