"""Compare the quality of models trained in fp32 and in bf16.

    python bench/precision.py FASHION-MNIST [--seeds 3] [--weights FOLDER]
        [--features squeezenet]

Trains DCGAN and WGAN-GP (`wgan_gp_dcgan`) on Fashion-MNIST at 32 px and width 32, in
fp32 and in bf16, for the same number of images and the same seeds, and measures each:
the Fréchet distance of 2,048 samples to 10,000 test images. The bound was set before
the runs: the ranges of the seeds' distances in the two precisions overlap, for both
methods. Training times are wall-clock seconds, other work on the machine included.
Writes bench/results/precision.json as it goes, and continues an interrupted call.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from origin import origin

from ganvas import data, recipes
from ganvas.core.allocator import retain_heap
from ganvas.data import Prefetch
from ganvas.engine.engine import Engine
from ganvas.inference.model import Model
from ganvas.metrics.feature_set import FeatureSet
from ganvas.metrics.features import extractor
from ganvas.metrics.suite import filled, measure_samples
from ganvas.training.start import with_data

RESULTS = Path(__file__).parent / "results" / "precision.json"
CASES = {"dcgan": ("batch=64", 60_000), "wgan_gp_dcgan": ("batch=50", 100_000)}
SAMPLES = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description="Quality in fp32 and in bf16.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--features", default="squeezenet")
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    retain_heap()
    extract = extractor(args.features, args.weights)
    real = filled(
        FeatureSet(extract, "real"),
        (b.x for b in data.images(args.data, size=32, part="test").batches(256)),
    )
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"runs": {}}
    found |= {
        **origin(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    for seed in range(args.seeds):
        for recipe, (batch, images) in CASES.items():
            for precision in ("fp32", "bf16"):
                name = f"{recipe} {precision} seed {seed}"
                if name in found["runs"]:
                    continue
                settings = [
                    batch,
                    "G.width=32",
                    "D.width=32",
                    f"precision={precision}",
                    f"seed={seed}",
                    f"images={images}",
                ]
                run = with_data(recipes.find(recipe)(60_000), args.data, 32, settings)
                feed = run.data()
                engine, start = Engine(run, Prefetch(feed)), time.perf_counter()
                while engine.clock.images < run.images:
                    engine.step()
                seconds = time.perf_counter() - start
                model = Model(engine.model(), {"shape": asdict(feed.info.shape)})
                measured: dict[str, Any] = measure_samples(
                    model.batches(SAMPLES, seed=seed), real, extract, seed=seed
                )
                found["runs"][name] = {
                    "frechet": measured["values"]["frechet"],
                    "seconds": round(seconds, 1),
                    "images": engine.clock.images,
                }
                found["verdict"] = verdict(found["runs"])
                RESULTS.write_text(json.dumps(found, indent=1) + "\n")
                print(name, json.dumps(found["runs"][name]), flush=True)


def verdict(runs: dict[str, dict[str, float]]) -> dict[str, Any]:
    """By recipe: the range of the distances per precision, and whether they overlap."""
    found = {}
    for recipe in CASES:
        values = {
            p: [r["frechet"] for k, r in runs.items() if k.startswith(f"{recipe} {p}")]
            for p in ("fp32", "bf16")
        }
        if all(values.values()):
            low = {p: min(v) for p, v in values.items()}
            high = {p: max(v) for p, v in values.items()}
            overlap = low["fp32"] <= high["bf16"] and low["bf16"] <= high["fp32"]
            found[recipe] = {"least": low, "most": high, "overlap": overlap}
    return found


if __name__ == "__main__":
    main()
