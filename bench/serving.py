"""Measure `ganvas serve` beside a process that calls the library in a loop.

    python bench/serving.py [--seconds 8] [--rounds 3]

Both generate and encode signed PNG files of DCGAN at 64 px with its usual width and
random weights. The loop calls `Model.sample` for as many images as a request has. The
clients run in a third process and keep asking: each sends its next request when it has
the answer. Loop and service take turns; the ratio is the median of the rounds. Records
images a second, latencies, and the resident memory of the service before and after.
Writes bench/results/serving.json.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import httpx

from ganvas import load, recipes
from ganvas.core import Shape
from ganvas.core.environment import commit, machine
from ganvas.inference import model_file

RESULTS = Path(__file__).parent / "results" / "serving.json"
IMAGES = 8  # of a request
CLIENTS = (1, 8, 64)


def make_model(folder: Path) -> None:
    """A model file of DCGAN at 64 px with random weights."""
    run, shape = recipes.find("dcgan")(1000), Shape(channels=3, height=64, width=64)
    facts = {"recipe": "dcgan", "task": "images", "images_trained": 0}
    model_file.save(folder, run.method(shape), run, shape, facts)


def loop(folder: Path, seconds: float) -> float:
    """Images a second of the library; the first call is not counted."""
    model, seed = load(folder), 0

    def files(seed: int) -> None:
        for image in model.sample(IMAGES, seed=seed):
            image.save(io.BytesIO(), "PNG")

    files(seed)
    start = time.monotonic()
    while (elapsed := time.monotonic() - start) < seconds:
        seed += 1
        files(seed)
    return IMAGES * seed / elapsed


def clients(address: str, seconds: float, count: int) -> dict[str, float]:
    """Images a second and latencies of `count` clients."""
    latencies: list[float] = []

    async def client(http: httpx.AsyncClient, number: int, end: float) -> None:
        while (now := time.monotonic()) < end:
            request = {"n": IMAGES, "seed": number}
            answer = await http.post("/v1/sample", json=request)
            answer.raise_for_status()
            latencies.append(time.monotonic() - now)

    async def all_of_them() -> float:
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as http:
            start = time.monotonic()
            await asyncio.gather(*(client(http, i, start + seconds) for i in range(count)))
            return time.monotonic() - start

    elapsed = asyncio.run(all_of_them())
    latencies.sort()
    return {
        "images_per_second": IMAGES * len(latencies) / elapsed,
        "median_ms": 1e3 * statistics.median(latencies),
        "p95_ms": 1e3 * latencies[int(0.95 * (len(latencies) - 1))],
    }


def first_image(address: str) -> float:
    """Milliseconds of the first request of a new service, for one image."""
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/sample", b"{}", headers)
    start = time.monotonic()
    with urllib.request.urlopen(request, timeout=600) as answer:
        answer.read()
    return 1e3 * (time.monotonic() - start)


def summary(rounds: list[Any], count: int) -> dict[str, float]:
    """Medians over the rounds."""
    found = [r["clients"][str(count)] for r in rounds]
    medians = {key: statistics.median(f[key] for f in found) for key in found[0]}
    ratios = [f["images_per_second"] / r["loop"] for f, r in zip(found, rounds, strict=True)]
    return {**medians, "ratio": statistics.median(ratios)}


def own_process(*arguments: object) -> Any:
    command = [sys.executable, __file__, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def resident(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        what, where, *rest = options.part
        result = (
            loop(Path(where), options.seconds)
            if what == "loop"
            else clients(where, options.seconds, int(rest[0]))
        )
        print(json.dumps(result))
        return
    seconds = ("--seconds", options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        command = [sys.executable, "-m", "ganvas", "serve", folder, "--port", "0"]
        service = subprocess.Popen(
            [*command, "--max-queue", "1024"], stdout=subprocess.PIPE, text=True
        )
        assert service.stdout is not None
        found = re.search(r"http://\S+", service.stdout.readline())
        assert found
        first, before = first_image(found[0]), resident(service.pid)
        rounds = []
        for _ in range(options.rounds):
            alone = own_process(*seconds, "--part", "loop", folder)
            served = {
                str(n): own_process(*seconds, "--part", "clients", found[0], n) for n in CLIENTS
            }
            rounds.append({"loop": alone, "clients": served})
        after = resident(service.pid)
        service.send_signal(signal.SIGTERM)
        assert service.wait() == 0
    record = {
        "command": "python bench/serving.py",
        "commit": commit(),
        "machine": machine() | {"threads": os.environ.get("OMP_NUM_THREADS")},
        "images_per_request": IMAGES,
        "first_image_ms": first,
        "memory_mib": {"before": before, "after": after},
        "loop_images_per_second": statistics.median(r["loop"] for r in rounds),
        "clients": {str(n): summary(rounds, n) for n in CLIENTS},
        "rounds": rounds,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({k: v for k, v in record.items() if k != "rounds"}, indent=1))


if __name__ == "__main__":
    main()
