"""Measure the time, memory and disk space of tiled inference.

    python bench/large.py [--threads 1]

Translates the same image whole and in tiles with CycleGAN's generator at its usual
width, pix2pix's and an upscaling one; and images of 100 megapixels from file to file
with the function of `ganvas translate`. Every measurement runs in its own process.
Records wall-clock and processor seconds (a busy machine changes the latter little), the
largest resident memory of the process, torch and the weights included, and the largest
temporary disk space. The weights are random, which changes no time. Writes
bench/results/large.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

import torch
from origin import origin
from PIL import Image

from ganvas.inference.importers.as_method import import_model
from ganvas.inference.tiling import graph
from ganvas.inference.translate_files import translate_files
from ganvas.inference.translator import Translator
from ganvas.nets import image_to_image, super_resolution

RESULTS = Path(__file__).parent / "results" / "large.json"
NETS = {
    "ResNet-9, width 64": lambda: image_to_image.ResNetGenerator(),
    "ResNet-2, width 4": lambda: image_to_image.ResNetGenerator(width=4, blocks=2),
    "ResNet-6, width 8": lambda: image_to_image.ResNetGenerator(width=8, blocks=6),
    "U-Net-256, width 64, batch norm of the picture": lambda: image_to_image.UNetGenerator(),
    "MSRResNet x4, width 64": lambda: super_resolution.MSRResNet(),
    "MSRResNet x4, width 8": lambda: super_resolution.MSRResNet(width=8),
}
# network, width, height, side of parts (None: whole; 0: as memory asks for)
CASES = [
    ("ResNet-2, width 4", 10_000, 10_000, 0),
    ("ResNet-6, width 8", 10_000, 10_000, 0),
    ("MSRResNet x4, width 8", 2500, 2500, 0),
    ("ResNet-9, width 64", 1024, 1024, None),
    ("ResNet-9, width 64", 1024, 1024, 0),
    ("U-Net-256, width 64, batch norm of the picture", 1024, 1024, None),
    ("U-Net-256, width 64, batch norm of the picture", 1024, 1024, 0),
    ("MSRResNet x4, width 64", 256, 256, None),
    ("MSRResNet x4, width 64", 256, 256, 0),
]


def photograph(file: Path, width: int, height: int) -> None:
    """scikit-learn's sample photograph at another size: a JPEG."""
    from sklearn.datasets import load_sample_image

    Image.fromarray(load_sample_image("china.jpg")).resize(
        (width, height), Image.Resampling.BICUBIC
    ).save(file, quality=90)


def measured(folder: Path, file: Path, side: int | None, out: Path) -> dict[str, Any]:
    """In a process of its own. `side` as in `CASES`."""
    if side == 0:
        Translator.fits = lambda self, pixels, part=8: False
    stored, most = 0, 0
    make = graph.OnDisk.__init__

    def made(self: graph.OnDisk, *args: Any, **kwargs: Any) -> None:
        nonlocal stored, most
        make(self, *args, **kwargs)
        size = self.channels * self.sides[0] * self.sides[1] * self.dtype.itemsize
        stored += size
        most = max(most, stored)
        weakref.finalize(self, dropped, size)

    def dropped(size: int) -> None:
        nonlocal stored
        stored -= size

    graph.OnDisk.__init__ = made
    began, busy = time.monotonic(), time.process_time()
    report = translate_files(folder, [file], out, tile=side or None)
    seconds, processor = time.monotonic() - began, time.process_time() - busy
    assert report.made == 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    took = {"seconds": round(seconds, 1), "processor_seconds": round(processor, 1)}
    return took | {"memory_gib": round(peak / 2**30, 2), "disk_gib": round(most / 2**30, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", help="cases whose network's name holds this; the others keep their records"
    )
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        folder, file, side, out = options.child
        how = None if side == "whole" else int(side)
        print(json.dumps(measured(Path(folder), Path(file), how, Path(out))))
        return
    cases: dict[str, Any] = json.loads(RESULTS.read_text())["cases"] if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as place:
        for i, (name, width, height, side) in enumerate(CASES):
            if options.only and options.only not in name:
                continue
            here = Path(place) / str(i)
            here.mkdir()
            torch.manual_seed(0)
            torch.save(NETS[name]().state_dict(), here / "net.pth")
            import_model(here / "net.pth", here / "model")
            photograph(here / "photo.jpg", width, height)
            command = [
                sys.executable,
                __file__,
                "--threads",
                str(options.threads),
                "--child",
                str(here / "model"),
            ]
            command += [
                str(here / "photo.jpg"),
                "whole" if side is None else str(side),
                str(here / "made"),
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            case = cases.setdefault(f"{name}, {width}x{height} px", {})
            case["whole" if side is None else "parts"] = json.loads(done.stdout.splitlines()[-1])
            if {"whole", "parts"} <= case.keys():
                took = case["parts"]["processor_seconds"] / case["whole"]["processor_seconds"]
                case["times_as_long"] = round(took, 2)
            print(json.dumps(case), flush=True)
            record = {
                **origin(),
                "threads": options.threads,
                "cases": cases,
            }
            RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
