"""Measure the memory that a folder of many images needs.

    python bench/many.py [--counts 10000,100000,1000000] [--folder DIR]

Creates folders of 32x32 images (links to a thousand different files), and runs `ganvas
train` on each twice: the first call decodes the images, the second finds them in the
cache. Records the largest private memory of the process (which the system cannot
reclaim, unlike pages of mapped files) and the time of each. Writes
bench/results/many.json. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ganvas.core.environment import commit, machine

RESULTS = Path(__file__).parent / "results" / "many.json"
DIFFERENT = 1000
SIZE = 32  # px: a million take 2.9 GiB; above 1 GiB, decoded images are mapped from disk


def folder_of(count: int, root: Path) -> Path:
    rng, first = np.random.default_rng(0), root / "first"
    first.mkdir(parents=True)
    for i in range(DIFFERENT):
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(
            first / f"{i}.png"
        )
    images = root / "images"
    for i in range(count):
        part = (
            images / f"{i // 10_000:03d}"
        )  # file systems dislike a million names in one place; one folder alone is no class
        if i % 10_000 == 0:
            part.mkdir(parents=True)
        os.link(first / f"{i % DIFFERENT}.png", part / f"{i:07d}.png")
    return images


def trained(images: Path, out: Path, cache: Path) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "ganvas",
        "train",
        "dcgan",
        str(images),
        "--out",
        str(out),
        "--size",
        str(SIZE),
    ]
    command += ["--images", "6400", "--batch", "64", "--set", "G.width=8", "--set", "D.width=8"]
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        env={**os.environ, "GANVAS_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    most = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        private = [
            int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")
        ]
        most = max(most, *private, 0)
        time.sleep(0.05)
    assert process.wait() == 0, f"{command} failed"
    return {"private_mib": most / 1024, "seconds": time.monotonic() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of training on many images.")
    parser.add_argument("--counts", default="10000,1000000")
    parser.add_argument(
        "--folder", type=Path, help="where there is room (default: the system's temporary folder)"
    )
    args = parser.parse_args()
    found = {}
    for count in map(int, args.counts.split(",")):
        with tempfile.TemporaryDirectory(dir=args.folder) as place:
            root = Path(place)
            images = folder_of(count, root / "data")
            runs = {
                name: trained(images, root / name, root / "cache")
                for name in ("decoding", "decoded")
            }
            found[str(count)] = runs
            print(count, json.dumps(runs), flush=True)
    result = {
        "command": "python bench/many.py",
        "machine": machine(),
        "commit": commit(),
        "images": found,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
