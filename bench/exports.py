"""Export models of many methods and compare the files with torch.

    python bench/exports.py
    GANVAS_WEIGHTS=weights python bench/exports.py --further

Recipes at the sizes of the table, with random weights: the comparison is of arithmetic,
not of images. Each is exported to ONNX and run by onnxruntime at three sizes, all with
free batch. Writes bench/results/exports.json.

With --further: translators and upscalers with random weights as ncnn files, run by ncnn;
and the trained model of zoo/ as files of 8 bits, which are measured against torch. Writes
bench/results/exports_further.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from ganvas import recipes
from ganvas.core import Samples, Shape
from ganvas.core.environment import commit, machine
from ganvas.core.errors import UserError
from ganvas.inference import model_file
from ganvas.inference.exporters.export import export
from ganvas.inference.exporters.int8 import size_of

RESULTS = Path(__file__).parent / "results" / "exports.json"
# Recipe -> (side in pixels, channels, classes).
MODELS = {
    "gan": (32, 1, 0),
    "dcgan": (64, 3, 0),
    "wgan_gp_dcgan": (64, 3, 0),
    "sngan_projection": (32, 3, 10),
    "sagan_digits": (32, 1, 10),
    "biggan_digits": (32, 1, 10),
    "progan": (32, 3, 0),
    "stylegan_digits": (32, 1, 10),
    "stylegan2_digits": (32, 1, 10),
    "r3gan_small": (32, 1, 10),
    "vae_conv": (32, 3, 0),
    "infogan": (32, 1, 0),
    "cyclegan": (64, 3, 0),
    "pix2pix": (256, 3, 0),
    "unit": (64, 3, 0),
    "srresnet": (96, 3, 0),
}
FURTHER = RESULTS.with_name("exports_further.json")
NCNN = ("cyclegan", "pix2pix", "srresnet", "compact")
TRAINED = "zoo:letters-stylegan2"
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "ncnn": ".param"}


def measured(recipe: str, form: str = "onnx") -> dict[str, Any]:
    """The comparison of one recipe."""
    side, channels, classes = MODELS.get(recipe, (96, 3, 0))
    run = recipes.find(recipe)(1000)
    shape = Shape(channels=channels, height=side, width=side, classes=classes)
    torch.manual_seed(0)
    method = run.method(shape)
    task = "images" if isinstance(method, Samples) else "pairs"
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        model_file.save(Path(folder), method, run, shape, {"recipe": recipe, "task": task})
        file = Path(folder) / f"m{SUFFIXES[form]}"
        try:
            made = export(folder, form, file)
        except UserError as e:
            return {"method": type(method).__name__, "refused": str(e)}
        return {
            "method": type(method).__name__,
            "inputs": [one.name for one in made.inputs],
            "free_sides": made.free_sides,
            "notes": list(made.notes),
            "mib": size_of(file) / 2**20,
            "sizes": [one.sizes for one in made.compared],
            "difference": max(one.difference for one in made.compared),
            "seconds": time.monotonic() - start,
        }


def quantized(form: str) -> dict[str, Any]:
    """The cost of 8 bits for the trained model."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        made = export(TRAINED, form, Path(folder) / f"m{SUFFIXES[form]}", quantized=True)
    assert made.cost is not None
    cost = made.cost._asdict()
    mib = {f"mib_{when}": cost.pop(f"bytes_{when}") / 2**20 for when in ("before", "after")}
    return {**cost, **mib, "seconds": time.monotonic() - start}


def further() -> None:
    """Write the record of ncnn and of 8 bits."""
    record: dict[str, Any] = {
        "command": "GANVAS_WEIGHTS=weights python bench/exports.py --further",
        "commit": commit(),
        "machine": machine(),
        "trained": TRAINED,
        "int8": {},
        "ncnn": {},
    }
    for form in ("onnx", "openvino"):
        record["int8"][form] = quantized(form)
        print(form, json.dumps(record["int8"][form]), flush=True)
    for recipe in NCNN:
        record["ncnn"][recipe] = measured(recipe, "ncnn")
        print(recipe, json.dumps(record["ncnn"][recipe]), flush=True)
    FURTHER.write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    models = {}
    for recipe in MODELS:
        models[recipe] = measured(recipe)
        print(recipe, json.dumps(models[recipe]), flush=True)
    done = [m for m in models.values() if "difference" in m]
    record = {
        "command": "python bench/exports.py",
        "commit": commit(),
        "machine": machine(),
        "exported": len(done),
        "methods": len({m["method"] for m in done}),
        "largest_difference": max((m["difference"] for m in done), default=None),
        "models": models,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--further", action="store_true")
    further() if parser.parse_args().further else main()
