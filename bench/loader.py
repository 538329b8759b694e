"""Measure whether the data loader slows the training step down.

    python bench/loader.py FOLDER [--size 64] [--batch 64] [--seconds 40]

Measures images per second of the loader alone (in memory and mapped from disk), and of
a small convolutional training step with the loader, with the loader prefetching in a
thread, and with tensors that are already in memory. The kinds alternate (A B C A B C
...) and the ratios are medians over the rounds, so that a busy machine slows all of
them alike. Writes bench/results/loader.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from origin import origin
from torch import Tensor, nn

from ganvas import data
from ganvas.core import Batch
from ganvas.data.feed import Feed

RESULTS = Path(__file__).parent / "results" / "loader.json"
STEPS = 3  # per turn


def mapped(feed: Feed, folder: Path) -> Feed:
    """The same feed with its pixels mapped from disk."""
    pixels = {}
    for name, held in feed._pixels.items():
        assert isinstance(held, np.ndarray)
        np.save(folder / f"{name}.npy", held)
        pixels[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
    return Feed(feed.info, pixels, feed._labels, flip=True)


def step_of(channels: int) -> Callable[[Tensor], None]:
    """One training step, far cheaper than a GAN's: the worst case for the loader."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(channels, 32, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.LazyLinear(1),
    )
    optimizer = None

    def step(x: Tensor) -> None:
        nonlocal optimizer
        loss = net(x).square().mean()
        optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=1e-4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def timed(turn: Callable[[int], object], first: int) -> float:
    """Seconds of STEPS steps."""
    start = time.perf_counter()
    for i in range(first, first + STEPS):
        turn(i)
    return time.perf_counter() - start


def measure(feed: Feed, batch: int, seconds: float, scratch: Path) -> dict[str, dict[str, float]]:
    from_disk = mapped(feed, scratch)
    ahead, disk_ahead = data.Prefetch(feed), data.Prefetch(from_disk)
    step = step_of(feed.info.channels)
    ready: list[Batch] = [feed.draw(i * batch, batch, seed=0) for i in range(STEPS)]
    kinds: dict[str, Callable[[int], object]] = {
        "step, tensors in memory": lambda i: step(ready[i % STEPS].x),
        "step, loader": lambda i: step(feed.draw(i * batch, batch, seed=0).x),
        "step, loader ahead": lambda i: step(ahead.draw(i * batch, batch, seed=0).x),
        "step, loader mapped": lambda i: step(from_disk.draw(i * batch, batch, seed=0).x),
        "step, loader mapped, ahead": lambda i: step(disk_ahead.draw(i * batch, batch, seed=0).x),
        "draw alone": lambda i: feed.draw(i * batch, batch, seed=0),
        "draw alone, mapped": lambda i: from_disk.draw(i * batch, batch, seed=0),
    }
    for turn in kinds.values():  # warm up
        timed(turn, 0)
    times: dict[str, list[float]] = {k: [] for k in kinds}
    end, first = time.perf_counter() + seconds, STEPS
    while time.perf_counter() < end:
        for name, turn in kinds.items():
            times[name].append(timed(turn, first))
        first += STEPS
    ahead.close()
    disk_ahead.close()
    base = times["step, tensors in memory"]
    return {
        name: {
            "images_per_second": round(STEPS * batch / statistics.median(t), 1),
            "time_over_tensors_in_memory": round(
                statistics.median(a / b for a, b in zip(t, base)), 4
            ),
            "rounds": len(t),
        }
        for name, t in times.items()
    }


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.processor()
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Images per second of the loader, beside tensors in memory."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=40)
    args = parser.parse_args()
    feed = data.images(args.folder, size=args.size, flip=True)
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(feed, args.batch, args.seconds, Path(scratch))
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    machine = {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    machine["load_average"] = load
    what = {
        "data": args.folder.resolve().name,
        "images": feed.info.count,
        "size": args.size,
        "batch": args.batch,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps({**origin(), "machine": machine, **what, "results": rows}, indent=2) + "\n"
    )
    print(
        f"{what['images']} images of {what['data']}, {args.size}x{args.size}, "
        f"batches of {args.batch}; {machine['cpu']}"
    )
    print(f"{'':<28}{'images/s':>12}{'time / in memory':>20}")
    for name, r in rows.items():
        print(
            f"{name:<28}{r['images_per_second']:>12,.0f}{r['time_over_tensors_in_memory']:>20.3f}"
        )


if __name__ == "__main__":
    main()
