"""Measure how fast a trained network generates images.

    python bench/inference.py [--rounds 5] [--threads 2]

Runs CycleGAN's generator (6 blocks) on 8 images of 128x128, and DCGAN's for 64 images
of 64x64, in four ways: torch's defaults (contiguous memory, torch's own layers),
`ganvas.load`, bf16, and OpenVINO in both precisions if it is installed. The defaults
run in their own processes, which alternate with those of the others. Records the median
of the paired ratios, and the largest and mean difference of the images in gray levels.
Also records the time from the start of a process to its first image, and of `ganvas
--help`. Writes bench/results/inference.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import recipes
from ganvas.core.environment import commit, machine
from ganvas.engine.engine import Engine
from ganvas.inference import model_file
from ganvas.inference.load import load, read
from ganvas.inference.model import Model
from ganvas.nets.norm import InstanceNorm2d
from ganvas.training import benchmark
from ganvas.training.start import with_data

RESULTS = Path(__file__).parent / "results" / "inference.json"
UNASKED = "torch unasked"
PER_TURN = 7  # generations per way and round
CASES = {
    "cyclegan 128 px batch 8": ("cyclegan", 128, ["G.blocks=6"]),
    "dcgan 64 px batch 64": ("dcgan", 64, []),
}


def saved(folder: Path, recipe: str, size: int, settings: list[str]) -> None:
    """The model of a run of one step: the time does not depend on its quality."""
    run = with_data(recipes.find(recipe)(1), "", size, [*settings, "batch=2"])
    feed = benchmark.random_feed(run)
    engine = Engine(run, feed)
    engine.step()
    facts = {"shape": asdict(feed.info.shape), "task": feed.info.task}
    model_file.save(folder, engine.model(), run, feed.info.shape, facts)


def plain(network: nn.Module) -> nn.Module:
    """The same network with torch's own layers in contiguous memory."""
    for name, child in network.named_children():
        if isinstance(child, InstanceNorm2d):
            setattr(network, name, nn.InstanceNorm2d(child.channels, child.eps))
        else:
            plain(child)
    return network.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]


def ways(folder: Path, recipe: str, unasked: bool) -> dict[str, Callable[[], Tensor]]:
    """Name of each way -> function that generates the images."""
    x = torch.rand(8, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z = torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
    if unasked:
        torchs = Model(*read(folder / "model.safetensors")).method
        network = plain(torchs.get_submodule("G_ab" if recipe == "cyclegan" else "G"))
        return {UNASKED: lambda: network(x if recipe == "cyclegan" else z)}
    kinds = [("torch", "fp32"), ("torch", "bf16")]
    if importlib.util.find_spec("openvino"):
        kinds += [("openvino", "fp32"), ("openvino", "bf16")]
    made: dict[str, Callable[[], Tensor]] = {}
    for backend, precision in kinds:
        model = load(folder, precision=precision, backend=backend)

        def sampled(m: Model = model) -> Tensor:
            with m.runtime.autocast():
                return m.method.sample(64, z=z).float()  # pyright: ignore

        translated = lambda m=model: m.translate(x, output="torch")  # noqa: E731
        made[f"ganvas {backend} {precision}"] = translated if recipe == "cyclegan" else sampled
    return made


def work(folder: Path, recipe: str, unasked: bool, threads: int) -> None:
    """One round: milliseconds of every way, and its images."""
    torch.set_num_threads(threads)
    with torch.no_grad():
        made = ways(folder, recipe, unasked)
        for name, make in made.items():
            torch.save(make(), folder / f"{name}.pt")
            make()
        times: dict[str, list[float]] = {name: [] for name in made}
        for _ in range(PER_TURN):
            for name, make in made.items():
                start = time.perf_counter()
                make()
                times[name].append(time.perf_counter() - start)
    found = {name: 1000 * statistics.median(taken) for name, taken in times.items()}
    print(json.dumps(found))


def compared(folder: Path, recipe: str, rounds: int, threads: int) -> dict[str, Any]:
    def turn(*side: str) -> dict[str, float]:
        command = [
            sys.executable,
            __file__,
            "--turn",
            recipe,
            "--folder",
            str(folder),
            "--threads",
            str(threads),
            *side,
        ]
        return json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )

    pairs = [(turn("--unasked"), turn()) for _ in range(rounds)]
    first, found = torch.load(folder / f"{UNASKED}.pt"), {}
    found[UNASKED] = {"milliseconds": statistics.median(a[UNASKED] for a, _ in pairs)}
    for name in pairs[0][1]:
        levels = (torch.load(folder / f"{name}.pt") - first).abs() * 127.5
        found[name] = {
            "milliseconds": statistics.median(b[name] for _, b in pairs),
            "times_as_fast": statistics.median(a[UNASKED] / b[name] for a, b in pairs),
            "gray_levels_mean": float(levels.mean()),
            "gray_levels_most": float(levels.max()),
        }
    return found


def process(*arguments: str) -> float:
    """Wall-clock seconds of a Python process: the median of nine."""
    times = []
    for _ in range(9):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how long inference takes.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turn", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--unasked", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turn:
        work(args.folder, args.turn, args.unasked, args.threads)
        return
    result: dict[str, Any] = {
        "command": "python bench/inference.py",
        "machine": machine(),
        "threads": args.threads,
        "torch": torch.__version__,
        "commit": commit(),
        "load_average": round(os.getloadavg()[0], 1),
    }
    with tempfile.TemporaryDirectory() as folder:
        for case, (recipe, size, settings) in CASES.items():
            place = Path(folder) / recipe
            saved(place, recipe, size, settings)
            result[case] = compared(place, recipe, args.rounds, args.threads)
            print(case, json.dumps(result[case], indent=1), flush=True)
        place = str(Path(folder) / "dcgan")
        result["first_picture_seconds"] = process(
            "-c", f"import ganvas; ganvas.load({place!r}).sample(1)"
        )
        result["help_seconds"] = process("-m", "ganvas", "--help")
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print("first image", result["first_picture_seconds"], "help", result["help_seconds"])


if __name__ == "__main__":
    main()
