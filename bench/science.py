"""Measure the memory and time of large measurements and of a long video.

    python bench/science.py [--only clip]

Translates a TIFF file of 100 megapixels with 4 channels of 16 bits, and a clip of ten
minutes, from file to file with the functions of `ganvas translate`. Every measurement
runs in its own process. Records wall-clock and processor seconds and the largest
resident memory of the process, torch and the weights included. The networks are small,
with random weights: they decide the time, not the memory. Writes
bench/results/science.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from origin import origin

from ganvas import recipes
from ganvas.core import Shape
from ganvas.inference import model_file
from ganvas.inference.importers.as_method import import_model
from ganvas.inference.translate_files import translate_files
from ganvas.inference.translate_video import translate_video
from ganvas.media import clip
from ganvas.methods import CycleGAN
from ganvas.nets import image_to_image, patchgan, super_resolution

RESULTS = Path(__file__).parent / "results" / "science.json"
SIDE, CHANNELS = 10_000, 4
MINUTES, RATE, WIDTH, HEIGHT = 10, 5, 160, 90


def tiff(folder: Path) -> tuple[Path, Path]:
    """(model, input): CycleGAN's ResNet of width 4 for 4 channels of 16 bits, and noise."""
    torch.manual_seed(0)
    make = partial(
        CycleGAN,
        G=partial(image_to_image.ResNetGenerator, width=4, blocks=1),
        D=partial(patchgan.PatchDiscriminator, width=4),
    )
    shape = Shape(CHANNELS, 256, 256)
    values = {"low": 0.0, "high": 65535.0, "type": "uint16"}
    facts = {"recipe": "cyclegan", "task": "domains", "data": {"values": values}}
    run = replace(recipes.find("cyclegan")(1), method=make)
    model_file.save(folder / "model", make(shape), run, shape, facts)

    how: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
    place = (SIDE, SIDE, CHANNELS)
    pixels = tifffile.memmap(folder / "in.tif", shape=place, dtype="uint16", **how)
    noise = np.random.default_rng(0).integers(0, 65536, (500, SIDE, CHANNELS), np.uint16)
    for top in range(0, SIDE, 500):
        pixels[top : top + 500] = noise >> top // 1000
    pixels.flush()
    return folder / "model", folder / "in.tif"


def video(folder: Path) -> tuple[Path, Path]:
    """(model, input): a compact upscaler x2 of width 4, and moving noise."""
    torch.manual_seed(0)
    net = super_resolution.CompactNet(3, 4, 1, 2, prelu=True)
    torch.save(net.state_dict(), folder / "net.pth")
    import_model(folder / "net.pth", folder / "model")
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, 2 * WIDTH, 3)).astype(np.uint8)
    frames = (
        clip.Frame(i, 1, noise[:, i % WIDTH : i % WIDTH + WIDTH])
        for i in range(60 * MINUTES * RATE)
    )
    look = clip.Look(Fraction(1, RATE), Fraction(RATE))
    clip.write_part(folder / "in.mp4", frames, look, 40)
    return folder / "model", folder / "in.mp4"


CASES: dict[str, tuple[Callable[[Path], tuple[Path, Path]], str]] = {
    "tiff": (tiff, f"{SIDE}x{SIDE} px, {CHANNELS} channels of 16 bits, ResNet of width 4"),
    "clip": (video, f"{MINUTES} minutes of {WIDTH}x{HEIGHT} px at {RATE}/s, compact x2"),
}


def measured(model: Path, source: Path, out: Path) -> dict[str, Any]:
    """In a process of its own."""
    began, busy = time.monotonic(), time.process_time()
    if source.suffix == ".tif":
        report = translate_files(model, [source], out)
        assert report.made == 1, report.skipped
    else:
        translate_video(model, source, out / "out.mp4")
    seconds, processor = time.monotonic() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = sum(p.stat().st_size for p in out.iterdir())
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "memory_gib": round(peak / 2**30, 2),
        "file_gib": round(size / 2**30, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=CASES, help="the other case keeps its record")
    parser.add_argument("--child", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.child:
        print(json.dumps(measured(*options.child)))
        return
    cases: dict[str, Any] = json.loads(RESULTS.read_text())["cases"] if RESULTS.exists() else {}
    for name, (make, what) in CASES.items():
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as place:
            here = Path(place)
            model, source = make(here)
            command = [sys.executable, __file__, "--child", model, source, here / "out"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            cases[name] = {"what": what, **json.loads(done.stdout.splitlines()[-1])}
        print(json.dumps(cases[name]), flush=True)
        record = {**origin(), "threads": 1, "cases": cases}
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
